//! What an entry says is to be done.

use tamis::Verdict;
use tamis::proto::SmtpReply;

/// What an entry says is to be done, and which entry it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Action {
    pub(super) key: Box<str>,
    pub(super) verdict: Verdict,
    /// Why the message is to be held, if it is to be.
    pub(super) hold: Option<Box<str>>,
}

/// What a client is told where an entry has no text.
const TEXT: &str = "Access denied";

/// What Sendmail has before a reply.
const ERROR: &str = "ERROR:";

/// Why a message is held where an entry has no text.
const HELD: &str = "held by the access map";

/// What Sendmail has before the reason why a message is held.
const QUARANTINE: &str = "QUARANTINE:";

/// Reads what stands behind a key.
pub(super) fn read(key: &str, text: &str) -> Result<Action, String> {
    let hold = hold(text)?;
    let verdict = if hold.is_some() { Verdict::Continue } else { verdict(text)? };
    Ok(Action { key: key.into(), verdict, hold })
}

/// Why a message is to be held, if it is.
fn hold(text: &str) -> Result<Option<Box<str>>, String> {
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    let reason = match word.to_ascii_uppercase() {
        upper if upper == "HOLD" => rest,
        upper if upper.starts_with(QUARANTINE) => &text[QUARANTINE.len()..],
        _ => return Ok(None),
    };
    match reason.trim().trim_matches('"') {
        "" => Ok(Some(HELD.into())),
        reason if reason.contains(char::is_control) => Err(format!("{reason:?} has what no reason can have")),
        reason => Ok(Some(reason.into())),
    }
}

/// Reads an action in the words of Postfix or of Sendmail.
fn verdict(text: &str) -> Result<Verdict, String> {
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    let rest = rest.trim();
    match word.to_ascii_uppercase().as_str() {
        "OK" | "PERMIT" | "RELAY" | "ACCEPT" => bare(word, rest, Verdict::Accept),
        "CONTINUE" | "DUNNO" | "SKIP" => bare(word, rest, Verdict::Continue),
        // Postfix and Sendmail log the text, and tell nobody.
        "DISCARD" => Ok(Verdict::Discard),
        "REJECT" => reply(550, "5.7.1", rest),
        "TEMPFAIL" | "DEFER" => reply(451, "4.7.1", rest),
        upper if upper.starts_with(ERROR) => sendmail(&text[ERROR.len()..]),
        _ => match code(word) {
            Some(code) => reply(code, "", rest),
            None => Err(unknown(text)),
        },
    }
}

fn unknown(text: &str) -> String {
    let hint = "write OK, continue, REJECT TEXT, TEMPFAIL TEXT, 550 5.7.1 TEXT, HOLD or DISCARD";
    match text {
        "" => format!("the key has no action: {hint}"),
        text => format!("{text:?} is no action: {hint}"),
    }
}

fn bare(word: &str, rest: &str, verdict: Verdict) -> Result<Verdict, String> {
    if rest.is_empty() { Ok(verdict) } else { Err(format!("nothing can stand behind {word}, not {rest:?}")) }
}

/// What stands behind Sendmail's `ERROR:`, such as `5.7.1:550 text`, in quotes or not.
fn sendmail(text: &str) -> Result<Verdict, String> {
    let text = text.trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let (status, text) = match text.split_once(':') {
        Some((status, text)) if is_status(status) => (status, text.trim()),
        _ => ("", text),
    };
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    match (code(word), status.chars().next()) {
        (Some(code), _) => reply(code, status, rest.trim().trim_matches('"')),
        (None, Some('4')) => reply(451, status, text.trim_matches('"')),
        (None, _) => reply(550, if status.is_empty() { "5.7.1" } else { status }, text.trim_matches('"')),
    }
}

/// A reply; the text may begin with a status code of its own.
fn reply(code: u16, status: &str, text: &str) -> Result<Verdict, String> {
    let (first, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    let (status, text) = if is_status(first) { (first, rest.trim()) } else { (status, text) };
    let text = if text.is_empty() { TEXT } else { text };
    SmtpReply::new(code, status, text).map(Verdict::from).map_err(|error| error.to_string())
}

fn code(word: &str) -> Option<u16> {
    Some(word)
        .filter(|word| word.len() == 3 && word.bytes().all(|digit| digit.is_ascii_digit()))?
        .parse()
        .ok()
}

fn is_status(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    parts.len() == 3
        && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|digit| digit.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply_of(text: &str) -> String {
        match verdict(text).unwrap() {
            Verdict::Reply(reply) => reply.to_string(),
            verdict => panic!("{text} is {verdict}"),
        }
    }

    #[test]
    fn the_words_of_postfix_and_sendmail_mean_what_they_mean_there() {
        for (text, meant) in [
            ("OK", Verdict::Accept),
            ("permit", Verdict::Accept),
            ("RELAY", Verdict::Accept),
            ("DUNNO", Verdict::Continue),
            ("SKIP", Verdict::Continue),
            ("continue", Verdict::Continue),
            ("DISCARD", Verdict::Discard),
            ("discard with a reason", Verdict::Discard),
        ] {
            assert_eq!(verdict(text), Ok(meant), "{text}");
        }
        for (text, told) in [
            ("REJECT", "550 5.7.1 Access denied"),
            ("reject go away", "550 5.7.1 go away"),
            ("REJECT 5.1.6 moved away", "550 5.1.6 moved away"),
            ("TEMPFAIL", "451 4.7.1 Access denied"),
            ("DEFER 4.3.2 later", "451 4.3.2 later"),
            ("550", "550 Access denied"),
            ("554 5.7.9 100% no", "554 5.7.9 100% no"),
            ("450 come back", "450 come back"),
            ("421 4.7.0 bye", "421 4.7.0 bye"),
            ("ERROR:550 no", "550 no"),
            ("ERROR:5.7.1:550 no", "550 5.7.1 no"),
            ("ERROR:\"550 no such luck\"", "550 no such luck"),
            ("ERROR:4.3.0:\"busy\"", "451 4.3.0 busy"),
            ("error:no", "550 5.7.1 no"),
        ] {
            assert_eq!(reply_of(text), told, "{text}");
        }
    }

    #[test]
    fn messages_are_held_in_the_words_of_postfix_and_sendmail() {
        for (text, why) in [
            ("HOLD", HELD),
            ("hold for the lawyers", "for the lawyers"),
            ("QUARANTINE:looks odd", "looks odd"),
            ("quarantine:\"looks odd\"", "looks odd"),
        ] {
            let action = read("key", text).unwrap();
            assert_eq!((action.verdict, action.hold.as_deref()), (Verdict::Continue, Some(why)), "{text}");
        }
        assert!(read("key", "HOLD a\u{7}b").unwrap_err().contains("no reason can have"));
        assert_eq!(read("key", "OK").unwrap().hold, None);
    }

    #[test]
    fn what_is_no_action_is_told_with_what_to_write() {
        for (text, said) in [
            ("", "the key has no action: write OK"),
            ("NO", "\"NO\" is no action: write OK"),
            ("OK then", "nothing can stand behind OK"),
            ("250 fine", "reply code 250 is not from 400 to 599"),
            ("550 4.7.1 x", "enhanced status code 4.7.1 does not go with reply code 550"),
            ("REJECT 5.7.9999 x", "is not of the form 5.7.1"),
        ] {
            let error = verdict(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
