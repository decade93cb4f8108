//! The daemon restarted, and its configuration changed, while mail flows through Postfix: no mail is lost or doubled.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Duration;

use tamis_interop::case::Config;
use tamis_interop::host::Listen;
use tamis_interop::mta::Kind;
use tamis_interop::program::Served;
use tamis_interop::site::Site;
use tamis_interop::smtp::{Client, Reply};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// SMTP clients at the same time.
const CLIENTS: usize = 4;

/// Messages of one SMTP session, so that some are begun on a connection that the daemon had before.
const PER_SESSION: usize = 3;

#[test]
fn a_restart_under_load_loses_no_mail_and_costs_clients_no_more_than_a_4xx() {
    let place = Place::new();
    let mut served = place.start();
    let (served, seen) = with_load(&place.site, |load| {
        for _ in 0..5 {
            load.wait(|seen| seen.accepted.len(), 15);
            assert!(served.terminate().success());
            // Nobody answers Postfix until somebody has felt it.
            load.wait(|seen| seen.refused.len(), 1);
            served = place.start();
        }
        load.wait(|seen| seen.accepted.len(), 15);
        served
    });
    assert!(seen.refused.iter().all(|reply| (400..500).contains(&reply.code())), "{:?}", seen.refused);
    place.delivered(&seen);
    assert!(served.terminate().success());
}

#[test]
fn a_reload_under_load_costs_no_client_anything() {
    let place = Place::new();
    let served = place.start();
    let ((), seen) = with_load(&place.site, |load| {
        for generation in 1..=20 {
            place.configure(generation);
            served.signal("HUP");
            served.wait_for_lines("in force for new connections", generation);
            load.wait(|seen| seen.accepted.len(), 6);
        }
    });
    assert!(seen.refused.is_empty(), "{:?}", seen.refused);
    // Each new session is filtered as the newest configuration says.
    let mut generations = place.delivered(&seen);
    generations.sort_unstable();
    generations.dedup();
    assert!(generations.len() > 10, "{generations:?}");
    assert!(served.terminate().success());
}

/// Postfix, and a configuration of the daemon that it asks.
struct Place {
    site: Site,
    listen: SocketAddr,
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let site = Site::start(&Config { mta: Kind::Postfix, ..Config::default() });
        let Listen::Tcp(listen) = site.listen else { panic!("a port was asked for") };
        let place = Self { site, listen, folder: tempfile::tempdir().unwrap() };
        place.configure(0);
        place
    }

    /// Writes a configuration that leaves its number in the mail.
    fn configure(&self, generation: usize) {
        let Self { listen, folder, .. } = self;
        let text = format!(
            "[[listener]]\nsocket = \"inet:{listen}\"\n[log]\nformat = \"json\"\n[admin]\nsocket = \"\"\n\
             [[filter]]\ntype = \"headers\"\nrules = [{{ add = \"X-Generation: {generation}\" }}]\n",
        );
        fs::write(folder.path().join("tamis.toml"), text).unwrap();
    }

    fn start(&self) -> Served {
        Served::start_configured(&self.folder.path().join("tamis.toml"))
    }

    /// Asserts that each message that was accepted is delivered once, through the filter, and no other is. Returns the
    /// numbers of the configurations that they went through.
    fn delivered(&self, seen: &Seen) -> Vec<usize> {
        self.site.sink.wait(seen.accepted.len(), PATIENCE);
        assert!(self.site.mta.wait_until_idle(PATIENCE), "{}", self.site.mta.log());
        assert!(self.site.mta.is_clear(), "{}", self.site.mta.log());
        let mut times: BTreeMap<String, usize> = seen.accepted.iter().map(|id| (id.clone(), 0)).collect();
        let mut generations = Vec::new();
        for delivered in self.site.sink.take() {
            let message = String::from_utf8(delivered.message).unwrap();
            let field = |name: &str| message.lines().find_map(|line| line.strip_prefix(name));
            let generation = field("X-Generation: ").unwrap_or_else(|| panic!("not filtered: {message}"));
            generations.push(generation.parse().unwrap());
            *times.entry(field("Subject: ").unwrap().to_owned()).or_default() += 1;
        }
        assert_eq!(
            times.len(),
            seen.accepted.len(),
            "some were delivered that nobody was told of: {times:?}"
        );
        assert!(times.values().all(|times| *times == 1), "{times:?}");
        generations
    }
}

