//! Handlers that return what nobody can make a verdict of.

use std::pin::Pin;

use tamis::Verdict;

struct Returns;

#[tamis::filter]
impl Returns {
    fn connect(&mut self) -> bool {
        true
    }

    async fn helo(&mut self) -> Result<u32, std::io::Error> {
        Ok(250)
    }

    fn mail(&mut self) -> Pin<Box<dyn Future<Output = Verdict> + Send>> {
        Box::pin(async { Verdict::Continue })
    }

    fn rcpt(&mut self) -> impl Future<Output = Verdict> {
        async { Verdict::Continue }
    }

    fn data(&mut self) -> Result<Verdict, u32> {
        Err(1)
    }
}

struct Negotiates;

#[tamis::filter]
impl Negotiates {
    async fn negotiate(&mut self) -> Verdict {
        Verdict::Continue
    }
}

fn main() {}
