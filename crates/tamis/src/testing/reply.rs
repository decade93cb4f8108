//! What the SMTP client is told, in the words that Postfix 3.7 and Sendmail 8.17 have by default (spec §3.2).

use tamis_proto::trace::Text;
use tamis_proto::{Profile, SmtpReply, Stage, Verdict};

use crate::client::QUEUE_ID;

/// The name of the MTA's host.
const HOST: &str = "mta.example";

/// Writes the reply to what the client did at a stage. `about` is the sender or recipient there.
///
/// A refusal of the client is told at its next MAIL, except what closes the connection.
pub(super) fn reply(profile: Profile, stage: Stage, verdict: &Verdict, about: &[u8]) -> String {
    match (profile, verdict) {
        (_, Verdict::Continue | Verdict::Accept | Verdict::Discard | Verdict::Skip) => {
            fine(profile, stage, about)
        }
        (Profile::Postfix, Verdict::Reject) => "550 5.7.1 Command rejected".into(),
        (Profile::Postfix, Verdict::Tempfail) => "451 4.7.1 Service unavailable - try again later".into(),
        (Profile::Postfix, Verdict::Reply(reply)) if reply.code() == 421 && stage == Stage::Connect => {
            format!("421 {HOST} Service unavailable - try again later")
        }
        (Profile::Postfix, Verdict::Reply(reply)) => reply.to_string(),
        (Profile::Sendmail, verdict) => sendmail(stage, verdict, about),
    }
}

fn sendmail(stage: Stage, verdict: &Verdict, about: &[u8]) -> String {
    const TEMPFAIL: &str = "451 4.3.2 Please try again later";
    let address = match stage {
        Stage::Mail | Stage::Rcpt => format!("<{}>... ", String::from_utf8_lossy(about)),
        _ => String::new(),
    };
    match (verdict, stage) {
        (Verdict::Reply(reply), Stage::Connect) if reply.code() == 421 => {
            format!("421 4.7.0 {HOST} closing connection")
        }
        (Verdict::Reply(reply), Stage::Connect) if !reply.is_permanent() => TEMPFAIL.into(),
        (Verdict::Reply(reply), stage) if stage != Stage::Connect => with_defaults(reply, stage, &address),
        (Verdict::Tempfail, _) => TEMPFAIL.into(),
        (_, Stage::Connect | Stage::Helo) => "550 5.0.0 Command rejected".into(),
        (_, Stage::Header | Stage::EndOfHeaders | Stage::Body | Stage::EndOfMessage) => {
            "554 5.7.1 Command rejected".into()
        }
        _ => format!("550 5.7.1 {address}Command rejected"),
    }
}

/// Sendmail adds the address, and an enhanced status code where there is none.
fn with_defaults(reply: &SmtpReply, stage: Stage, address: &str) -> String {
    let adds_code = matches!(stage, Stage::Mail | Stage::Rcpt | Stage::EndOfMessage);
    // Nothing of the message is left to speak of.
    let address = if reply.code() == 421 { "" } else { address };
    let default = if reply.is_permanent() { "5.0.0" } else { "4.0.0" };
    let enhanced = reply.enhanced().or(adds_code.then_some(default)).map(|code| format!("{code} "));
    let count = reply.lines().count();
    let lines = reply.lines().enumerate().map(|(number, line)| {
        let separator = if number + 1 == count { ' ' } else { '-' };
        let address = if number == 0 { address } else { "" };
        let text = String::from_utf8_lossy(line);
        format!("{}{separator}{}{address}{text}", reply.code(), enhanced.as_deref().unwrap_or_default())
    });
    lines.collect::<Vec<_>>().join(" / ")
}

/// What the client is told where nothing is wrong.
fn fine(profile: Profile, stage: Stage, about: &[u8]) -> String {
    let about = String::from_utf8_lossy(about);
    match (profile, stage) {
        (Profile::Postfix, Stage::Connect) => format!("220 {HOST} ESMTP Postfix"),
        (Profile::Sendmail, Stage::Connect) => format!("220 {HOST} ESMTP Sendmail"),
        (Profile::Postfix, Stage::Helo) => format!("250 {HOST}"),
        (Profile::Sendmail, Stage::Helo) => format!("250 {HOST} Hello {about}, pleased to meet you"),
        (Profile::Postfix, Stage::Mail) => "250 2.1.0 Ok".into(),
        (Profile::Sendmail, Stage::Mail) => format!("250 2.1.0 <{about}>... Sender ok"),
        (Profile::Postfix, Stage::Rcpt) => "250 2.1.5 Ok".into(),
        (Profile::Sendmail, Stage::Rcpt) => format!("250 2.1.5 <{about}>... Recipient ok"),
        (Profile::Postfix, Stage::Data) => "354 End data with <CR><LF>.<CR><LF>".into(),
        (Profile::Sendmail, Stage::Data) => r#"354 Enter mail, end with "." on a line by itself"#.into(),
        (Profile::Postfix, Stage::Unknown) => "500 5.5.2 Error: command not recognized".into(),
        (Profile::Sendmail, Stage::Unknown) => {
            format!("500 5.5.1 Command unrecognized: {}", Text(about.as_bytes()))
        }
        (Profile::Postfix, _) => format!("250 2.0.0 Ok: queued as {QUEUE_ID}"),
        (Profile::Sendmail, _) => format!("250 2.0.0 {QUEUE_ID} Message accepted for delivery"),
    }
}
