//! Writes the first inputs of every target into the folder that is its argument, a folder for each; they are made
//! of the captured sessions, the malformed fixtures and the messages beside the tests. `cargo xtask fuzz-seeds` runs it.

#[path = "../../crates/proto/tests/common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::{fs, io};

use common::fixture::{Fixture, Role, Session, Side, Step, What};
use tamis_fuzz::input::EDITS;
use tamis_fuzz::wire;
use tamis_proto::command::Kind;
use tamis_proto::{Edit, Frame, Reply};

/// Longer ones would only slow the targets down.
const MOST: usize = 4096;

/// What the target `lists` begins with: which kind, and the text.
const LISTS: [(u8, &str); 14] = [
    (0, "# ours\n192.0.2.0/24\n2001:db8::/32 # v6\n10.0.0.1-10.0.0.9\n[IPv6:::ffff:192.0.2.1]\n"),
    (0, "192.0.2.1/24\n\n::/0\n"),
    (1, "example.com\n.example.org\n*.example.net\nb\u{fc}cher.example\n[192.0.2.1]\n"),
    (1, "mail*.example.com\n/^mx[0-9]+\\./\na..b\n"),
    (2, "joe@example.com\n\"a b\"@example.com\n<>\njoe@\n@example.com\n.example.com\n"),
    (2, "bounce-*@example.com\n/^[0-9]+@/\ntwo words\n"),
    (3, "joe\nweb-*\n/^[a-z]{3}$/\n"),
    (3, "/(/\n/a/\n"),
    (4, "mx.example.com; spf=pass"),
    (4, "(a (b) \\)) \"mx.\\example\" (c)\n\t1 ; none"),
    (4, "spf=pass smtp.mailfrom=example.com"),
    (4, "\n mx.b\u{fc}cher.example 2"),
    (5, "0123456789abcdefhost-48-49-50-51.dsl.isp.example"),
    (5, "0123456789abcdefmail.example.com"),
];

/// One conversation, whatever file it comes from.
struct Talk {
    name: String,
    steps: Vec<Step>,
    /// What the filter agrees to.
    actions: u32,
    bits: u32,
    for_filter: bool,
    for_mta: bool,
}

fn main() -> io::Result<()> {
    let folder = std::env::args_os().nth(1).ok_or_else(|| io::Error::other("the folder is missing"))?;
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/proto/tests");
    let mut talks = Vec::new();
    for (name, text) in read(&tests.join("sessions"), "session")? {
        let Session { name, needs, steps, .. } = Session::parse(&name, &text).map_err(io::Error::other)?;
        let (actions, bits) = (needs.actions, needs.steps);
        talks.push(Talk { name, steps, actions, bits, for_filter: true, for_mta: true });
    }
    for (name, text) in read(&tests.join("malformed"), "fixture")? {
        let fixture = Fixture::parse(&name, &text).map_err(io::Error::other)?;
        let mut steps = fixture.prefix();
        steps.extend(fixture.steps);
        let filter = fixture.role == Role::Filter;
        let (actions, bits) = (fixture.agreed.actions, fixture.agreed.steps);
        talks.push(Talk { name: fixture.name, steps, actions, bits, for_filter: filter, for_mta: !filter });
    }
    let mut seeds = Seeds { folder: folder.into(), written: 0, left_out: 0 };
    for talk in &talks {
        let (sent, answered) = (talk.bytes(Side::Mta), talk.bytes(Side::Filter));
        if talk.for_filter {
            // Without limits, with some that a usual message reaches, and with each of them at its smallest.
            seeds.write("filter_session", &talk.name, &talk.filter_session(&[0], &sent))?;
            let fixed = talk.filter_session(&[4], &sent);
            seeds.write("filter_session", &format!("{}-limits", talk.name), &fixed)?;
            for small in 1..8 {
                let mut limits = [0x10, 7, 255, 7, 255, 7, 255, 255];
                limits[small] = 1;
                let own = talk.filter_session(&limits, &sent);
                seeds.write("filter_session", &format!("{}-limit-{small}", talk.name), &own)?;
            }
            seeds.write("interleave", &talk.name, &talk.interleave())?;
        }
        if talk.for_mta {
            seeds.write("mta_session", &talk.name, &talk.mta_session(&answered))?;
        }
        seeds.write("codec", &talk.name, &[&sent[..], &answered].concat())?;
        if let Some(model) = talk.edit_model() {
            seeds.write("edit_model", &talk.name, &model)?;
        }
    }
    for (number, (choice, text)) in LISTS.iter().enumerate() {
        seeds.write("lists", &format!("{choice}-{number}"), &[&[*choice][..], text.as_bytes()].concat())?;
    }
    for (name, text) in read(&folder_of_mail(), "eml")? {
        // Nothing is edited; parts are removed and replaced; parts are inserted; headers are edited.
        for (number, edits) in
            [&[][..], &[0, 2, 0], &[2, 1, 2, 2], &[3, 0, 4, 1], &[6, 2, 7, 1]].iter().enumerate()
        {
            let message = mail(edits, &text, number % 2 == 0);
            seeds.write("mime", &format!("{name}-{number}"), &message)?;
        }
    }
    println!("{} seeds written, {} are longer than {MOST} bytes and left out", seeds.written, seeds.left_out);
    Ok(())
}

