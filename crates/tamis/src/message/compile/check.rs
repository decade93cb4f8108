//! Compares what the models of the MTAs make of a list of edits with the message that is wanted.

use std::fmt::{self, Write};

use bytes::Bytes;
use tamis_proto::Edit;
use tamis_proto::edit::model::{Body, Field, Message, Model, Path, Profile};

use super::header_edits::Generated;
use super::layout::Layout;
use super::target::SENDMAIL_TEMPLATES;
use super::{Mta, Wanted};
use crate::message::Header;

/// A value for the MTA's own fields that no field of a message can have.
const OWN: &[u8] = b"\0";

/// What an MTA would make of a list of edits, where it is not the wanted message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    profile: Profile,
    part: &'static str,
    wanted: String,
    made: String,
}

impl Mismatch {
    /// The MTA that would make it.
    pub fn profile(&self) -> Profile {
        self.profile
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { profile, part, wanted, made } = self;
        write!(
            f,
            "{profile:?} would make another {part} of the edits\n--- wanted\n{wanted}\n+++ made\n{made}"
        )
    }
}

impl std::error::Error for Mismatch {}

/// Applies edits to the models of all MTAs that they are for, and compares what comes out with the wanted message.
///
/// Fields that were not asked for in an exact place have to be where [`exactly`](crate::message::HeaderId::exactly)
/// says; a field that may fill one that Sendmail generated may be anywhere.
///
/// # Errors
///
/// [`Mismatch`], with what is wanted and what would be.
pub fn check(edits: &[Edit<Bytes>], wanted: &Wanted<'_>, mta: &Mta) -> Result<(), Mismatch> {
    for profile in mta.target.profiles() {
        Expected::new(wanted, mta, *profile).check(edits, &[])?;
    }
    if mta.target.profiles().contains(&Profile::Sendmail) {
        // Once more with all that it would have generated.
        Expected::new(wanted, mta, Profile::Sendmail).check(edits, &SENDMAIL_TEMPLATES)?;
    }
    Ok(())
}

struct Expected<'e> {
    wanted: &'e Wanted<'e>,
    mta: &'e Mta,
    profile: Profile,
}

impl<'e> Expected<'e> {
    fn new(wanted: &'e Wanted<'e>, mta: &'e Mta, profile: Profile) -> Self {
        Self { wanted, mta, profile }
    }

    fn check(&self, edits: &[Edit<Bytes>], generated: &[&str]) -> Result<(), Mismatch> {
        let mut model = self.model(generated);
        for edit in edits {
            if let Err(refused) = model.apply(edit) {
                return Err(self.mismatch("message", edit.name(), &refused.to_string()));
            }
        }
        let message = model.finish();
        self.check_headers(&message.headers)?;
        self.check_envelope(&message)?;
        if let Some(pieces) = &self.wanted.body {
            let body = delivered_body(pieces);
            if message.body != body {
                return Err(self.mismatch("body", &shown(&body.to_vec()), &shown(&message.body.to_vec())));
            }
        }
        Ok(())
    }

    /// The message as the MTA has it when the filter is asked, with its own fields on top.
    fn model(&self, generated: &[&str]) -> Model {
        let received = || self.wanted.headers.received();
        let missing = generated.iter().filter(|name| !received().any(|header| header.is(name)));
        let own: Vec<&str> = std::iter::once(&"Received").chain(missing).copied().collect();
        let mut headers: Vec<Field> = own.iter().map(|name| Field::new(name, OWN)).collect();
        headers.extend(received().map(|header| Field::new(header.name(), header.spaced_value())));
        let recipients = self.wanted.recipients.iter().map(Path::new).collect();
        let message = Message { headers, recipients, ..Message::default() };
        let model = Model::new(self.profile, message).own_fields(own.len());
        model.blank_defaults(SENDMAIL_TEMPLATES).leading_space(self.mta.leading_space)
    }

