//! What the SMTP client does, cut at the ends of its messages.

use bytes::Bytes;
use tamis_proto::edit::model::Path;

/// A part of a session: at most one message, and what is said before it.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    pub(super) acts: Vec<Act>,
    pub(super) sender: Option<Path>,
    pub(super) recipients: Vec<Path>,
    /// The message's text; without it the client gives up before.
    pub(super) content: Option<Content>,
    pub(super) over: bool,
}

/// One thing that the client does or that changes for it.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Connect,
    Helo(Bytes),
    From,
    /// The recipient of this number.
    To(usize),
    Unknown(Bytes),
    Macro(String, Bytes),
    Data,
    Content,
}

/// Where a message's text comes from.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Bytes(Bytes),
    File(std::path::PathBuf),
}

/// A session in the making.
#[derive(Clone, Debug, Default)]
pub(super) struct Script(Vec<Part>);

/// Who writes, and to whom, if a test does not say.
const SENDER: &str = "sender@example.net";
const RECIPIENT: &str = "recipient@example.org";

impl Script {
    pub(super) fn parts(&self) -> &[Part] {
        &self.0
    }

    /// Whether the client has begun, with HELO or without.
    pub(super) fn has_begun(&self) -> bool {
        let begins = |act: &Act| matches!(act, Act::Helo(_) | Act::From);
        self.0.iter().any(|part| part.acts.iter().any(begins))
    }

    pub(super) fn act(&mut self, act: Act) {
        self.part().acts.push(act);
    }

    /// HELO ends a message that is open.
    pub(super) fn helo(&mut self, name: Bytes) {
        let part = self.part();
        part.acts.push(Act::Helo(name));
        part.over = part.sender.is_some();
    }

    pub(super) fn from(&mut self, sender: Path) {
        if self.part().sender.is_some() {
            self.reset();
        }
        let part = self.part();
        part.sender = Some(sender);
        part.acts.push(Act::From);
    }

    pub(super) fn to(&mut self, recipient: Path) {
        if self.part().sender.is_none() {
            self.from(Path::new(SENDER));
        }
        let part = self.part();
        part.acts.push(Act::To(part.recipients.len()));
        part.recipients.push(recipient);
    }

    pub(super) fn content(&mut self, content: Content) {
        let part = self.part_with_recipient();
        part.content = Some(content);
        part.acts.push(Act::Content);
        part.over = true;
    }

    pub(super) fn data(&mut self) {
        let part = self.part_with_recipient();
        part.acts.push(Act::Data);
        part.over = true;
    }

    pub(super) fn reset(&mut self) {
        if let Some(part) = self.0.last_mut() {
            part.over = true;
        }
    }

    /// Puts the client's coming before everything but macros, and this HELO if there is none before the first message.
    pub(super) fn greet(&mut self, helo: Option<Bytes>) {
        if self.0.is_empty() {
            self.part();
        }
        let acts = &mut self.0[0].acts;
        let greets =
            acts.iter().take_while(|act| !matches!(act, Act::From)).any(|act| matches!(act, Act::Helo(_)));
        let helo = helo.filter(|_| !greets).map(Act::Helo);
        let begin = acts.iter().take_while(|act| matches!(act, Act::Macro(..))).count();
        acts.splice(begin..begin, std::iter::once(Act::Connect).chain(helo));
    }

    fn part_with_recipient(&mut self) -> &mut Part {
        if self.part().recipients.is_empty() {
            self.to(Path::new(RECIPIENT));
        }
        self.part()
    }

    /// The part that goes on.
    fn part(&mut self) -> &mut Part {
        if self.0.last().is_none_or(|part| part.over) {
            self.0.push(Part::default());
        }
        self.0.last_mut().expect("one was pushed if there was none")
    }
}

/// Reads `<address> PARAMETER …`; without angle brackets all of it is the address.
pub(super) fn path(text: &[u8]) -> Path {
    let text = text.trim_ascii();
    let Some(end) = end_of_path(text) else { return Path::new(text) };
    let args = text[end..].split(u8::is_ascii_whitespace).filter(|arg| !arg.is_empty());
    Path::with_args(&text[..end], args)
}

/// Where the closing bracket is that belongs to the first one; there may be others between quotes.
fn end_of_path(text: &[u8]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    if !text.starts_with(b"<") {
        return None;
    }
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_their_parameters() {
        let args = |text: &str| {
            let path = path(text.as_bytes());
            let mut all = vec![String::from_utf8(path.address.to_vec()).unwrap()];
            all.extend(path.args.iter().map(|arg| String::from_utf8(arg.to_vec()).unwrap()));
            all
        };
        assert_eq!(args("a@b"), ["a@b"]);
        assert_eq!(args("<a@b>"), ["a@b"]);
        assert_eq!(args("<>"), [""]);
        assert_eq!(args(" <a@b>  SIZE=1 BODY=8BITMIME "), ["a@b", "SIZE=1", "BODY=8BITMIME"]);
        assert_eq!(args(r#"<"a> \"b"@c> SIZE=1"#), [r#""a> \"b"@c"#, "SIZE=1"]);
        assert_eq!(args(r#"<"a> b@c"#), [r#"<"a> b@c"#]);
    }

    #[test]
    fn what_is_left_out_is_made_up() {
        let mut script = Script::default();
        script.content(Content::Bytes(Bytes::new()));
        script.from(Path::new("a@b"));
        script.from(Path::new("c@d"));
        script.helo(Bytes::new());
        script.to(Path::new("e@f"));
        let senders: Vec<_> =
            script.parts().iter().map(|part| &part.sender.as_ref().unwrap().address[..]).collect();
        assert_eq!(senders, [SENDER.as_bytes(), b"a@b", b"c@d", SENDER.as_bytes()]);
        let recipients: Vec<_> = script.parts().iter().map(|part| part.recipients.len()).collect();
        assert_eq!(recipients, [1, 0, 0, 1]);
    }
}