fn folder_of_mail() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/tamis/tests/mail")
}

/// A message with edits before it, as the target `mime` reads it: each edit is of the part after that of the last.
fn mail(edits: &[u8], text: &str, crlf: bool) -> Vec<u8> {
    let count = u8::try_from(edits.len()).expect("a few edits");
    let edits = (1..).zip(edits).flat_map(|(at, kind)| [*kind, 0, at]);
    let text = if crlf { text.replace('\n', "\r\n") } else { text.to_owned() };
    [&[count][..], &edits.collect::<Vec<_>>(), text.as_bytes()].concat()
}

fn read(folder: &Path, extension: &str) -> io::Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.push((name, fs::read_to_string(&path)?));
        }
    }
    files.sort();
    Ok(files)
}

struct Seeds {
    folder: PathBuf,
    written: usize,
    left_out: usize,
}

impl Seeds {
    fn write(&mut self, target: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() > MOST {
            self.left_out += 1;
            return Ok(());
        }
        let folder = self.folder.join(target);
        fs::create_dir_all(&folder)?;
        self.written += 1;
        fs::write(folder.join(name), bytes)
    }
}

impl Talk {
    /// Everything that one side sends.
    fn bytes(&self, side: Side) -> Vec<u8> {
        let bytes = self.steps.iter().filter_map(|step| match &step.what {
            What::Bytes { from, bytes } if *from == side => Some(&bytes[..]),
            _ => None,
        });
        bytes.collect::<Vec<_>>().concat()
    }

    /// As [`tamis_fuzz::Input::needs`] reads them.
    fn needs(&self) -> Vec<u8> {
        [&[0][..], &self.bits.to_be_bytes(), &self.actions.to_be_bytes()[2..]].concat()
    }

    fn filter_session(&self, flags: &[u8], sent: &[u8]) -> Vec<u8> {
        // Continue, with an edit and progress before it wherever that is possible.
        let answers = [0x36; 8];
        [flags, &self.needs(), &answers, &[0x12, 0x34, 0x56, 0x78], sent].concat()
    }

    fn mta_session(&self, answered: &[u8]) -> Vec<u8> {
        let mut steps = Vec::new();
        for step in &self.steps {
            let What::Bytes { from: Side::Mta, bytes } = &step.what else { continue };
            let kind = bytes.get(4).and_then(|code| Kind::ALL.iter().position(|kind| kind.code() == *code));
            let Some(kind) = kind.filter(|kind| !matches!(Kind::ALL[*kind], Kind::Negotiate | Kind::Macros))
            else {
                continue;
            };
            steps.push(u8::try_from(kind).expect("fifteen commands"));
        }
        steps.truncate(255);
        let count = u8::try_from(steps.len()).expect("cut to 255");
        [&[0, 0, 0x12, 0x34, 0x56, 0x78, count][..], &steps, answered].concat()
    }

