//! What must hold for any message.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::super::tree::Content;
use super::*;

/// Lines and parts of lines that messages are made of, the odd ones included.
const TOKENS: &[&str] = &[
    "--a",
    "--a--",
    "--ab",
    "--ab--",
    "--b",
    "--b--",
    "--c",
    "--c--",
    "--",
    "-",
    "---",
    "--a-",
    "\r\n",
    "\r\n",
    "\r\n",
    "\r\n",
    "\n",
    "\n",
    "\r",
    "\r\n\r\n",
    "\n\n",
    " ",
    "\t",
    "\0",
    ":",
    "x",
    "text",
    "=",
    "\u{e9}",
    "Content-Type: multipart/mixed; boundary=a\r\n",
    "Content-Type: multipart/mixed; boundary=b\r\n",
    "Content-Type: multipart/digest; boundary=c\r\n",
    "Content-Type: multipart/mixed; boundary=ab\n",
    "Content-Type: multipart/mixed; boundary=\"a--\"\n",
    "Content-Type: multipart/mixed\r\n",
    "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n",
    "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n",
    "Content-Type: message/rfc822\r\n\r\n",
    "Content-Type: message/rfc822\r\n",
    "Content-Type: text/plain; name=x.exe\r\n",
    "Content-Type:\r\n",
    "Content-Transfer-Encoding: base64\r\n",
    "Content-Transfer-Encoding: quoted-printable\r\n",
    "Content-Transfer-Encoding: 8bit\r\n",
    "MIME-Version: 1.0\r\n",
    "Subject: hi\r\n",
    " folded\r\n",
    "aGVsbG8=",
    // An encoded message of two parts, and one of one.
    "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n\
     Q29udGVudC1UeXBlOiBtdWx0aXBhcnQvbWl4ZWQ7IGJvdW5kYXJ5PWENCg0KLS1hDQoNCm9uZQ0KLS1hDQoNCnR3bw0KLS1hLS0NCg==\r\n",
    "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nX:=20y\r\n\r\nt=\r\next\r\n",
];

fn hostile() -> impl Strategy<Value = String> {
    vec(select(TOKENS), 0..40).prop_map(|tokens| tokens.concat())
}

/// A message of nested parts, as programs write it.
pub(super) fn ordinary() -> impl Strategy<Value = String> {
    let leaf = select(vec![
        "\r\nplain\r\n",
        "Content-Type: text/html\r\n\r\n<p>\r\n--\r\n</p>",
        "Content-Type: image/png; name=\"a.png\"\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n",
        "Content-Disposition: attachment; filename*=utf-8''%C3%A4.exe\r\n\r\n\u{e4}\r\n",
    ]);
    let part = leaf.prop_map(|text| (0, text.to_owned())).prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 1..4).prop_map(|parts| {
                let level = parts.iter().map(|(level, _)| level + 1).max().unwrap_or(0);
                let parts: Vec<_> =
                    parts.iter().map(|(_, part)| format!("--{level}=\r\n{part}\r\n")).collect();
                let parts = parts.concat();
                let head =
                    format!("Content-Type: multipart/mixed; boundary=\"{level}=\"\r\n\r\npreamble\r\n");
                (level, format!("{head}{parts}--{level}=--\r\nepilogue"))
            }),
            inner.prop_map(|(level, part)| {
                (level, format!("Content-Type: message/rfc822\r\n\r\nSubject: in it\r\n{part}"))
            }),
        ]
    });
    part.prop_map(|(_, part)| format!("From: a@example.com\r\n{part}"))
}

fn any_message() -> impl Strategy<Value = String> {
    prop_oneof![ordinary(), hostile()]
}

