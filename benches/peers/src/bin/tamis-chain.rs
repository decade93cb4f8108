//! Tamis, several filters as one chain, each of which does nothing but look and say continue.
#![forbid(unsafe_code)]

use std::env;
use std::process::exit;

use tamis::chain::Chain;
use tamis::{BoxError, Filter, Server, Shutdown, Verdict, bind};

const USAGE: &str = "usage: tamis-chain COUNT SOCKET answered|no-reply[:parallel|:pipeline[:async]]";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [count, socket, task] = arguments.as_slice() else { usage() };
    let count: usize = count.parse().unwrap_or_else(|_| usage());
    let mut words = task.split(':');
    let (scenario, mode, style) = (words.next(), words.next(), words.next());
    let empty = match mode {
        Some("parallel") => Chain::parallel,
        Some("pipeline") | None => Chain::pipeline,
        Some(_) => usage(),
    };
    match (scenario, style) {
        (Some("answered"), None) => serve(socket, empty, count, || Answers).await,
        (Some("answered"), Some("async")) => serve(socket, empty, count, || AnswersAsync).await,
        (Some("no-reply"), None) => serve(socket, empty, count, || Watches).await,
        (Some("no-reply"), Some("async")) => serve(socket, empty, count, || WatchesAsync).await,
        _ => usage(),
    }
}

fn usage() -> ! {
    eprintln!("{USAGE}");
    exit(2)
}

async fn serve<F: Filter>(
    socket: &str,
    empty: fn() -> Chain,
    count: usize,
    make: fn() -> F,
) -> Result<(), BoxError> {
    let listeners = bind(&[format!("unix:{socket}").parse()?])?;
    let chain = move |_peer: &_| (0..count).fold(empty(), |chain, at| chain.add(at.to_string(), make()));
    Ok(Server::new(chain).serve(listeners, Shutdown::new()).await?)
}

/// Answers every step.
struct Answers;

#[tamis::filter]
impl Answers {
    fn connect(&mut self) -> Verdict {
        Verdict::Continue
    }

    fn helo(&mut self) -> Verdict {
        Verdict::Continue
    }

    fn mail(&mut self) -> Verdict {
        Verdict::Continue
    }

    fn rcpt(&mut self) -> Verdict {
        Verdict::Continue
    }

    fn data(&mut self) -> Verdict {
        Verdict::Continue
    }

    fn header(&mut self) -> Verdict {
        Verdict::Continue
    }

    fn end_of_headers(&mut self) -> Verdict {
        Verdict::Continue
    }

    fn body(&mut self) -> Verdict {
        Verdict::Continue
    }

    fn end_of_message(&mut self) -> Verdict {
        Verdict::Continue
    }
}

/// The same in handlers that may wait.
struct AnswersAsync;

#[tamis::filter]
impl AnswersAsync {
    async fn connect(&mut self) -> Verdict {
        Verdict::Continue
    }

    async fn helo(&mut self) -> Verdict {
        Verdict::Continue
    }

    async fn mail(&mut self) -> Verdict {
        Verdict::Continue
    }

    async fn rcpt(&mut self) -> Verdict {
        Verdict::Continue
    }

    async fn data(&mut self) -> Verdict {
        Verdict::Continue
    }

    async fn header(&mut self) -> Verdict {
        Verdict::Continue
    }

    async fn end_of_headers(&mut self) -> Verdict {
        Verdict::Continue
    }

    async fn body(&mut self) -> Verdict {
        Verdict::Continue
    }

    async fn end_of_message(&mut self) -> Verdict {
        Verdict::Continue
    }
}

/// Sees every step and answers none but the last.
struct Watches;

#[tamis::filter]
impl Watches {
    fn connect(&mut self) {}

    fn helo(&mut self) {}

    fn mail(&mut self) {}

    fn rcpt(&mut self) {}

    fn data(&mut self) {}

    fn header(&mut self) {}

    fn end_of_headers(&mut self) {}

    fn body(&mut self) {}

    fn end_of_message(&mut self) -> Verdict {
        Verdict::Continue
    }
}

/// The same in handlers that may wait.
struct WatchesAsync;

#[tamis::filter]
impl WatchesAsync {
    async fn connect(&mut self) {}

    async fn helo(&mut self) {}

    async fn mail(&mut self) {}

    async fn rcpt(&mut self) {}

    async fn data(&mut self) {}

    async fn header(&mut self) {}

    async fn end_of_headers(&mut self) {}

    async fn body(&mut self) {}

    async fn end_of_message(&mut self) -> Verdict {
        Verdict::Continue
    }
}
