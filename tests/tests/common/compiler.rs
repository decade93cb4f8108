//! The edit compiler judged by a real MTA: random messages and random edits of them, and the message that the MTA
//! delivers must be the one that is wanted.

use bytes::Bytes;
use tamis::message::compile::{self, Mta, Target, Wanted};
use tamis::message::{HeaderValue, Headers};
use tamis::proto::command;
use tamis::proto::edit::model::{Message, Path};
use tamis::{Actions, Edit as WireEdit};
use tamis_interop::mta::Kind;
use tamis_interop::script::Edit;

use crate::delivery::{self, Case, RECIPIENTS};
use crate::random::Random;

/// Sends messages through a filter that edits them, and compares what is delivered with what the filter wanted.
pub(crate) fn check_deliveries(mta: Kind) {
    delivery::check(mta, |random, leading_space| {
        let target = match (mta, random.below(2)) {
            (_, 0) => Target::Portable,
            (Kind::Postfix, _) => Target::Postfix,
            (Kind::Sendmail, _) => Target::Sendmail,
        };
        let mut mta_at_hand = Mta::new(target, Actions::CURRENT);
        mta_at_hand.leading_space = leading_space;
        let message = random_message(random, leading_space);
        let headers = edited(random, &message, leading_space);
        let recipients = RECIPIENTS.map(|address| format!("<{address}>").into());
        let wanted = random_wanted(random, &headers, &recipients);
        let edits = compile::compile(&wanted, &mta_at_hand).unwrap();
        // The model agrees with what is wanted; that the MTA agrees with the model is left to see.
        if let Err(mismatch) = compile::check(&edits, &wanted, &mta_at_hand) {
            panic!("{mismatch}");
        }
        let edits: Vec<Edit> = edits.iter().map(scripted).collect();
        let foretold = delivery::foretold(mta, &message, &edits, leading_space);
        Case { message, edits, foretold }
    });
}

fn random_message(random: &mut Random, leading_space: bool) -> String {
    let mut fields = Vec::new();
    for _ in 0..random.below(10) {
        let values = [" one", " two", "  spaces", "", " a\r\n\tb\r\n  c", "\ttab", " caf\u{e9}"];
        // Without leading space nobody can tell that there was none.
        let values = [&values[..], if leading_space { &["tight", " tail "] } else { &[] }].concat();
        let fixed = [
            "Received: from a.example by b.example; Fri, 20 Nov 2026 08:00:00 +0000",
            "Date: Fri, 20 Nov 2026 08:00:00 +0000",
            "Message-Id: <1@example.com>",
            "From: Alice <alice@example.org>",
            "To: bob@example.org",
        ];
        fields.push(match random.below(3) {
            0 => random.pick(&fixed).to_owned(),
            _ => format!("{}:{}", random.pick(&["X-Dup", "x-dup", "X-One", "Subject"]), random.pick(&values)),
        });
    }
    // One of each is what a client may send.
    let mut seen = Vec::new();
    fields.retain(|field| {
        let name = field.split(':').next().unwrap_or_default().to_owned();
        let single = ["Date", "Message-Id", "From", "To"].contains(&name.as_str());
        let first = !seen.contains(&name);
        seen.push(name);
        first || !single
    });
    // Postfix takes a line of the body for a field where there is no header.
    fields.push("X-Last: yes".to_owned());
    format!("{}\r\n\r\nHello.\r\n", fields.join("\r\n"))
}

fn edited(random: &mut Random, message: &str, leading_space: bool) -> Headers {
    let mut headers = Headers::new();
    headers.allow(Actions::CURRENT);
    for field in Message::parse(message.as_bytes()).headers {
        headers.push(command::Header {
            name: field.name.clone(),
            value: field.wire_value(leading_space),
            implied_space: !leading_space,
        });
    }
    for _ in 0..=random.below(6) {
        headers.own_leading_space(leading_space && random.below(2) == 0);
        edit(random, &mut headers);
    }
    headers
}

