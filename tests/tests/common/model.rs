//! The edit model judged by a real MTA: random modifications, and the message that the MTA delivers must be the one
//! that the model foretells.

use tamis::proto::edit::model::Model;
use tamis_interop::host::{EventLog, FilterHost as _};
use tamis_interop::mta::Kind;
use tamis_interop::script::{Edit, Script};
use tamis_interop::site::Site;
use tamis_interop::text::escape;

use crate::common;
use crate::delivery::{self, Case, apply, config, deliver, hello, model, rule, say};
use crate::edits::{MESSAGES, random_edit};

/// Sends messages through a filter with random edits, and compares what is delivered with what the model foretells.
pub(crate) fn check_deliveries(mta: Kind) {
    delivery::check(mta, |random, leading_space| {
        let edits = (0..=random.below(8)).map(|_| random_edit(random, mta)).collect::<Vec<_>>();
        let message = random.pick(&MESSAGES).to_owned();
        let foretold = delivery::foretold(mta, &message, &edits, leading_space);
        Case { message, edits, foretold }
    });
}

/// Sends messages through two filters, the first with edits, and compares what the second is shown.
pub(crate) fn check_next_filter(mta: Kind) {
    let (site, second_listens) = Site::start_for_two(&config(mta));
    let insertions = [
        Edit::InsertHeader { index: 0, name: b"X-Top".into(), value: b"1".into() },
        Edit::InsertHeader { index: 1, name: b"X-Below".into(), value: b"2".into() },
        Edit::ChangeHeader { index: 2, name: b"X-Dup".into(), value: b"".into() },
        Edit::AddHeader { name: b"X-End".into(), value: b"fold\n\tone".into() },
        Edit::ReplaceBody(b"no end of line".into()),
    ];
    let deletions = [
        Edit::ChangeHeader { index: 1, name: b"X-Dup".into(), value: b"".into() },
        Edit::ChangeHeader { index: 1, name: b"Subject".into(), value: b"changed".into() },
        Edit::AddHeader { name: b"Subject".into(), value: b"another".into() },
    ];
    for edits in [insertions.as_slice(), &deletions] {
        for message in MESSAGES {
            let editor = Script { rules: vec![rule(None, edits)], ..Script::default() };
            let first = common::host().start(&editor, &site.listen);
            let second = common::host().start(&Script::default(), &second_listens);
            let mut client = hello(&site);
            deliver(&mut client, message);

            let mut model = model(mta, message);
            apply(&mut model, edits);
            model.next_filter(false);
            assert_eq!(seen(second.log()), shown_by(&model));
            say(&mut client, "QUIT", 221);
            drop(first);
        }
    }
}

/// The header fields and the size of the body that a filter saw.
fn seen(log: &EventLog) -> Vec<String> {
    let mut lines = log.all();
    lines.retain(|line| line.starts_with("header ") || line.starts_with("body "));
    lines
}

/// The same as the model has it.
fn shown_by(model: &Model) -> Vec<String> {
    let fields = model.shown();
    let fields =
        fields.map(|field| format!("header {}={}", escape(&field.name), escape(&field.wire_value(false))));
    fields.chain([format!("body {}", model.body().len())]).collect()
}
