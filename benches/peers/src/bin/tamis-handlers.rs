//! Tamis, each scenario a filter of handlers.
#![forbid(unsafe_code)]

use tamis::message::{BodyReader, BodyWriter, Replacement};
use tamis::proto::Misuse;
use tamis::{BoxError, Context, Filter, Options, Server, Shutdown, Verdict, bind};
use tamis_peers::{FOOTER, HEADER, LENGTH_HEADER, Scenario, WAIT, arguments};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let (socket, scenario) = arguments();
    let mut options = Options::default();
    match scenario {
        Scenario::Answered | Scenario::Idle => serve(&socket, || Answered, options).await,
        Scenario::Header => serve(&socket, || AddsHeader, options).await,
        Scenario::Footer | Scenario::Replace25Spool => serve(&socket, || AddsFooter, options).await,
        Scenario::Replace25 => {
            options.body.memory = 32 << 20;
            serve(&socket, || AddsFooter, options).await
        }
        Scenario::NoReply => serve(&socket, || NoReply, options).await,
        Scenario::Wait50 => serve(&socket, || Waits, options).await,
        Scenario::Look => serve(&socket, || Looks, options).await,
    }
}

async fn serve<F: Filter>(
    socket: &str,
    make: impl Fn() -> F + Send + Sync + 'static,
    options: Options,
) -> Result<(), BoxError> {
    let listeners = bind(&[format!("unix:{socket}").parse()?])?;
    Ok(Server::new(move |_peer: &_| make()).options(options).serve(listeners, Shutdown::new()).await?)
}

/// Answers every step.
struct Answered;

#[tamis::filter]
impl Answered {
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

/// Adds a header field.
struct AddsHeader;

#[tamis::filter(require(add_headers))]
impl AddsHeader {
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

    fn end_of_message(&mut self, cx: &mut Context<'_, ()>) -> Result<Verdict, Misuse> {
        cx.add_header(HEADER.0, HEADER.1)?;
        Ok(Verdict::Continue)
    }
}

/// Puts a footer behind the body.
struct AddsFooter;

#[tamis::filter(collect(body), require(replace_body))]
impl AddsFooter {
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

    async fn end_of_message(&mut self, cx: &mut Context<'_, ()>) -> Result<Verdict, BoxError> {
        let allowance = cx.allowance();
        let with_footer = Replacement::transform(&allowance, cx.body()?, append).await?;
        cx.set_body(with_footer)?;
        Ok(Verdict::Continue)
    }
}

async fn append(mut body: BodyReader, to: &mut BodyWriter) -> Result<(), BoxError> {
    while let Some(piece) = body.next_chunk().await {
        to.push(piece?).await?;
    }
    Ok(to.push(FOOTER).await?)
}

/// Sees every step and answers none but the last.
struct NoReply;

#[tamis::filter]
impl NoReply {
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

/// Takes its time at the end of each message.
struct Waits;

#[tamis::filter]
impl Waits {
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

    async fn end_of_message(&mut self) -> Verdict {
        tokio::time::sleep(WAIT).await;
        Verdict::Continue
    }
}

/// Says how long the body was.
struct Looks;

#[tamis::filter(require(add_headers))]
impl Looks {
    type Message = usize;

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

    fn body(&mut self, cx: &mut Context<'_, usize>, piece: &[u8]) -> Verdict {
        *cx.message += piece.len();
        Verdict::Continue
    }

    fn end_of_message(&mut self, cx: &mut Context<'_, usize>) -> Result<Verdict, Misuse> {
        let length = cx.message.to_string();
        cx.add_header(LENGTH_HEADER, length)?;
        Ok(Verdict::Continue)
    }
}