/// What clients were told.
#[derive(Debug, Default)]
struct Seen {
    /// The subjects of messages that were accepted.
    accepted: Vec<String>,
    /// Replies that are not what is said when all goes well.
    refused: Vec<Reply>,
}

/// Clients at work.
#[derive(Default)]
struct Load {
    seen: Mutex<Seen>,
    news: Condvar,
    ends: AtomicBool,
}

/// Has clients deliver messages, each again until it is accepted, while something happens.
fn with_load<T>(site: &Site, happens: impl FnOnce(&Load) -> T) -> (T, Seen) {
    struct EndsWhenDropped<'a>(&'a Load);
    impl Drop for EndsWhenDropped<'_> {
        fn drop(&mut self) {
            self.0.ends.store(true, Ordering::Relaxed);
        }
    }
    let load = Load::default();
    let smtp = site.mta.smtp();
    let result = thread::scope(|scope| {
        let load = &load;
        for client in 0..CLIENTS {
            scope.spawn(move || load.deliver(client, smtp));
        }
        let _ends = EndsWhenDropped(load);
        happens(load)
    });
    (result, load.seen.into_inner().unwrap())
}

impl Load {
    /// Waits until there is so much more of something.
    fn wait(&self, of: impl Fn(&Seen) -> usize, more: usize) {
        let seen = self.seen.lock().unwrap();
        let enough = of(&seen) + more;
        let waited = self.news.wait_timeout_while(seen, PATIENCE, |seen| of(seen) < enough);
        let (seen, timeout) = waited.unwrap();
        assert!(!timeout.timed_out(), "mail does not flow: {seen:?}");
    }

    fn note(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.seen.lock().unwrap());
        self.news.notify_all();
    }

    /// One client: what is refused for now is tried again, in a session of its own.
    fn deliver(&self, client: usize, smtp: SocketAddr) {
        let mut session = None;
        for number in 0.. {
            let id = format!("{client}-{number}");
            loop {
                if self.ends.load(Ordering::Relaxed) {
                    return;
                }
                match attempt(&mut session, smtp, &id) {
                    Ok(()) => break self.note(|seen| seen.accepted.push(id)),
                    Err(reply) => {
                        session = None;
                        self.note(|seen| seen.refused.push(reply));
                    }
                }
            }
            if number % PER_SESSION == 0 {
                session = None;
            }
        }
    }
}

/// Delivers one message, on a new session if there is none.
///
/// # Errors
///
/// The reply that came instead of what was expected. A connection that is closed without one is no such reply.
fn attempt(session: &mut Option<Client>, smtp: SocketAddr, id: &str) -> Result<(), Reply> {
    let expect = |reply: Reply, code| if reply.code() == code { Ok(()) } else { Err(reply) };
    if session.is_none() {
        let client = session.insert(Client::connect(smtp).unwrap());
        expect(client.reply().unwrap(), 220)?;
        expect(client.command("EHLO client.example").unwrap(), 250)?;
    }
    let client = session.as_mut().expect("there is one now");
    expect(client.command("MAIL FROM:<alice@example.com>").unwrap(), 250)?;
    expect(client.command("RCPT TO:<bob@example.org>").unwrap(), 250)?;
    expect(client.command("DATA").unwrap(), 354)?;
    client.message(format!("Subject: {id}\r\n\r\nHello.\r\n").as_bytes()).unwrap();
    expect(client.reply().unwrap(), 250)
}