    fn interleave(&self) -> Vec<u8> {
        let mut out = vec![0];
        let mut negotiated = false;
        for step in &self.steps {
            let What::Bytes { from, bytes } = &step.what else { continue };
            match from {
                Side::Mta => {
                    for piece in bytes.chunks(255) {
                        out.push(1);
                        text(&mut out, piece);
                    }
                    out.push(3);
                    if !negotiated && bytes.get(4) == Some(&b'O') {
                        out.push(8);
                        out.extend(self.needs());
                        negotiated = true;
                    }
                }
                Side::Filter => {
                    for reply in replies(bytes) {
                        match reply {
                            Reply::Edit(edit) => {
                                out.push(5);
                                put_edit(&mut out, &edit);
                            }
                            Reply::Progress => out.push(6),
                            Reply::Negotiate(_) => {}
                            reply => {
                                let place = b"cardts".iter().position(|code| *code == reply.code());
                                let verdict = [0, 1, 2, 4, 3, 5];
                                out.extend([4, place.map_or(6, |place| verdict[place])]);
                                if place.is_none() {
                                    text(&mut out, b"no");
                                }
                            }
                        }
                    }
                }
            }
        }
        out
    }

    /// The message and the edits of a conversation, if it has edits.
    fn edit_model(&self) -> Option<Vec<u8>> {
        let (mut message, mut body, mut edits) = (Vec::new(), Vec::new(), Vec::new());
        for step in &self.steps {
            let What::Bytes { from, bytes } = &step.what else { continue };
            match (from, bytes.get(4), bytes.get(5..)) {
                (Side::Mta, Some(b'L'), Some(payload)) => {
                    let mut strings = payload.split(|byte| *byte == 0);
                    for part in [strings.next()?, b": ", strings.next()?, b"\r\n"] {
                        message.extend_from_slice(part);
                    }
                }
                (Side::Mta, Some(b'B'), Some(payload)) => body.extend_from_slice(payload),
                (Side::Filter, ..) => {
                    for reply in replies(bytes) {
                        if let Reply::Edit(edit) = reply {
                            edits.push(2);
                            put_edit(&mut edits, &edit);
                        }
                    }
                }
                _ => {}
            }
        }
        let message = [&message[..], b"\r\n", &body].concat();
        let length = u16::try_from(message.len()).ok()?.to_be_bytes();
        (!edits.is_empty()).then(|| [&[0x10][..], &length, &message, &edits].concat())
    }
}

/// The replies of well-formed frames.
fn replies(bytes: &[u8]) -> Vec<Reply<&[u8]>> {
    let mut replies = Vec::new();
    let mut rest = bytes;
    while let Ok(Some((used, frame))) = Frame::parse(rest, 1 << 20) {
        replies.extend(Reply::decode(frame));
        rest = &rest[used..];
    }
    replies
}

/// As [`tamis_fuzz::Input::edit`] reads it.
fn put_edit(out: &mut Vec<u8>, edit: &Edit<&[u8]>) {
    let mut bytes = Vec::new();
    edit.encode(&mut bytes);
    let (code, _) = wire::frames(&bytes)[0];
    let place = EDITS.iter().position(|known| *known == code).expect("every edit has its place");
    out.push(u8::try_from(place).expect("nine edits"));
    match *edit {
        Edit::AddHeader { name, value } => {
            text(out, name);
            text(out, value);
        }
        Edit::InsertHeader { index, name, value } | Edit::ChangeHeader { index, name, value } => {
            out.extend(index.to_be_bytes());
            text(out, name);
            text(out, value);
        }
        Edit::ChangeSender { address, args } | Edit::AddRecipientWithArgs { address, args } => {
            text(out, address);
            text(out, args.unwrap_or_default());
        }
        Edit::AddRecipient { address } | Edit::DeleteRecipient { address } => text(out, address),
        Edit::ReplaceBody(part) | Edit::Quarantine { reason: part } => text(out, part),
    }
}

fn text(out: &mut Vec<u8>, text: &[u8]) {
    let text = &text[..text.len().min(255)];
    out.push(u8::try_from(text.len()).expect("cut to 255"));
    out.extend_from_slice(text);
}