fn edit(random: &mut Random, headers: &mut Headers) {
    let ids: Vec<_> = headers.iter().map(|header| header.id()).collect();
    let (name, value) = new_field(random);
    let done = match random.below(10) {
        0 => headers.append(name, value).map(drop),
        1 => headers.prepend(name, value).map(drop),
        2 if !value.is_empty() => headers.set(name, value).map(drop),
        3 => headers.remove_all(name).map(drop),
        _ if ids.is_empty() => Ok(()),
        4 => headers.remove(random.pick(&ids)),
        5 => headers.insert_before(random.pick(&ids), name, value).map(drop),
        6 => headers.insert_after(random.pick(&ids), name, value).map(drop),
        7 => headers.insert_before(random.pick(&ids).exactly(), name, value).map(drop),
        8 => headers.insert_after(random.pick(&ids).exactly(), name, value).map(drop),
        _ => {
            let (from, to) = (random.pick(&ids), random.pick(&ids));
            let copied = HeaderValue::from(headers.get(from).unwrap());
            let structured = |id| {
                let header = headers.get(id).unwrap();
                ["From", "To", "Date", "Message-Id"].iter().any(|name| header.is(name))
            };
            let blank = headers.get(from).unwrap().unfolded().is_empty();
            if blank || structured(from) || structured(to) { Ok(()) } else { headers.replace(to, copied) }
        }
    };
    done.unwrap();
}

/// Sendmail writes addresses, dates and ids in the header anew, so these are as it would write them.
fn new_field(random: &mut Random) -> (&'static str, &'static str) {
    let fixed = [
        ("Date", "Sat, 21 Nov 2026 08:00:00 +0000"),
        ("Message-ID", "<2@example.net>"),
        ("From", "carol@example.net"),
        ("Received", "from c.example by d.example; Fri, 20 Nov 2026 08:00:00 +0000"),
    ];
    match random.below(4) {
        0 => random.pick(&fixed),
        _ => (
            random.pick(&["X-Dup", "x-dup", "X-New", "Subject"]),
            random.pick(&["new", "", " lead", "fold\r\n\tone\n two", "100% caf\u{e9}", "tab\tin"]),
        ),
    }
}

fn random_wanted<'a>(random: &mut Random, headers: &'a Headers, recipients: &'a [Bytes]) -> Wanted<'a> {
    let mut wanted = Wanted::new(headers);
    wanted.recipients = recipients;
    match random.below(8) {
        0 => wanted.sender = Some(Path::with_args("new@example.net", ["RET=HDRS"])),
        1 => wanted.sender = Some(Path::new("<>")),
        2 => wanted.removed = vec![recipients[random.below(3)].clone()],
        3 => {
            wanted.removed = vec![recipients[0].clone()];
            wanted.added = [&recipients[0][..], &recipients[1], b"extra@example.net"].map(Path::new).to_vec();
        }
        4 => wanted.added = vec![Path::with_args("dsn@example.net", ["NOTIFY=NEVER"])],
        5 => wanted.body = Some(vec!["new\r\nbo".into(), "dy\nno end".into()]),
        6 => wanted.body = Some(Vec::new()),
        _ => {}
    }
    wanted
}

fn scripted(edit: &WireEdit<Bytes>) -> Edit {
    match edit {
        WireEdit::AddHeader { name, value } => Edit::AddHeader { name: name.to_vec(), value: value.to_vec() },
        WireEdit::InsertHeader { index, name, value } => {
            Edit::InsertHeader { index: *index, name: name.to_vec(), value: value.to_vec() }
        }
        WireEdit::ChangeHeader { index, name, value } => {
            Edit::ChangeHeader { index: *index, name: name.to_vec(), value: value.to_vec() }
        }
        WireEdit::ChangeSender { address, args } => Edit::ChangeSender {
            path: address.to_vec(),
            arguments: args.as_ref().map(|args| args.to_vec()).unwrap_or_default(),
        },
        WireEdit::AddRecipient { address } => {
            Edit::AddRecipient { path: address.to_vec(), arguments: Vec::new() }
        }
        WireEdit::AddRecipientWithArgs { address, args } => Edit::AddRecipient {
            path: address.to_vec(),
            arguments: args.as_ref().map(|args| args.to_vec()).unwrap_or_default(),
        },
        WireEdit::DeleteRecipient { address } => Edit::DeleteRecipient { path: address.to_vec() },
        WireEdit::ReplaceBody(piece) => Edit::ReplaceBody(piece.to_vec()),
        WireEdit::Quarantine { reason } => Edit::Quarantine { reason: reason.to_vec() },
    }
}
