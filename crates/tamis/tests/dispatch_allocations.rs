//! Handlers of `#[tamis::filter]` and functions over a message cost no allocation beside what a session costs with a filter
//! written by hand.

mod common;

use bytes::Bytes;
use common::frames::*;
use common::{Mta, patient, serve};
use tamis::chain::Chain;
use tamis::handler::Field;
use tamis::linear::{Linear, Mail, ReadBody};
use tamis::message::{Client, Recipient, Sender, Text};
use tamis::{BoxError, Context, Event, Filter, Needs, Now, Reply, Stage, Verdict};

type Cx<'a> = Context<'a, ()>;

struct Plain;

#[tamis::filter]
impl Plain {
    fn connect(&mut self, _: &Client, _: &mut Cx<'_>) -> Verdict {
        Verdict::Continue
    }
    fn helo(&mut self, _: &Text) -> Verdict {
        Verdict::Continue
    }
    fn mail(&mut self, _: &mut Cx<'_>, _: &Sender) -> Verdict {
        Verdict::Continue
    }
    fn rcpt(&mut self, _: &mut Cx<'_>, _: &Recipient) -> Verdict {
        Verdict::Continue
    }
    fn data(&mut self) -> Verdict {
        Verdict::Continue
    }
    fn header(&mut self, _: &Field, _: &mut Cx<'_>) -> Verdict {
        Verdict::Continue
    }
    fn end_of_headers(&mut self) -> Verdict {
        Verdict::Continue
    }
    fn body(&mut self, _: &[u8]) -> Verdict {
        Verdict::Continue
    }
    fn end_of_message(&mut self, _: &mut Cx<'_>) -> Verdict {
        Verdict::Continue
    }
    fn unknown(&mut self, _: &Text) -> Verdict {
        Verdict::Continue
    }
}

struct Waiting;

#[tamis::filter]
impl Waiting {
    async fn connect(&mut self, _: &Client, _: &mut Cx<'_>) -> Verdict {
        pause().await
    }
    async fn helo(&mut self, _: &Text) -> Verdict {
        pause().await
    }
    async fn mail(&mut self, _: &mut Cx<'_>, _: &Sender) -> Verdict {
        pause().await
    }
    async fn rcpt(&mut self, _: &mut Cx<'_>, _: &Recipient) -> Verdict {
        pause().await
    }
    async fn data(&mut self) -> Verdict {
        pause().await
    }
    async fn header(&mut self, _: &Field, _: &mut Cx<'_>) -> Verdict {
        pause().await
    }
    async fn end_of_headers(&mut self) -> Verdict {
        pause().await
    }
    async fn body(&mut self, _: &Bytes) -> Verdict {
        pause().await
    }
    async fn end_of_message(&mut self, _: &mut Cx<'_>) -> Verdict {
        pause().await
    }
    async fn unknown(&mut self, _: &Text) -> Verdict {
        pause().await
    }
}

/// Is not ready at once.
async fn pause() -> Verdict {
    tokio::task::yield_now().await;
    Verdict::Continue
}

/// What both would be without the attribute: says continue to everything, at once or after a pause.
struct ByHand {
    waits: bool,
}

impl Filter for ByHand {
    type Message = ();

    fn needs(&self) -> Needs {
        Needs::everything()
    }

    fn now(&mut self, _: &mut Cx<'_>, event: Event) -> Now {
        // As the filter of handlers, which has none for close.
        if self.waits && event.stage().is_some() {
            Now::Later(event)
        } else {
            Now::Done(Ok(Verdict::Continue))
        }
    }

    async fn on(&mut self, _: &mut Cx<'_>, _: Event) -> Reply {
        Ok(pause().await)
    }
}

const MESSAGES: usize = 50;

/// Allocations of this thread, server and MTA, while some messages pass.
fn allocations<F: Filter>(make: impl Fn() -> F + Send + Sync + 'static) -> u64 {
    allocations_in(make, || vec![connect(), helo("client.example"), unknown("XYZZY")])
}

fn allocations_in<F: Filter>(
    make: impl Fn() -> F + Send + Sync + 'static,
    greeting: fn() -> Vec<Vec<u8>>,
) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (server, mut mta) = runtime.block_on(async {
        let server = serve(patient(), move |_| make());
        let mut mta = server.mta().await;
        // What is allocated once is allocated now.
        converse(&mut mta, greeting(), 3).await;
        (server, mta)
    });
    let counted = allocation_counter::measure(|| runtime.block_on(converse(&mut mta, greeting(), MESSAGES)));
    runtime.block_on(async {
        mta.quit().await;
        server.drain().await;
    });
    counted.count_total
}

async fn converse(mta: &mut Mta, greeting: Vec<Vec<u8>>, messages: usize) {
    mta.go(greeting).await;
    for _ in 0..messages {
        mta.go(message("<from@example.com>")).await;
    }
    mta.write(quit_new_connection()).await;
}

#[test]
fn plain_handlers_add_no_allocation_to_the_bare_session() {
    assert_eq!(Plain.needs(), Needs::everything());
    assert_eq!(allocations(|| Plain), allocations(|| ByHand { waits: false }));
}

#[test]
fn async_handlers_add_no_allocation_to_the_bare_session() {
    assert_eq!(Waiting.needs(), Needs::everything());
    assert_eq!(allocations(|| Waiting), allocations(|| ByHand { waits: true }));
}

/// Five filters that are one.
fn chain(make: fn() -> Chain) -> Chain {
    (0..5).fold(make(), |chain, at| chain.add(format!("filter {at}"), ByHand { waits: false }))
}

#[test]
fn filters_of_a_chain_that_need_no_waiting_add_no_allocation_to_the_bare_session() {
    let alone = allocations(|| ByHand { waits: false });
    assert_eq!(allocations(|| chain(Chain::pipeline)), alone);
    assert_eq!(allocations(|| chain(Chain::parallel)), alone);
}

/// Reads all of a message.
async fn read(mut mail: Mail) -> Result<Verdict, BoxError> {
    while mail.chunk().await?.is_some() {}
    mail.end().await?;
    Ok(Verdict::Continue)
}

#[test]
fn a_function_over_the_message_adds_no_allocation_to_the_bare_session() {
    let stages = [Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Header, Stage::EndOfHeaders, Stage::Body];
    let filter = Linear::new(read).without_headers().body(ReadBody::Stream);
    let filter = stages.into_iter().fold(filter, Linear::decides);
    // It answers nothing outside of a message.
    let with_function = allocations_in(move || filter.clone(), Vec::new);
    assert_eq!(with_function, allocations_in(|| ByHand { waits: false }, Vec::new));
}
