//! The report for programs. Bytes that are not UTF-8 become U+FFFD.

use serde_json::{Map, Value, json};
use tamis::client::{Outcome, Report};
use tamis::proto::MacroStage;
use tamis::proto::edit::model::{Applied, Message, Path};
use tamis::{Edit, Verdict};

use super::{Args, Fate};

pub(super) fn report(args: &Args, report: &Report, fate: Fate, diff: &str) -> Vec<u8> {
    let agreed = &report.agreement;
    let macros: Map<String, Value> = MacroStage::ALL
        .into_iter()
        .filter_map(|stage| Some((stage.stage().name().to_owned(), json!(agreed.macros.get(stage)?))))
        .collect();
    let object = json!({
        "filter": args.to.to_string(),
        "as": args.mta.name(),
        "client": args.client(),
        "negotiation": {
            "version": agreed.version,
            "actions": flags(&agreed.actions.to_string()),
            "steps": flags(&agreed.steps.to_string()),
            "packet_size": agreed.data_size.bytes(),
            "macros": macros,
        },
        "steps": report.steps.iter().map(|step| {
            let mut object = match &step.outcome {
                Outcome::NotSent => json!({ "outcome": "not-sent" }),
                Outcome::NoReply => json!({ "outcome": "no-reply" }),
                Outcome::TooLong => json!({ "outcome": "too-long" }),
                Outcome::Verdict(verdict) => json!({ "outcome": "verdict", "verdict": self::verdict(verdict) }),
            };
            object["stage"] = json!(step.stage.name());
            object["about"] = text(&step.about);
            object["progress"] = json!(step.progress);
            object["ms"] = json!(ms(step.elapsed));
            object
        }).collect::<Vec<_>>(),
        "edits": report.edits.iter().map(|(done, applied)| {
            let mut object = edit(done);
            object["effect"] = json!(match applied {
                Applied::AddedInstead => "added",
                Applied::Ignored(_) => "none",
                _ => "done",
            });
            object
        }).collect::<Vec<_>>(),
        "refused": report.refused.iter().map(|(refused, why)| {
            let mut object = edit(refused);
            object["why"] = json!(why);
            object
        }).collect::<Vec<_>>(),
        "result": fate.name(),
        "exit_code": fate.exit_code(),
        "verdict": verdict(&report.verdict),
        "stage": report.stage.name(),
        "ms": ms(report.elapsed),
        "delivered": report.delivered.as_ref().map(delivered),
        "diff": diff,
    });
    line(&object)
}

pub(super) fn error(text: &str) -> Vec<u8> {
    line(&json!({ "result": "failed", "exit_code": crate::exit::FAILED, "error": text }))
}

fn line(object: &Value) -> Vec<u8> {
    let mut line = serde_json::to_vec_pretty(object).expect("keys are strings");
    line.push(b'\n');
    line
}

fn verdict(verdict: &Verdict) -> Value {
    match verdict {
        Verdict::Reply(reply) => json!({
            "name": verdict.name(),
            "code": reply.code(),
            "enhanced": reply.enhanced(),
            "lines": reply.lines().map(text).collect::<Vec<_>>(),
        }),
        verdict => json!({ "name": verdict.name() }),
    }
}

fn edit(edit: &Edit<bytes::Bytes>) -> Value {
    let mut object = match edit {
        Edit::AddHeader { name, value } => json!({ "name": text(name), "value": text(value) }),
        Edit::InsertHeader { index, name, value } | Edit::ChangeHeader { index, name, value } => {
            json!({ "index": index, "name": text(name), "value": text(value) })
        }
        Edit::ChangeSender { address, args } | Edit::AddRecipientWithArgs { address, args } => {
            json!({ "address": text(address), "args": args.as_ref().map(|args| text(args)) })
        }
        Edit::AddRecipient { address } | Edit::DeleteRecipient { address } => {
            json!({ "address": text(address) })
        }
        Edit::ReplaceBody(bytes) => json!({ "bytes": bytes.len() }),
        Edit::Quarantine { reason } => json!({ "reason": text(reason) }),
    };
    object["edit"] = json!(edit.name());
    object
}

fn delivered(message: &Message) -> Value {
    json!({
        "sender": path(&message.sender),
        "recipients": message.recipients.iter().map(path).collect::<Vec<_>>(),
        "quarantine": message.quarantine.as_ref().map(|reason| text(reason)),
        "message": text(&message.to_bytes()),
    })
}

fn path(path: &Path) -> Value {
    json!({
        "address": text(&path.address),
        "args": path.args.iter().map(|arg| text(arg)).collect::<Vec<_>>(),
    })
}

fn flags(names: &str) -> Vec<&str> {
    names.split('|').filter(|name| *name != "none").collect()
}

fn text(bytes: &[u8]) -> Value {
    Value::String(String::from_utf8_lossy(bytes).into_owned())
}

/// Milliseconds with three decimals.
fn ms(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
