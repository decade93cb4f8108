//! Custom SMTP replies (`y`, spec §3.4).

use std::fmt;

/// An SMTP reply of a filter's own: a code, an enhanced status code, one line of text or several.
///
/// Text is as the SMTP client will see it; percent signs are doubled on the wire and undone there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpReply {
    code: u16,
    /// As `5.7.1`; empty if there is none.
    enhanced: String,
    /// At least one.
    lines: Vec<Vec<u8>>,
}

/// Why something is not an SMTP reply.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadSmtpReply {
    /// The code is not from 400 to 599.
    Code(u16),
    /// The enhanced status code is not of the form `D.ddd.ddd`.
    Enhanced(String),
    /// The enhanced status code is of another class than the code.
    Class {
        /// The reply code.
        code: u16,
        /// The enhanced status code.
        enhanced: String,
    },
    /// More than 32 lines, or none.
    Lines(usize),
    /// A line of more than 980 bytes.
    LineTooLong {
        /// Which line, from 1.
        line: usize,
        /// Its length.
        length: usize,
    },
    /// A control character; CR and LF would let text be taken for replies.
    Control {
        /// Which line, from 1.
        line: usize,
        /// The byte.
        byte: u8,
    },
    /// The bytes do not have the form of a reply.
    Syntax,
}

impl fmt::Display for BadSmtpReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "reply code {code} is not from 400 to 599"),
            Self::Enhanced(text) => write!(f, "enhanced status code {text:?} is not of the form 5.7.1"),
            Self::Class { code, enhanced } => {
                write!(f, "enhanced status code {enhanced} does not go with reply code {code}")
            }
            Self::Lines(count) => write!(f, "reply of {count} lines, it must have from 1 to {MAX_LINES}"),
            Self::LineTooLong { line, length } => {
                write!(f, "line {line} of the reply has {length} bytes, at most {MAX_LINE} can be sent")
            }
            Self::Control { line, byte } => {
                write!(f, "line {line} of the reply has the control character {byte:#04x}")
            }
            Self::Syntax => f.write_str("not of the form of an SMTP reply"),
        }
    }
}

impl std::error::Error for BadSmtpReply {}

/// libmilter's bound on lines (`MAXREPLIES`).
const MAX_LINES: usize = 32;
/// libmilter's bound on a line (`MAXREPLYLEN`). RFC 5321 §4.5.3.1.5 wants 512 with code and CRLF.
const MAX_LINE: usize = 980;

impl SmtpReply {
    /// A reply of one line, such as `550 5.7.1 not here`. An empty `enhanced` leaves that out, unless the text begins
    /// with one.
    ///
    /// # Errors
    ///
    /// Unless code and enhanced status code are of class 4 or 5 and agree, and the text is a line of at most
    /// 980 bytes without control characters.
    #[doc(alias = "smfi_setreply")]
    pub fn new(code: u16, enhanced: &str, text: impl AsRef<[u8]>) -> Result<Self, BadSmtpReply> {
        Self::multiline(code, enhanced, [text])
    }

    /// A reply of up to 32 lines.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    #[doc(alias = "smfi_setmlreply")]
    pub fn multiline<T: AsRef<[u8]>>(
        code: u16,
        enhanced: &str,
        lines: impl IntoIterator<Item = T>,
    ) -> Result<Self, BadSmtpReply> {
        if !(400..600).contains(&code) {
            return Err(BadSmtpReply::Code(code));
        }
        if !enhanced.is_empty() {
            check_enhanced(code, enhanced)?;
        }
        let mut lines: Vec<Vec<u8>> = lines.into_iter().map(|line| line.as_ref().to_vec()).collect();
        if lines.is_empty() || lines.len() > MAX_LINES {
            return Err(BadSmtpReply::Lines(lines.len()));
        }
        let mut enhanced = enhanced.to_owned();
        if enhanced.is_empty() {
            enhanced = take_enhanced(code, &mut lines)?;
        }
        for (number, line) in lines.iter().enumerate() {
            if line.len() > MAX_LINE {
                return Err(BadSmtpReply::LineTooLong { line: number + 1, length: line.len() });
            }
            if let Some(byte) = line.iter().copied().find(|byte| is_control(*byte)) {
                return Err(BadSmtpReply::Control { line: number + 1, byte });
            }
        }
        Ok(Self { code, enhanced, lines })
    }

