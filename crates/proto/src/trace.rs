//! Decoded frames for people: one line each, flags and macro lists by name, text escaped.

use std::fmt;

use crate::command::{Client, Command, Kind};
use crate::edit::Edit;
use crate::error::Role;
use crate::frame::Frame;
use crate::negotiate::{Answer, MacroLists, MacroStage};
use crate::reply::{self, Reply, SmtpReply};
use crate::rules::Rules;

/// Longest text that is shown of any one string.
const SHOWN: usize = 200;

/// A frame from the MTA, written out.
///
/// ```
/// use tamis_proto::{Frame, trace};
///
/// let frame = Frame { code: b'H', payload: b"mail\x1b.example\0" };
/// assert_eq!(trace::FromMta(frame).to_string(), r#"helo "mail\x1b.example""#);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct FromMta<'b>(pub Frame<'b>);

/// A frame from a filter, written out.
#[derive(Clone, Copy, Debug)]
pub struct FromFilter<'b>(pub Frame<'b>);

/// Bytes as text in quotes: control characters and what is not UTF-8 escaped, long text cut.
#[derive(Clone, Copy, Debug)]
pub struct Text<'b>(pub &'b [u8]);

/// The name of a frame's letter; none if there is no such frame.
pub fn name(from: Role, code: u8) -> Option<&'static str> {
    match from {
        Role::Mta => Kind::from_code(code).map(Kind::name),
        Role::Filter => reply::name_of_code(code),
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(SHOWN)];
        f.write_str("\"")?;
        for chunk in shown.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '"' | '\\' => write!(f, "\\{c}")?,
                    '\r' => f.write_str("\\r")?,
                    '\n' => f.write_str("\\n")?,
                    '\t' => f.write_str("\\t")?,
                    c if c.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(c))?,
                    // Controls and marks beyond ASCII could still change what a terminal shows.
                    c if c.is_control() || is_direction_mark(c) => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                    c => write!(f, "{c}")?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        f.write_str("\"")?;
        if self.0.len() > SHOWN { write!(f, "… ({} bytes)", self.0.len()) } else { Ok(()) }
    }
}

fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl fmt::Display for FromMta<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = match Command::decode(self.0, Rules::tamis()) {
            Ok(command) => command,
            Err(fault) => return undecoded(f, self.0, fault),
        };
        f.write_str(command.kind().name())?;
        match command {
            Command::Negotiate(offer) => {
                write!(f, " version={} actions={} steps={}", offer.version, offer.actions, offer.steps)
            }
            Command::Connect(connect) => match connect.client() {
                Client::Inet(client) => write!(f, " {} {client}", Text(connect.host)),
                Client::Unix(path) => write!(f, " {} unix:{}", Text(connect.host), Text(path)),
                Client::Unknown => write!(f, " {} unknown", Text(connect.host)),
            },
            Command::Helo(text) | Command::Unknown(text) => write!(f, " {}", Text(text)),
            Command::Mail(path) | Command::Rcpt(path) => {
                write!(f, " {}", Text(path.address))?;
                path.args().try_for_each(|arg| write!(f, " {}", Text(arg)))
            }
            Command::Header(header) => write!(f, " {} {}", Text(header.name), Text(header.value)),
            Command::Body(bytes) | Command::EndOfMessage(bytes) if !bytes.is_empty() => {
                write!(f, " ({} bytes)", bytes.len())
            }
            Command::Macros(macros) => {
                match macros.command() {
                    Some(kind) => write!(f, " for {kind}")?,
                    None => write!(f, " for {:?}", char::from(macros.code))?,
                }
                macros.pairs().try_for_each(|(name, value)| {
                    write!(f, " {}={}", String::from_utf8_lossy(name).escape_debug(), Text(value))
                })
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for FromFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reply = match Reply::decode(self.0) {
            Ok(reply) => reply,
            Err(fault) => return undecoded(f, self.0, fault),
        };
        f.write_str(reply.name())?;
        match reply {
            Reply::Negotiate(answer) => self::answer(f, &answer),
            Reply::Custom(text) => match SmtpReply::parse(text) {
                Ok(reply) => write!(f, " {}", Text(reply.to_string().as_bytes())),
                Err(_) => write!(f, " {}", Text(text)),
            },
            Reply::Edit(edit) => self::edit(f, &edit),
            _ => Ok(()),
        }
    }
}

fn answer(f: &mut fmt::Formatter<'_>, answer: &Answer<&[u8]>) -> fmt::Result {
    write!(f, " version={} actions={} steps={}", answer.version, answer.actions, answer.steps)?;
    let Ok((lists, _)) = MacroLists::decode(answer.macros, crate::Limits::new().macros) else {
        return write!(f, " macros={}", Text(answer.macros));
    };
    for stage in MacroStage::ALL {
        if let Some(names) = lists.get(stage) {
            write!(f, " macros-{}={}", stage.stage(), Text(names.join(" ").as_bytes()))?;
        }
    }
    Ok(())
}

fn edit(f: &mut fmt::Formatter<'_>, edit: &Edit<&[u8]>) -> fmt::Result {
    match *edit {
        Edit::AddHeader { name, value } => write!(f, " {} {}", Text(name), Text(value)),
        Edit::InsertHeader { index, name, value } | Edit::ChangeHeader { index, name, value } => {
            write!(f, " {index} {} {}", Text(name), Text(value))
        }
        Edit::ChangeSender { address, args } | Edit::AddRecipientWithArgs { address, args } => {
            write!(f, " {}", Text(address))?;
            args.map_or(Ok(()), |args| write!(f, " {}", Text(args)))
        }
        Edit::AddRecipient { address } | Edit::DeleteRecipient { address } => write!(f, " {}", Text(address)),
        Edit::ReplaceBody(bytes) => write!(f, " ({} bytes)", bytes.len()),
        Edit::Quarantine { reason } => write!(f, " {}", Text(reason)),
    }
}

fn undecoded(f: &mut fmt::Formatter<'_>, frame: Frame<'_>, fault: crate::Fault) -> fmt::Result {
    write!(f, "{:?} {} [{fault}]", char::from(frame.code), Text(frame.payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_macro_lists_are_named() {
        let offer = FromMta(Frame { code: b'O', payload: &[0, 0, 0, 6, 0, 0, 0, 1, 0, 0, 0, 3] });
        assert_eq!(offer.to_string(), "negotiate version=6 actions=add-headers steps=no-connect|no-helo");
        let payload = b"\0\0\0\x06\0\0\0\x01\0\0\0\0\0\0\0\x02i {mail_addr}\0";
        let answer = FromFilter(Frame { code: b'O', payload });
        assert_eq!(
            answer.to_string(),
            "negotiate version=6 actions=add-headers steps=none macros-mail=\"i {mail_addr}\""
        );
    }

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        let frame = Frame { code: b'H', payload: b"a\x1b[2J\r\n\xff\xc2\x9b\xe2\x80\xae\"\0" };
        let text = FromMta(frame).to_string();
        assert_eq!(text, r#"helo "a\x1b[2J\r\n\xff\u{9b}\u{202e}\"""#);
    }

    #[test]
    fn frames_that_cannot_be_decoded_are_shown_all_the_same() {
        let frame = Frame { code: 0x07, payload: b"x" };
        assert_eq!(FromMta(frame).to_string(), r#"'\u{7}' "x" [no such code]"#);
        let long = vec![b'x'; 300];
        assert!(FromMta(Frame { code: b'U', payload: &long }).to_string().contains("… (300 bytes)"));
    }
}