    fn check_headers(&self, made: &[Field]) -> Result<(), Mismatch> {
        let layout = Layout::new(self.wanted.headers, self.mta.target);
        let generated = Generated::new(self.wanted.headers, &layout, self.mta);
        let mut wanted: Vec<Field> = Vec::new();
        let mut anywhere: Vec<Field> = Vec::new();
        for (header, written) in layout.fields() {
            if generated.fill.contains(&header.id()) { &mut anywhere } else { &mut wanted }
                .push(self.field(header, written));
        }
        let mut rest: Vec<Field> = made.iter().filter(|field| field.value != OWN).cloned().collect();
        for field in anywhere {
            // It takes the name from the template that it fills.
            let same =
                |other: &Field| other.name.eq_ignore_ascii_case(&field.name) && other.value == field.value;
            match rest.iter().position(same) {
                Some(at) => _ = rest.remove(at),
                None => wanted.push(field),
            }
        }
        if rest == wanted { Ok(()) } else { Err(self.mismatch("header", &lines(&wanted), &lines(made))) }
    }

    /// A field as it is delivered. A line feed in a written one does not end it: white space is put after it.
    fn field(&self, header: Header<'_>, written: bool) -> Field {
        if !written {
            return Field::new(header.name(), header.spaced_value());
        }
        let pad = if self.profile == Profile::Postfix { b'\t' } else { b' ' };
        let value = header.spaced_value();
        let mut padded = Vec::with_capacity(value.len());
        for (at, byte) in value.iter().enumerate() {
            padded.push(*byte);
            if *byte == b'\n' && !matches!(value.get(at + 1), Some(b' ' | b'\t')) {
                padded.push(pad);
            }
        }
        Field::new(header.name(), padded)
    }

    fn check_envelope(&self, message: &Message) -> Result<(), Mismatch> {
        let Wanted { sender, removed, added, recipients, quarantine, .. } = self.wanted;
        let sender = sender.clone().unwrap_or_default();
        if message.sender.address != sender.address {
            let (wanted, made) = (shown(&sender.address), shown(&message.sender.address));
            return Err(self.mismatch("sender", &wanted, &made));
        }
        if message.quarantine.is_some() != quarantine.is_some() {
            let text = |reason: &Option<Bytes>| reason.as_ref().map_or(String::new(), |text| shown(text));
            return Err(self.mismatch("quarantine", &text(quarantine), &text(&message.quarantine)));
        }
        let gone = |path: &Path| removed.iter().any(|other| Path::new(other).address == path.address);
        let given = recipients.iter().map(Path::new).filter(|path| !gone(path));
        let mut wanted: Vec<Bytes> = given.chain(added.iter().cloned()).map(|path| path.address).collect();
        let mut made: Vec<Bytes> = message.recipients.iter().map(|path| path.address.clone()).collect();
        for list in [&mut wanted, &mut made] {
            // Postfix takes addresses that differ in case only for one.
            for address in list.iter_mut() {
                *address = address.to_ascii_lowercase().into();
            }
            list.sort();
            list.dedup();
        }
        if wanted == made {
            Ok(())
        } else {
            Err(self.mismatch("list of recipients", &all(&wanted), &all(&made)))
        }
    }

    fn mismatch(&self, part: &'static str, wanted: &str, made: &str) -> Mismatch {
        Mismatch { profile: self.profile, part, wanted: wanted.to_owned(), made: made.to_owned() }
    }
}

/// A body as it is delivered: with CRLF line ends, the last one included.
fn delivered_body(pieces: &[Bytes]) -> Body {
    let text = pieces.concat();
    let mut out = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\n").map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line));
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    out.into()
}

fn lines(fields: &[Field]) -> String {
    let mut text = String::new();
    for field in fields {
        let _ = writeln!(text, "{}:{}", field.name.escape_ascii(), field.value.escape_ascii());
    }
    text
}

fn all(addresses: &[Bytes]) -> String {
    addresses.iter().map(|address| shown(address)).collect::<Vec<_>>().join(" ")
}

fn shown(text: &[u8]) -> String {
    /// Enough to see what it is.
    const MOST: usize = 1000;
    text[..text.len().min(MOST)].escape_ascii().to_string()
}
