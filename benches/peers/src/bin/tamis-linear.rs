//! Tamis, each scenario one function over a message.
//!
//! Connect and HELO are no stages of a message: they are noted and not answered.
#![forbid(unsafe_code)]

use tamis::linear::{Linear, Mail, ReadBody};
use tamis::message::{BodyReader, BodyWriter, Replacement};
use tamis::{Actions, BoxError, BoxFilter, Options, Server, Shutdown, Stage, Verdict, bind};
use tamis_peers::{FOOTER, HEADER, LENGTH_HEADER, Scenario, WAIT, arguments};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let (socket, scenario) = arguments();
    let mut options = Options::default();
    if scenario == Scenario::Replace25 {
        options.body.memory = 32 << 20;
    }
    let listeners = bind(&[format!("unix:{socket}").parse()?])?;
    let server = Server::new(move |_peer: &_| filter(scenario)).options(options);
    Ok(server.serve(listeners, Shutdown::new()).await?)
}

fn filter(scenario: Scenario) -> BoxFilter {
    match scenario {
        Scenario::Answered | Scenario::Idle => {
            BoxFilter::new(answering(Linear::new(pass)).body(ReadBody::Stream))
        }
        Scenario::Header => {
            let filter = answering(Linear::new(add_header)).body(ReadBody::Stream);
            BoxFilter::new(filter.require(Actions::ADD_HEADERS))
        }
        Scenario::Footer | Scenario::Replace25 | Scenario::Replace25Spool => {
            let filter = answering(Linear::new(add_footer)).decides(Stage::Body).body(ReadBody::Collect);
            BoxFilter::new(filter.require(Actions::REPLACE_BODY))
        }
        // What sees the body without an answer to any piece is what collects it; the header is collected unless said
        // otherwise.
        Scenario::NoReply => BoxFilter::new(Linear::new(collect).body(ReadBody::Collect)),
        Scenario::Wait50 => BoxFilter::new(answering(Linear::new(wait)).body(ReadBody::Stream)),
        Scenario::Look => {
            let filter = answering(Linear::new(look)).body(ReadBody::Stream);
            BoxFilter::new(filter.require(Actions::ADD_HEADERS))
        }
    }
}

/// Has every stage of a message answered.
fn answering<F>(filter: Linear<F>) -> Linear<F> {
    [Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Header, Stage::EndOfHeaders]
        .into_iter()
        .fold(filter.without_headers(), Linear::decides)
}

async fn pass(mut mail: Mail) -> Result<Verdict, BoxError> {
    while mail.chunk().await?.is_some() {}
    mail.end().await?;
    Ok(Verdict::Continue)
}

async fn add_header(mut mail: Mail) -> Result<Verdict, BoxError> {
    while mail.chunk().await?.is_some() {}
    mail.end().await?;
    mail.add_header(HEADER.0, HEADER.1)?;
    Ok(Verdict::Continue)
}

async fn add_footer(mut mail: Mail) -> Result<Verdict, BoxError> {
    let allowance = mail.allowance().clone();
    let with_footer = Replacement::transform(&allowance, mail.body().await?, append).await?;
    mail.set_body(with_footer)?;
    Ok(Verdict::Continue)
}

async fn append(mut body: BodyReader, to: &mut BodyWriter) -> Result<(), BoxError> {
    while let Some(piece) = body.next_chunk().await {
        to.push(piece?).await?;
    }
    Ok(to.push(FOOTER).await?)
}

async fn collect(mut mail: Mail) -> Result<Verdict, BoxError> {
    mail.body().await?;
    Ok(Verdict::Continue)
}

async fn wait(mut mail: Mail) -> Result<Verdict, BoxError> {
    while mail.chunk().await?.is_some() {}
    mail.end().await?;
    tokio::time::sleep(WAIT).await;
    Ok(Verdict::Continue)
}

async fn look(mut mail: Mail) -> Result<Verdict, BoxError> {
    let mut length = 0;
    while let Some(piece) = mail.chunk().await? {
        length += piece.len();
    }
    mail.end().await?;
    mail.add_header(LENGTH_HEADER, length.to_string())?;
    Ok(Verdict::Continue)
}