    /// Mends what can be mended instead of failing; `code` is one that exists.
    pub(crate) fn lenient(code: u16, enhanced: &str, text: &str) -> Self {
        let enhanced = match check_enhanced(code, enhanced) {
            Ok(()) => enhanced.to_owned(),
            Err(_) => format!("{}.7.1", code / 100),
        };
        let clean = |line: &str| {
            let mut line: Vec<u8> = line.bytes().map(|b| if is_control(b) { b' ' } else { b }).collect();
            line.truncate(MAX_LINE);
            line
        };
        let mut lines: Vec<Vec<u8>> = text.lines().take(MAX_LINES).map(clean).collect();
        if lines.is_empty() {
            lines.push(Vec::new());
        }
        Self { code, enhanced, lines }
    }

    /// The three-digit code.
    pub const fn code(&self) -> u16 {
        self.code
    }

    /// The enhanced status code, if there is one.
    pub fn enhanced(&self) -> Option<&str> {
        (!self.enhanced.is_empty()).then_some(self.enhanced.as_str())
    }

    /// The lines of text, at least one.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.lines.iter().map(Vec::as_slice)
    }

    /// Whether the refusal is for good (5xx).
    pub const fn is_permanent(&self) -> bool {
        self.code >= 500
    }

    /// The text as on the wire, without the final NUL.
    pub(crate) fn wire(&self) -> Vec<u8> {
        self.format(true)
    }

    fn format(&self, double_percent: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let last = self.lines.len() - 1;
        for (number, line) in self.lines.iter().enumerate() {
            out.extend_from_slice(self.code.to_string().as_bytes());
            out.push(if number == last { b' ' } else { b'-' });
            out.extend_from_slice(self.enhanced.as_bytes());
            if !self.enhanced.is_empty() && !line.is_empty() {
                out.push(b' ');
            }
            for byte in line {
                if *byte == b'%' && double_percent {
                    out.push(b'%');
                }
                out.push(*byte);
            }
            if number < last {
                out.extend_from_slice(b"\r\n");
            }
        }
        out
    }

    /// Reads a reply as on the wire, without the final NUL, as strictly as the newest Postfix.
    ///
    /// `%%` becomes `%`, and a single `%` goes away (spec §3.4).
    ///
    /// # Errors
    ///
    /// [`BadSmtpReply`] for the first thing that is wrong.
    pub fn parse(wire: &[u8]) -> Result<Self, BadSmtpReply> {
        let (mut code, mut enhanced, mut texts) = (None, String::new(), Vec::new());
        let mut rest = Some(wire);
        while let Some(current) = rest {
            let (line, tail) = match memchr::memmem::find(current, b"\r\n") {
                Some(at) => (&current[..at], Some(&current[at + 2..])),
                None => (current, None),
            };
            let (digits, text) = line.split_at_checked(3).ok_or(BadSmtpReply::Syntax)?;
            let number = number(digits).filter(|number| code.is_none_or(|code| code == *number));
            let number = number.ok_or(BadSmtpReply::Syntax)?;
            let (separator, text) = text.split_first().ok_or(BadSmtpReply::Syntax)?;
            if *separator != if tail.is_some() { b'-' } else { b' ' } {
                return Err(BadSmtpReply::Syntax);
            }
            let (found, text) = split_enhanced(text);
            if code.is_none() {
                found.clone_into(&mut enhanced);
            }
            // A line whose own enhanced code differs keeps it in its text.
            let text = if found == enhanced { text } else { &line[4..] };
            if code.is_some() && found.is_empty() && !enhanced.is_empty() {
                return Err(BadSmtpReply::Syntax);
            }
            code = Some(number);
            texts.push(undouble(text));
            rest = tail;
        }
        Self::multiline(code.unwrap_or(0), &enhanced, texts)
    }
}

