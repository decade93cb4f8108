//! The edit model judged by a real MTA: random modifications, and the message that the MTA delivers must be the one
//! that the model foretells.

use tamis::proto::edit::model::Model;
use tamis_interop::host::{EventLog, FilterHost as _};
use tamis_interop::mta::Kind;
use tamis_interop::script::{Edit, Script};
use tamis_interop::site::Site;
use tamis_interop::text::escape;

use crate::common;
use crate::delivery::{self, Case, Random, apply, config, deliver, hello, model, rule, say};

/// A message with all that an MTA could miss, and one that lacks what Sendmail then adds.
const MESSAGES: [&str; 2] = [
    "Received: from first.example by second.example\r\n\
    \tfor <someone@example.org>; Fri, 20 Nov 2026 08:00:00 +0000\r\n\
    From: Alice <alice@example.com>\r\n\
    Date: Fri, 20 Nov 2026 08:00:00 +0000\r\n\
    Message-Id: <1@example.com>\r\n\
    X-Dup: one\r\n\
    Subject:  two spaces\r\n\
    X-Dup: two\r\n\
    x-dup: three\r\n\
    X-Empty:\r\n\
    X-Fold: a\r\n\
    \tb\r\n\
    To: bob@example.org\r\n\
    \r\n\
    Hello.\r\n\
    ..dots\r\n",
    "X-Dup: one\r\n\
    Subject: hello\r\n\
    X-Dup: two\r\n\
    \r\n\
    Hello.\r\n",
];

fn random_edit(random: &mut Random, mta: Kind) -> Edit {
    let values: [&[u8]; 7] =
        [b"changed", b"", b" lead", b"fold\n\tone\n two", b"100% caf\xc3\xa9", b"tab\tin", b"q=?utf-8?q?x?="];
    let name = |random: &mut Random| {
        let all =
            ["Subject", "SUBJECT", "X-Dup", "x-dup", "X-New", "X-Other", "X-Empty", "X-Fold", "Received"];
        // Sendmail writes addresses in the header anew, and has templates for others.
        let own = match mta {
            Kind::Postfix => ["To", "Date"],
            Kind::Sendmail => ["Date", "message-id"],
        };
        random.pick(&[all.as_slice(), own.as_slice()].concat())
    };
    let index = [0, 1, 1, 2, 2, 3, 4, 7, 9, 13, 100];
    match random.below(12) {
        0 | 1 => Edit::AddHeader { name: name(random).into(), value: random.pick(&values).into() },
        2..=4 => Edit::InsertHeader {
            index: random.pick(&index),
            name: name(random).into(),
            value: random.pick(&values).into(),
        },
        5..=8 => Edit::ChangeHeader {
            index: random.pick(&index),
            name: name(random).into(),
            value: random.pick(&values).into(),
        },
        9 => {
            let bodies: [&[u8]; 8] = [
                b"New body line\r\nbare\nlf\rcr\r\n",
                b"no end of line",
                b"cr at the end\r",
                b"\rcr before text\r\r\n\ncaf\xe9\r\n",
                b"",
                b"\r\n\r\n.\r\n..\r\n",
                b"a\r\r\nb\r\n",
                b"\n\n",
            ];
            Edit::ReplaceBody(random.pick(&bodies).into())
        }
        10 => recipient_edit(random),
        _ => {
            let paths: [&[u8]; 4] =
                [b"<new@example.net>", b"<>", b"plain@example.net", b"<Alice@EXAMPLE.com>"];
            let arguments: [&[u8]; 4] = [b"", b"", b"RET=HDRS", b"RET=FULL ENVID=a+2Bb"];
            Edit::ChangeSender { path: random.pick(&paths).into(), arguments: random.pick(&arguments).into() }
        }
    }
}

fn recipient_edit(random: &mut Random) -> Edit {
    if random.below(3) == 0 {
        let paths: [&[u8]; 7] = [
            b"<carol@example.org>",
            b"dave@example.org",
            b"Dave@example.org",
            b"<bob@EXAMPLE.org>",
            b"<nobody@example.org>",
            b"<extra@example.net>",
            b"\"b o b\"@example.net",
        ];
        return Edit::DeleteRecipient { path: random.pick(&paths).into() };
    }
    let paths: [&[u8]; 7] = [
        b"<extra@example.net>",
        b"bob@example.org",
        b"<Bob@example.org>",
        b"<carol@EXAMPLE.org>",
        b"dave@example.org",
        b"Extra@example.net",
        b"<\"b o b\"@example.net>",
    ];
    let arguments: [&[u8]; 5] = [
        b"",
        b"",
        b"NOTIFY=NEVER",
        b"NOTIFY=SUCCESS,FAILURE",
        b"ORCPT=rfc822;other@example.net NOTIFY=DELAY",
    ];
    Edit::AddRecipient { path: random.pick(&paths).into(), arguments: random.pick(&arguments).into() }
}

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
