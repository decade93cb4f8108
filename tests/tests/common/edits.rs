//! Random edits of messages.

use tamis_interop::mta::Kind;
use tamis_interop::script::Edit;
use tamis_interop::text::escape;

use crate::random::Random;

/// A message with all that an MTA could miss, and one that lacks what Sendmail then adds.
pub(crate) const MESSAGES: [&str; 2] = [
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

pub(crate) fn random_edit(random: &mut Random, mta: Kind) -> Edit {
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

/// An edit in the words of a case file.
pub(crate) fn words(edit: &Edit) -> String {
    let text = |bytes: &[u8]| format!("\"{}\"", escape(bytes).replace('"', "\\\""));
    match edit {
        Edit::AddHeader { name, value } => format!("add-header {} {}", text(name), text(value)),
        Edit::InsertHeader { index, name, value } => {
            format!("insert-header {index} {} {}", text(name), text(value))
        }
        Edit::ChangeHeader { index, name, value } if value.is_empty() => {
            format!("delete-header {index} {}", text(name))
        }
        Edit::ChangeHeader { index, name, value } => {
            format!("change-header {index} {} {}", text(name), text(value))
        }
        Edit::AddRecipient { path, arguments } => {
            format!("add-rcpt {} {}", text(path), escape(arguments)).trim_end().to_owned()
        }
        Edit::DeleteRecipient { path } => format!("delete-rcpt {}", text(path)),
        Edit::ChangeSender { path, arguments } => {
            format!("change-from {} {}", text(path), escape(arguments)).trim_end().to_owned()
        }
        Edit::ReplaceBody(body) => format!("replace-body {}", text(body)),
        Edit::AppendBody(body) => format!("append-body {}", text(body)),
        Edit::Quarantine { reason } => format!("quarantine {}", text(reason)),
    }
}