impl fmt::Display for SmtpReply {
    /// Writes the reply as the SMTP client sees it, lines separated by ` / `.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.format(false);
        f.write_str(&String::from_utf8_lossy(&text).replace("\r\n", " / "))
    }
}

fn check_enhanced(code: u16, enhanced: &str) -> Result<(), BadSmtpReply> {
    let digits = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = enhanced.split('.').collect();
    let [class, subject, detail] = parts[..] else { return Err(BadSmtpReply::Enhanced(enhanced.into())) };
    if !matches!(class, "2" | "4" | "5") || !digits(subject) || !digits(detail) {
        return Err(BadSmtpReply::Enhanced(enhanced.into()));
    }
    if class != (code / 100).to_string() {
        return Err(BadSmtpReply::Class { code, enhanced: enhanced.into() });
    }
    Ok(())
}

/// Takes the enhanced status code off lines that bring it along.
///
/// MTAs see no difference between a code and text that looks like one. Postfix then fails the filter, so that a
/// refusal for good ends as one for now, if it is of another class than `code` or, in newer releases, not on every
/// line (spec §3.4).
fn take_enhanced(code: u16, lines: &mut [Vec<u8>]) -> Result<String, BadSmtpReply> {
    let found = lines.first().map_or("", |line| split_enhanced(line).0).to_owned();
    if found.is_empty() {
        return Ok(found);
    }
    check_enhanced(code, &found)?;
    for line in lines {
        let (own, text) = split_enhanced(line);
        if own == found {
            *line = text.to_vec();
        }
    }
    Ok(found)
}

/// Tab is the only control character that SMTP replies may have (RFC 5321 §4.2).
const fn is_control(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == 0x7f
}

fn number(digits: &[u8]) -> Option<u16> {
    let all_digits = digits.iter().all(u8::is_ascii_digit);
    all_digits.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0')))
}

/// Splits off an enhanced status code, if the text begins with one.
fn split_enhanced(text: &[u8]) -> (&str, &[u8]) {
    let end = memchr::memchr(b' ', text).unwrap_or(text.len());
    match std::str::from_utf8(&text[..end]) {
        Ok(word) if check_enhanced(class_code(word), word).is_ok() => {
            (word, text.get(end + 1..).unwrap_or_default())
        }
        _ => ("", text),
    }
}

/// Some code of the class that an enhanced status code begins with.
fn class_code(enhanced: &str) -> u16 {
    enhanced.bytes().next().map_or(0, |digit| u16::from(digit.wrapping_sub(b'0')) * 100)
}

