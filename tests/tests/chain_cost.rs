//! What several filters cost a real Postfix and themselves: each on a socket of its own, and all as one chain.
//!
//! `TAMIS_CHAIN_COST_MESSAGES=500 cargo test --release -p tamis-interop --test chain_cost -- --nocapture` prints CPU time
//! for each message: that of Postfix's `smtpd` and `cleanup`, which speak to milters, and that of the filters. Without
//! the variable there are few messages, which say nothing about time, but that all of them pass.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tamis::chain::Chain;
use tamis::server::{BindOptions, bind_with};
use tamis::{Context, Event, Filter, Look, Needs, Now, Peer, Reply, Server, Shutdown, SocketSpec, Verdict};
use tamis_interop::host::Listen;
use tamis_interop::mta::Mta as _;
use tamis_interop::postfix::{Builder, Postfix};
use tamis_interop::smtp::Client;

/// How many filters.
const COUNTS: [usize; 4] = [1, 2, 5, 10];

/// Answers everything with continue.
struct Answers;

impl Filter for Answers {
    type Message = ();

    fn needs(&self) -> Needs {
        Needs::everything()
    }

    fn look(&mut self, _: &mut Context<'_, ()>, _: &Event) -> Look {
        Look::Done(Ok(Verdict::Continue))
    }

    fn now(&mut self, _: &mut Context<'_, ()>, _: Event) -> Now {
        Now::Done(Ok(Verdict::Continue))
    }

    async fn on(&mut self, _: &mut Context<'_, ()>, _: Event) -> Reply {
        unreachable!("everything is handled at once")
    }
}

#[test]
fn mail_passes_separate_milters_and_a_chain_of_as_many() {
    let messages = std::env::var("TAMIS_CHAIN_COST_MESSAGES").map_or(5, |count| count.parse().unwrap());
    let names: Vec<String> = (0..COUNTS[COUNTS.len() - 1]).map(|at| format!("{at}.sock")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut builder = Builder::new(([127, 0, 0, 1], 9).into());
    for count in COUNTS {
        builder = builder.server(&names[..count]);
    }
    // Nothing is delivered, and the processes stay to be looked at.
    for (name, value) in [("default_transport", "discard:"), ("relayhost", ""), ("max_use", "1000000")] {
        builder = builder.setting(name, value);
    }
    let postfix = builder.start();
    println!(
        "| filters | separate: Postfix µs/message | filters | together | chain: Postfix | filters | together | saved |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for (at, count) in COUNTS.into_iter().enumerate() {
        let sockets =
            |count: usize| names[..count].iter().map(|name| path(&postfix, name)).collect::<Vec<_>>();
        let separate =
            measure(&postfix, postfix.others()[at], messages, || serve(sockets(count), |_: &Peer| Answers));
        let chain = measure(&postfix, postfix.others()[0], messages, || {
            let add = |chain: Chain, at: usize| chain.add(at.to_string(), Answers);
            serve(sockets(1), move |_: &Peer| (0..count).fold(Chain::pipeline(), add))
        });
        let [(a, b), (c, d)] = [separate, chain];
        let saved = 100.0 * (1.0 - (c + d) / (a + b));
        println!(
            "| {count} | {a:.0} | {b:.0} | {:.0} | {c:.0} | {d:.0} | {:.0} | {saved:.0} % |",
            a + b,
            c + d
        );
    }
}

fn path(postfix: &Postfix, name: &str) -> PathBuf {
    match postfix.socket(name) {
        Listen::Unix(path) => path,
        Listen::Tcp(_) => unreachable!("they are unix sockets"),
    }
}

/// Microseconds for each message: of Postfix, and of the filters.
fn measure(postfix: &Postfix, smtp: SocketAddr, messages: u32, start: impl Fn() -> Serving) -> (f64, f64) {
    let serving = start();
    // Until everything has been done once.
    send(smtp, 20);
    let of_postfix = || ["smtpd", "cleanup"].map(|name| postfix.cpu_time(name)).iter().sum::<Duration>();
    let before = (of_postfix(), serving.cpu_time());
    send(smtp, messages);
    let count = f64::from(messages);
    let each = |before: Duration, after: Duration| after.saturating_sub(before).as_secs_f64() * 1e6 / count;
    let times = (each(before.0, of_postfix()), each(before.1, serving.cpu_time()));
    serving.stop();
    assert!(postfix.wait_until_idle(Duration::from_mins(1)), "{}", postfix.log());
    times
}

fn send(smtp: SocketAddr, messages: u32) {
    let mut client = Client::connect(smtp).unwrap();
    assert_eq!(client.reply().unwrap().code(), 220);
    assert_eq!(client.command("EHLO client.example").unwrap().code(), 250);
    let fields = "X-Field: value\r\n".repeat(15);
    let message = format!("{fields}\r\n{}", "It was a bright cold day in April.\r\n".repeat(115));
    for _ in 0..messages {
        assert_eq!(client.command("MAIL FROM:<alice@example.com>").unwrap().code(), 250);
        for to in ["a", "b", "c"] {
            assert_eq!(client.command(&format!("RCPT TO:<{to}@example.org>")).unwrap().code(), 250);
        }
        assert_eq!(client.command("DATA").unwrap().code(), 354);
        client.message(message.as_bytes()).unwrap();
        assert_eq!(client.reply().unwrap().code(), 250);
    }
    assert_eq!(client.command("QUIT").unwrap().code(), 221);
}

/// Filters on a thread of their own.
struct Serving {
    thread: JoinHandle<()>,
    /// Where the system says how long it ran.
    clock: PathBuf,
    shutdown: Shutdown,
}

fn serve<F: Filter>(
    sockets: Vec<PathBuf>,
    make: impl Fn(&Peer) -> F + Clone + Send + Sync + 'static,
) -> Serving {
    let (started, clock) = mpsc::channel();
    let shutdown = Shutdown::new();
    let stop = shutdown.clone();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let specs: Vec<_> = sockets.into_iter().map(SocketSpec::Unix).collect();
            let mut bind = BindOptions::default();
            // Postfix runs as another user.
            bind.unix_mode = 0o666;
            let listeners = bind_with(&specs, bind).unwrap();
            let task = fs::read_link("/proc/thread-self").unwrap();
            started.send(PathBuf::from("/proc").join(task).join("schedstat")).unwrap();
            Server::new(make).serve(listeners, stop).await.unwrap();
        });
    });
    Serving { thread, clock: clock.recv().unwrap(), shutdown }
}

impl Serving {
    fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(&self.clock).unwrap();
        Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
    }

    fn stop(self) {
        self.shutdown.stop();
        self.thread.join().unwrap();
    }
}