#[derive(Clone, Debug)]
enum Edit {
    Replace(Index, &'static str),
    Remove(Index),
    Before(Index, &'static str),
    After(Index, &'static str),
    Append(Index, &'static str),
    Set(Index, &'static str, &'static str),
    Add(Index, &'static str, &'static str),
    Unset(Index, &'static str),
}

const NEW: &[&str] = &[
    "\r\nnew",
    "",
    "Content-Type: text/plain\r\n\r\nnew\r\n",
    "X: y\r\n\r\n--a\r\n",
    "Content-Type: multipart/mixed; boundary=new\r\n\r\n--new\r\n\r\none\r\n--new\r\n\r\ntwo\r\n--new--\r\n",
    "Content-Type: message/rfc822\r\n\r\nSubject: new\r\n\r\nnew",
    "Content-Type: multipart/mixed; boundary=\"ab\"\r\n\r\n--ab\r\n\r\nopen",
];

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let at = any::<Index>;
    let new = || select(NEW);
    let name =
        || select(vec!["Subject", "Content-Type", "X", "--a", "Content-Transfer-Encoding", "MIME-Version"]);
    let value = || {
        select(vec![
            "hi",
            "text/plain",
            "multipart/mixed; boundary=a",
            "a\n b",
            "base64",
            "message/rfc822",
            "",
        ])
    };
    let edit = prop_oneof![
        (at(), new()).prop_map(|(at, new)| Edit::Replace(at, new)),
        at().prop_map(Edit::Remove),
        (at(), new()).prop_map(|(at, new)| Edit::Before(at, new)),
        (at(), new()).prop_map(|(at, new)| Edit::After(at, new)),
        (at(), new()).prop_map(|(at, new)| Edit::Append(at, new)),
        (at(), name(), value()).prop_map(|(at, name, value)| Edit::Set(at, name, value)),
        (at(), name(), value()).prop_map(|(at, name, value)| Edit::Add(at, name, value)),
        (at(), name()).prop_map(|(at, name)| Edit::Unset(at, name)),
    ];
    vec(edit, 1..6)
}

impl Edit {
    fn apply(&self, mime: &mut Mime) -> Result<(), MimeError> {
        let parts: Vec<_> = mime.parts().map(Part::id).collect();
        let pick = |at: &Index| parts[at.index(parts.len())];
        match self {
            Self::Replace(at, new) => mime.replace(pick(at), NewPart::raw(*new)).map(drop),
            Self::Remove(at) => mime.remove(pick(at)),
            Self::Before(at, new) => mime.insert_before(pick(at), NewPart::raw(*new)).map(drop),
            Self::After(at, new) => mime.insert_after(pick(at), NewPart::raw(*new)).map(drop),
            Self::Append(at, new) => mime.append_to(pick(at), NewPart::raw(*new)).map(drop),
            Self::Set(at, name, value) => mime.set_header(pick(at), name, value),
            Self::Add(at, name, value) => mime.add_header(pick(at), name, value),
            Self::Unset(at, name) => mime.remove_header(pick(at), name).map(drop),
        }
    }
}

/// Pretends that everything was edited, so that everything is written piece by piece. Encoded messages are not: they
/// would be encoded anew, which may look different.
fn pretend_edited(mime: &mut Mime) {
    for node in &mut mime.tree.nodes {
        node.body_modified = match &node.content {
            Content::Message(nested) => nested.encoding == super::super::transfer::Encoding::Identity,
            _ => true,
        };
    }
}

type Pair = (Vec<u8>, Vec<u8>);

/// Splits a message into the header that a filter is told and the body.
fn apart(message: &[u8]) -> Option<(Vec<Pair>, Bytes)> {
    let mime = Mime::parse(message.to_vec()).ok()?;
    let fields: Vec<_> =
        mime.root().headers().map(|field| (field.name().to_vec(), field.raw().to_vec())).collect();
    fields.iter().all(|(name, _)| !name.is_empty()).then(|| (fields, mime.root().body_raw()))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_message_nobody_edits_stays_as_it_is(message in vec(any::<u8>(), 0..300)) {
        let mut mime = Mime::parse(message.clone()).unwrap();
        prop_assert!(!mime.is_modified());
        prop_assert_eq!(mime.to_bytes(), &message);
        pretend_edited(&mut mime);
        prop_assert_eq!(mime.to_bytes(), message);
    }

    #[test]
    fn written_piece_by_piece_a_message_is_what_was_read(message in any_message()) {
        let mut mime = Mime::parse(message.clone()).unwrap();
        pretend_edited(&mut mime);
        let pieces = mime.pieces();
        prop_assert_eq!(pieces.concat(), message.as_bytes());
        prop_assert!(pieces.len() <= 1, "neighbours are one slice");
    }

    #[test]
    fn a_part_reads_alone_as_in_its_message(message in ordinary()) {
        for part in Mime::parse(message).unwrap().parts() {
            prop_assert_eq!(shape(&Mime::parse(part.raw()).unwrap()).len(), part.with_descendants().count());
        }
    }

    #[test]
    fn a_body_apart_from_its_header_is_read_as_with_it(message in any_message()) {
        let Some((header, body)) = apart(message.as_bytes()) else { return Ok(()) };
        let whole = Mime::parse(message).unwrap();
        if whole.root().defects().any(|defect| defect == Defect::NoBlankLine) {
            return Ok(());
        }
        let mut mime = Mime::of_body(header, body.clone()).unwrap();
        prop_assert_eq!(shape(&mime), shape(&whole));
        pretend_edited(&mut mime);
        prop_assert_eq!(mime.to_bytes(), body);
    }

    #[test]
    fn what_is_not_edited_stays_and_the_rest_is_read_as_wanted(message in any_message(), edits in edits()) {
        let mut mime = Mime::parse(message).unwrap();
        for edit in &edits {
            let before = shape(&mime);
            let untouched: Vec<_> = mime.parts().map(|part| (part.id(), part.raw())).collect();
            if let Err(error) = edit.apply(&mut mime) {
                prop_assert_eq!(shape(&mime), before, "a refused edit: {}", error);
                continue;
            }
            let out = mime.to_bytes();
            let again = Mime::parse(out.clone()).unwrap();
            prop_assert_eq!(shape(&again), shape(&mime), "after {:?}:\n{}", edit, out.escape_ascii());
            for (part, written) in mime.parts().zip(again.parts()).filter(|(part, _)| !part.is_modified()) {
                // A header without an end may get another line end.
                if part.with_descendants().all(|part| part.defects().all(|defect| defect != Defect::NoBlankLine)) {
                    prop_assert_eq!(written.raw(), part.raw(), "after {:?}:\n{}", edit, out.escape_ascii());
                }
            }
            for (id, raw) in untouched {
                if let Some(part) = mime.part(id).filter(|part| !part.is_modified()) {
                    prop_assert_eq!(part.raw(), raw);
                }
            }
        }
    }

    #[test]
    fn changes_of_header_and_body_make_the_same_message(message in any_message(), edits in edits()) {
        let Some((header, body)) = apart(message.as_bytes()) else { return Ok(()) };
        let mut mime = Mime::of_body(header.clone(), body.clone()).unwrap();
        for edit in &edits {
            let _ = edit.apply(&mut mime);
        }
        let changes = mime.changes();
        let new_body = changes.body.map_or(body, |pieces| pieces.concat().into());
        prop_assert_eq!(mime.to_bytes(), new_body);
        // From the last to the first, as positions are those before all changes.
        let (old, new): (Vec<_>, Vec<_>) = changes.header.into_iter().partition(|change| change.old.is_some());
        let mut fields = header;
        for change in old.iter().rev() {
            let is_named = |(_, (name, _)): &(usize, &Pair)| name.eq_ignore_ascii_case(&change.name);
            let found = fields.iter().enumerate().filter(is_named).nth(change.occurrence - 1);
            let (at, (_, value)) = found.expect("the field is there");
            prop_assert_eq!(value.trim_ascii_start(), change.old.as_ref().expect("it was there"));
            match &change.new {
                Some(value) => fields[at].1 = value.to_vec(),
                None => drop(fields.remove(at)),
            }
        }
        fields.extend(new.into_iter().map(|change| (change.name.to_vec(), change.new.expect("it is new").to_vec())));
        let now: Vec<_> =
            mime.root().headers().map(|field| (field.name().to_vec(), field.raw().trim_ascii_start().to_vec())).collect();
        let fields: Vec<_> =
            fields.into_iter().map(|(name, value)| (name, value.trim_ascii_start().to_vec())).collect();
        prop_assert_eq!(fields, now);
    }
}