fn undouble(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'%' || bytes.next_if_eq(&b'%').is_some() {
            out.push(byte);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_form_is_the_one_captured_from_libmilter() {
        let one = SmtpReply::new(550, "5.7.1", "No thanks").unwrap();
        assert_eq!(one.wire(), b"550 5.7.1 No thanks");
        assert_eq!(SmtpReply::new(421, "4.7.0", "bye").unwrap().wire(), b"421 4.7.0 bye");
        assert_eq!(SmtpReply::new(550, "", "").unwrap().wire(), b"550 ");
        let many = SmtpReply::multiline(550, "5.7.1", ["Line one", "Line two 100%", "Line three"]).unwrap();
        assert_eq!(many.wire(), b"550-5.7.1 Line one\r\n550-5.7.1 Line two 100%%\r\n550 5.7.1 Line three");
        assert_eq!(SmtpReply::parse(&many.wire()), Ok(many));
    }

    #[test]
    fn replies_are_validated() {
        let long = "x".repeat(981);
        for (code, enhanced, text, want) in [
            (250, "", "x", BadSmtpReply::Code(250)),
            (600, "", "x", BadSmtpReply::Code(600)),
            (550, "4.7.1", "x", BadSmtpReply::Class { code: 550, enhanced: "4.7.1".into() }),
            (550, "5.7", "x", BadSmtpReply::Enhanced("5.7".into())),
            (550, "5.7.1234", "x", BadSmtpReply::Enhanced("5.7.1234".into())),
            (550, "5.7.1", "a\r\n250 ok", BadSmtpReply::Control { line: 1, byte: b'\r' }),
            (550, "5.7.1", "a\nb", BadSmtpReply::Control { line: 1, byte: b'\n' }),
            (550, "5.7.1", "a\0b", BadSmtpReply::Control { line: 1, byte: 0 }),
            (550, "5.7.1", long.as_str(), BadSmtpReply::LineTooLong { line: 1, length: 981 }),
        ] {
            assert_eq!(SmtpReply::new(code, enhanced, text), Err(want));
        }
        assert!(SmtpReply::multiline(550, "", vec!["x"; 32]).is_ok());
        assert_eq!(SmtpReply::multiline(550, "", vec!["x"; 33]), Err(BadSmtpReply::Lines(33)));
        assert_eq!(SmtpReply::multiline(550, "", [""; 0]), Err(BadSmtpReply::Lines(0)));
    }

    #[test]
    fn an_enhanced_code_at_the_beginning_of_the_text_is_the_code() {
        let one = SmtpReply::new(550, "", "5.7.1 no").unwrap();
        assert_eq!(one, SmtpReply::new(550, "5.7.1", "no").unwrap());
        // "550-5.7.1 a\r\n550 b" is refused by newer releases of Postfix, and by our own MTA.
        for lines in [["5.7.1 a", "b"], ["5.7.1 a", "5.7.1 b"]] {
            let wire = SmtpReply::multiline(550, "", lines).unwrap().wire();
            assert_eq!(wire, b"550-5.7.1 a\r\n550 5.7.1 b");
        }
        let class = BadSmtpReply::Class { code: 550, enhanced: "4.7.1".into() };
        assert_eq!(SmtpReply::new(550, "", "4.7.1 later"), Err(class));
        for text in ["5.7 x", "15.7.1 x", "5.7.1, x"] {
            assert_eq!(SmtpReply::new(550, "", text).unwrap().wire(), [b"550 ", text.as_bytes()].concat());
        }
    }

    #[test]
    fn a_reply_that_was_read_can_be_said_and_read_again() {
        // A single percent sign goes away, and what is left looks like an enhanced code.
        for wire in ["550-5.7%.1 a\r\n550 b", "550 5.7%.1 a", "550 5.7.%1"] {
            let reply = SmtpReply::parse(wire.as_bytes()).unwrap();
            assert_eq!(SmtpReply::parse(&reply.wire()), Ok(reply), "{wire}");
        }
        assert!(SmtpReply::parse(b"550 4.7%.1 a").is_err());
    }

    #[test]
    fn lenient_text_is_mended() {
        let reply = SmtpReply::lenient(550, "4.0.0", "one\r\ntwo\x1b[0m");
        assert_eq!(reply.wire(), b"550-5.7.1 one\r\n550 5.7.1 two [0m");
        assert_eq!(SmtpReply::lenient(451, "", "").wire(), b"451 4.7.1");
    }

    #[test]
    fn parsing_is_as_strict_as_the_newest_postfix() {
        for bad in [
            "",
            "55",
            "350 x",
            "650 x",
            "5x0 x",
            "550",
            "550-x",
            "550_x",
            "550 4.7.1 x",
            "550-a\r\n551 b",
            "550 a\r\n550 b",
            "550-a\n550 b",
            "550 a\r",
            "550-5.7.1 a\r\n550 b",
            "550 a\r\n",
        ] {
            assert!(SmtpReply::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        let text = |wire: &str| SmtpReply::parse(wire.as_bytes()).unwrap().to_string();
        assert_eq!(text("550 100%% sure 5% off"), "550 100% sure 5 off");
        assert_eq!(text("450 "), "450 ");
        assert_eq!(text("550 5.7.1"), "550 5.7.1");
        assert_eq!(text("550-5.7.1 a\r\n550 5.7.1 b"), "550-5.7.1 a / 550 5.7.1 b");
    }
}
