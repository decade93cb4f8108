//! A session from its beginning to its end.

use super::common::{Filter, Mta};

#[test]
fn a_whole_session_calls_every_callback_with_what_came() {
    let filter = Filter::new("");
    let mut mta = filter.connect();
    assert_eq!(mta.ask(b'C', b"mx.example\x006\x30\x39IPv6:2001:db8:0:0:0:0:0:1\0").0, b'c');
    assert_eq!(mta.run("H"), "c");
    assert_eq!(mta.ask(b'M', b"<a@example.com>\0SIZE=1000\0BODY=8BITMIME\0").0, b'c');
    assert_eq!(mta.run("RRT"), "ccc");
    assert_eq!(mta.ask(b'L', b"X-Folded\0one\n\ttwo\0").0, b'c');
    assert_eq!(mta.ask(b'L', b"X-Empty\0\0").0, b'c');
    assert_eq!(mta.run("NBBEUQ"), "ccccc");
    mta.closed();
    let log = filter.stop();
    assert_eq!(
        log,
        [
            "negotiate 1ff 1fffff 0 0 preset 1ff 400 0 0",
            "connect mx.example inet6 2001:db8::1 12345",
            "helo helo.example",
            "mail <a@example.com> SIZE=1000 BODY=8BITMIME",
            "rcpt <b@example.com>",
            "rcpt <b@example.com>",
            "data",
            "header X-Folded:one",
            "\ttwo",
            "header X-Empty:",
            "eoh",
            "body 6 3417943946",
            "body 6 3417943946",
            "eom",
            "unknown FOOBAR",
            "close",
            "main 0",
        ]
    );
}

#[test]
fn clients_are_given_as_addresses_of_their_family() {
    let filter = Filter::new("");
    for payload in [
        &b"a\x004\x00\x19192.0.2.1\0"[..],
        b"b\x004\x00\x1910.1\0",
        b"c\x006\x00\x19::1\0",
        b"d\0L\0\0/run/mail\0",
        b"e\0U",
    ] {
        let mut mta = filter.connect();
        assert_eq!(mta.ask(b'C', payload).0, b'c');
        mta.run("Q");
        mta.closed();
    }
    let log = filter.stop();
    let clients: Vec<_> = log.iter().filter(|line| line.starts_with("connect")).collect();
    assert_eq!(
        clients,
        [
            "connect a inet 192.0.2.1 25",
            "connect b inet 10.0.0.1 25",
            "connect c inet6 ::1 25",
            "connect d unix /run/mail",
            "connect e null",
        ]
    );
}

fn events(filter: Filter) -> String {
    let log = filter.stop();
    let words: Vec<_> = log.iter().filter_map(|line| line.split(' ').next()).collect();
    words.join(" ")
}

#[test]
fn a_lost_connection_aborts_the_open_message_and_closes_once() {
    let mut filter = Filter::new("");
    let mut mta = filter.connect();
    mta.run("CHMR");
    drop(mta);
    filter.wait_for("close");
    assert_eq!(events(filter), "negotiate connect helo mail rcpt abort close main");
}

#[test]
fn a_connection_without_a_word_is_closed_once() {
    let mut filter = Filter::new("");
    drop(filter.dial());
    filter.wait_for("close");
    assert_eq!(events(filter), "close main");
}

#[test]
fn a_message_that_reached_its_end_is_not_aborted() {
    let mut filter = Filter::new("");
    let mut mta = filter.connect();
    mta.run("CHMRTLNBE");
    mta.run("A");
    drop(mta);
    filter.wait_for("close");
    assert_eq!(events(filter), "negotiate connect helo mail rcpt data header eoh body eom close main");
}

#[test]
fn a_new_sender_aborts_the_message_before() {
    let mut filter = Filter::new("");
    let mut mta = filter.connect();
    assert_eq!(mta.run("CHMRMRTNEQ"), "ccccccccc");
    mta.closed();
    filter.wait_for("close");
    assert_eq!(events(filter), "negotiate connect helo mail rcpt abort mail rcpt data eoh eom close main");
}

#[test]
fn a_new_connection_on_the_same_stream_closes_the_one_before() {
    let filter = Filter::new("connect|setpriv|mine\nclose|getpriv\nclose|setpriv|~");
    let mut mta = filter.connect();
    assert_eq!(mta.run("CHMRTNEK"), "ccccccc");
    assert_eq!(mta.run("CHMKCQ"), "cccc");
    mta.closed();
    let log = filter.stop();
    let closes: Vec<_> =
        log.iter().filter(|line| line.starts_with("close") || line.starts_with("getpriv")).collect();
    assert_eq!(closes, ["close", "getpriv mine", "close", "getpriv mine", "close", "getpriv mine"]);
    assert_eq!(log.iter().filter(|line| *line == "abort").count(), 1);
}

#[test]
fn commands_in_pieces_and_in_heaps_are_the_same() {
    let filter = Filter::new("");
    let mut whole = Vec::new();
    for code in *b"CHMRTLLNBBEAMRA" {
        whole.extend(super::common::frame(code, super::common::usual(code)));
    }
    let answers = |mta: &mut Mta| (0..13).map(|_| char::from(mta.reply().0)).collect::<String>();
    let mut heap = filter.connect();
    heap.send_bytes(&whole);
    assert_eq!(answers(&mut heap), "c".repeat(13));
    let mut pieces = filter.connect();
    for byte in &whole {
        pieces.send_bytes(&[*byte]);
    }
    assert_eq!(answers(&mut pieces), "c".repeat(13));
    drop((heap, pieces));
    let log = filter.stop();
    assert_eq!(log.iter().filter(|line| *line == "body 6 3417943946").count(), 4);
    assert_eq!(log.iter().filter(|line| *line == "abort").count(), 2);
}

#[test]
fn body_data_in_the_end_of_message_is_a_last_piece() {
    let filter = Filter::new("eom|addheader|A|b");
    let mut mta = filter.connect();
    mta.run("CHMRTN");
    assert_eq!(mta.ask(b'E', b"last").0, b'h');
    assert_eq!(mta.reply().0, b'c');
    mta.run("Q");
    mta.closed();
    assert_eq!(events(filter), "negotiate connect helo mail rcpt data eoh body eom addheader close main");
}

#[test]
fn what_breaks_the_protocol_ends_that_connection_alone() {
    let filter = Filter::new("");
    let mut good = filter.connect();
    good.run("CHMR");
    for bytes in [
        &b"\0\0\0\0"[..],
        b"\xff\xff\xff\xffA",
        b"\x80\0\0\0A",
        b"\0\x01\0\x01B",
        b"\0\0\0\x01Z",
        b"\0\0\0\x04Habc",
        b"\0\0\0\x06M<a@b>",
        b"\0\0\0\x06LName\0",
        b"\0\0\0\x01D",
        b"GET / HTTP/1.1\r\n",
    ] {
        let mut mta = filter.connect();
        mta.run("CH");
        mta.send_bytes(bytes);
        mta.closed();
    }
    assert_eq!(good.run("TLNBE"), "ccccc");
    good.run("Q");
    good.closed();
    let log = filter.stop();
    assert_eq!(log.iter().filter(|line| *line == "close").count(), 11);
    // The unreadable sender counts as one, as with libmilter.
    assert_eq!(log.iter().filter(|line| *line == "abort").count(), 1);
}
