//! Makes sure that a peer does what its scenario says: a benchmark of something else would be worth nothing.

use std::time::Duration;

use tamis::client::{Client, ClientError, Mail, Outcome, Report};
use tamis::proto::edit::model::Field;
use tamis::proto::{MtaConfig, Profile};
use tamis::{BoxError, SocketSpec, Stage};
use tokio::time::{Instant, sleep};

use crate::{FOOTER, HEADER, LENGTH_HEADER, Scenario, WAIT};

/// Messages on the connection: the state of one must not be left for the next.
const MESSAGES: usize = 3;

/// Longer than two packets.
const LINES: usize = 5_000;
const LINE: &str = "It was a bright cold day in April.\r\n";

/// How long a peer may take to start.
const START_TIME: Duration = Duration::from_secs(20);

/// Waits until a peer is there, and plays an MTA for a few messages.
///
/// # Errors
///
/// When the filter at the socket does not do what it should, saying what it does.
pub async fn check(socket: &str, scenario: Scenario) -> Result<(), BoxError> {
    let socket = format!("unix:{socket}").parse()?;
    let mut client = connect(&socket).await?;
    let body = LINE.repeat(LINES);
    let message = format!("Subject: hello\r\nFrom: a@example.com\r\n\r\n{body}");
    let mail = Mail::new("a@example.com", ["b@example.org", "c@example.org"], message);
    for number in 1..=MESSAGES {
        let report = client.send(&mail).await?;
        check_message(scenario, &report, &body).map_err(|what| format!("message {number}: {what}"))?;
    }
    client.quit().await?;
    Ok(())
}

/// Nothing tells when another program listens, but that it does.
async fn connect(socket: &SocketSpec) -> Result<Client, ClientError> {
    let start = Instant::now();
    loop {
        match Client::connect(socket, MtaConfig::new(Profile::Postfix)).await {
            Err(ClientError::Connect { .. }) if start.elapsed() < START_TIME => {
                sleep(Duration::from_millis(5)).await;
            }
            done => return done,
        }
    }
}

fn check_message(scenario: Scenario, report: &Report, body: &str) -> Result<(), BoxError> {
    check_answers(scenario, report)?;
    let delivered = report.delivered.as_ref().ok_or_else(|| format!("refused with {}", report.verdict))?;
    let expected = match scenario {
        Scenario::Footer | Scenario::Replace25 | Scenario::Replace25Spool => format!("{body}{FOOTER}"),
        _ => body.to_owned(),
    };
    if delivered.body.to_vec() != expected.as_bytes() {
        return Err(format!("a body of {} bytes came of {}", delivered.body.len(), body.len()).into());
    }
    let length = body.len().to_string();
    let mut header = report.original.headers.clone();
    match scenario {
        Scenario::Header => header.push(Field::new(HEADER.0, format!(" {}", HEADER.1))),
        Scenario::Look => header.push(Field::new(LENGTH_HEADER, format!(" {length}"))),
        _ => {}
    }
    if delivered.headers != header {
        return Err(format!("the header became {:?}", delivered.headers).into());
    }
    Ok(())
}

/// Every step of a message is sent and answered, or none but the last is answered. Connect and HELO come once.
fn check_answers(scenario: Scenario, report: &Report) -> Result<(), BoxError> {
    let silent = scenario == Scenario::NoReply;
    for step in &report.steps {
        let right = match (step.stage, &step.outcome) {
            (Stage::EndOfMessage, outcome) => matches!(outcome, Outcome::Verdict(_)),
            (Stage::Connect | Stage::Helo, Outcome::NotSent | Outcome::NoReply) => true,
            (stage, Outcome::NotSent) => silent && stage != Stage::Body,
            (_, outcome) => silent == (*outcome == Outcome::NoReply),
        };
        if !right {
            return Err(format!("{}: {:?}", step.stage, step.outcome).into());
        }
        if step.stage == Stage::EndOfMessage && scenario == Scenario::Wait50 && step.elapsed < WAIT {
            return Err(format!("it waited for {:?} only", step.elapsed).into());
        }
    }
    Ok(())
}
