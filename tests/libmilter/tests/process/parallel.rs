//! Many connections at a time: each is as if it were alone.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::thread;

use tamis_libmilter_tests::library::Library;
use tamis_libmilter_tests::play::play;
use tamis_libmilter_tests::probe::Probe;
use tamis_libmilter_tests::script::{Callback, Script, status};
use tamis_libmilter_tests::session::{Manner, Session, Setup, Turn, frame, plain};

const CONNECTIONS: usize = 60;

/// What every connection is told to do; they differ by what is sent.
fn script() -> Script {
    Script::default()
        .with_everything()
        .calls(Callback::Connect, 0, "setpriv 5")
        .calls(Callback::Mail, 0, "getpriv")
        .calls(Callback::Rcpt, 0, "setreply \"550\" \"5.1.1\" \"no\"")
        .returns(Callback::Rcpt, 3, status::REJECT)
        // Long enough for the others to come in between.
        .calls(Callback::Header, 1, "sleep 5")
        .calls(Callback::Eom, 0, "addheader \"X-A\" \"v\"")
        .calls(Callback::Eom, 0, "replacebody *70000:\"z\"")
}

/// A session whose client has a name of its own.
fn session(number: usize) -> Session {
    let host = format!("client{number}\x004\x30\x39192.0.2.1\0");
    let header = format!("X-Number\0{number}\0");
    let letters = "OCHDMRRTLLNBBEMRTLNBEQ";
    let turns = letters.bytes().map(|code| Turn {
        bytes: match code {
            b'C' => frame(b'C', host.as_bytes()),
            b'L' => frame(b'L', header.as_bytes()),
            code => frame(code, plain(code)),
        },
        answered: !b"DQ".contains(&code),
    });
    // Half of them wait for each answer, the others do not.
    let manner = if number.is_multiple_of(2) { Manner::Step } else { Manner::Pour };
    Session { turns: turns.collect(), manner, ..Session::new(script()) }
}

/// What became of each connection, by the name of its client.
fn all_at_once(library: Library) -> BTreeMap<String, (Vec<u8>, Vec<String>)> {
    let mut probe = Probe::start(library, &Setup::default().option("forgetful=1"));
    probe.tell(&script().to_string()).expect("the probe listens");
    let socket = probe.socket();
    let players: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            let stream = UnixStream::connect(&socket).expect("the probe listens");
            thread::spawn(move || play(&stream, &session(number)).expect("the socket works"))
        })
        .collect();
    let heard = probe.hear_closes(CONNECTIONS).expect("each connection comes to its end");
    let mut logs: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for (session, text) in heard {
        logs.entry(session).or_default().push(text);
    }
    let mut by_client = BTreeMap::new();
    for log in logs.into_values() {
        let connect = log.iter().find(|entry| entry.starts_with("connect")).expect("each has a client");
        let client = connect.split('"').nth(1).expect("its name is in quotes").to_owned();
        by_client.insert(client, (Vec::new(), log));
    }
    for (number, player) in players.into_iter().enumerate() {
        let played = player.join().expect("no player panics");
        assert_eq!(played.hung_at, None, "connection {number}");
        by_client.get_mut(&format!("client{number}")).expect("each client was seen").0 = played.replies;
    }
    by_client
}

#[test]
fn connections_at_the_same_time_do_not_touch_each_other() {
    let [stock, ours] = Library::ALL.map(all_at_once);
    assert_eq!(stock.len(), CONNECTIONS);
    for (client, expected) in &stock {
        assert_eq!(Some(expected), ours.get(client), "{client}");
    }
    assert_eq!(stock.len(), ours.len());
}

#[test]
fn a_connection_at_a_time_is_as_all_at_once() {
    let together = all_at_once(Library::Ours);
    let mut probe = Probe::start(Library::Ours, &Setup::default());
    for number in 0..CONNECTIONS {
        let alone = probe.run(&session(number));
        assert_eq!((alone.replies, alone.log), together[&format!("client{number}")], "connection {number}");
    }
}
