//! Reads scripts.

use std::time::Duration;

use super::{Action, Attention, Edit, KeptEdit, Matcher, Needs, Rule, Script, Stage, Verdict};
use crate::text;

pub(super) fn script<'a>(
    lines: impl IntoIterator<Item = (usize, &'a str)>,
) -> Result<Script, (usize, String)> {
    let mut script = Script::default();
    for (number, line) in lines {
        let mut words = Words::new(line);
        statement(&mut script, &mut words).map_err(|error| (number, error))?;
    }
    Ok(script)
}

fn statement(script: &mut Script, words: &mut Words<'_>) -> Result<(), String> {
    match words.word("`needs` or `on`")?.as_str() {
        "needs" => need(&mut script.needs, words),
        "on" => {
            let rule = rule(words, script.needs.function)?;
            match script.rules.last_mut() {
                Some(last) if last.stage == rule.stage && last.matcher == rule.matcher => {
                    last.actions.extend(rule.actions);
                }
                _ => script.rules.push(rule),
            }
            words.end()
        }
        other => Err(format!("`needs` or `on` expected, found `{other}`")),
    }
}

fn need(needs: &mut Needs, words: &mut Words<'_>) -> Result<(), String> {
    match words.word("what is needed")?.as_str() {
        "rejected-recipients" => needs.rejected_recipients = true,
        "to-be-a-function" => needs.function = true,
        "leading-space" => needs.leading_space = true,
        "progress" => needs.progress = Some(duration(&words.word("a duration")?)?),
        "macros" => {
            let stage = stage(&words.word("a stage")?)?;
            let mut names = Vec::new();
            while !words.rest.is_empty() {
                names.push(words.word("a macro name")?);
            }
            needs.macros.insert(stage, names);
        }
        stages => {
            let attention = match words.word("`answer`, `watch` or `off`")?.as_str() {
                "answer" => Attention::Answer,
                "watch" => Attention::Watch,
                "off" => Attention::Off,
                other => return Err(format!("`answer`, `watch` or `off` expected, found `{other}`")),
            };
            if stages == "all" {
                let all = Stage::ALL.iter().filter(|stage| **stage != Stage::EndOfMessage);
                needs.stages.extend(all.map(|stage| (*stage, attention)));
            } else {
                needs.stages.insert(stage(stages)?, attention);
            }
        }
    }
    words.end()
}

fn rule(words: &mut Words<'_>, function: bool) -> Result<Rule, String> {
    let stage = stage(&words.word("a stage")?)?;
    let mut matcher = Matcher::default();
    loop {
        let before = words.rest;
        let quoted = before.starts_with(['"', '<']);
        let argument = words.bytes("an action")?;
        match argument.as_slice() {
            b"message" if !quoted => matcher.message = Some(words.number("a message number")?),
            b"from" if !quoted => matcher.sender = Some(words.bytes("a sender")?),
            b"nth" if !quoted => matcher.nth = Some(words.number("a number")?),
            _ if quoted && matcher.argument.is_none() => matcher.argument = Some(argument),
            _ => {
                words.rest = before;
                break;
            }
        }
    }
    let action = action(words)?;
    // A function may ask for edits before, of what it has seen.
    let in_time = stage == Stage::EndOfMessage || (function && stage == Stage::EndOfHeaders);
    if matches!(action, Action::Edit(_) | Action::Kept(_)) && !in_time {
        return Err(format!("a message can be edited at eom only, not at {}", stage.word()));
    }
    Ok(Rule { stage, matcher, actions: vec![action] })
}

fn action(words: &mut Words<'_>) -> Result<Action, String> {
    let name = words.word("an action")?;
    let verdict = match name.as_str() {
        "continue" => Verdict::Continue,
        "accept" => Verdict::Accept,
        "reject" => Verdict::Reject,
        "tempfail" => Verdict::Tempfail,
        "discard" => Verdict::Discard,
        "skip" => Verdict::Skip,
        "reply" => reply(words)?,
        "macro" => return Ok(Action::Macro(words.word("a macro name")?)),
        "sleep" => return Ok(Action::Sleep(duration(&words.word("a duration")?)?)),
        other => {
            return match kept_edit(other, words)? {
                Some(edit) => Ok(Action::Kept(edit)),
                None => edit(other, words).map(Action::Edit),
            };
        }
    };
    Ok(Action::Verdict(verdict))
}

fn reply(words: &mut Words<'_>) -> Result<Verdict, String> {
    let code = words.word("a reply code")?;
    let code = code.parse().map_err(|_| format!("`{code}` is not a reply code"))?;
    let status =
        if words.rest.starts_with('"') { None } else { Some(words.word("a status code or a text")?) };
    let mut lines = vec![words.bytes("the text of the reply")?];
    while !words.rest.is_empty() {
        lines.push(words.bytes("a line")?);
    }
    Ok(Verdict::Reply { code, status, lines })
}

fn edit(name: &str, words: &mut Words<'_>) -> Result<Edit, String> {
    Ok(match name {
        "add-header" => Edit::AddHeader { name: words.bytes("a field name")?, value: words.value()? },
        "insert-header" => Edit::InsertHeader {
            index: words.number("a position")?,
            name: words.bytes("a field name")?,
            value: words.value()?,
        },
        "change-header" => Edit::ChangeHeader {
            index: words.number("a position")?,
            name: words.bytes("a field name")?,
            value: words.value()?,
        },
        "delete-header" => Edit::ChangeHeader {
            index: words.number("a position")?,
            name: words.bytes("a field name")?,
            value: Vec::new(),
        },
        "add-rcpt" => {
            Edit::AddRecipient { path: words.bytes("an address")?, arguments: words.remaining().into_bytes() }
        }
        "delete-rcpt" => Edit::DeleteRecipient { path: words.bytes("an address")? },
        "change-from" => {
            Edit::ChangeSender { path: words.bytes("an address")?, arguments: words.remaining().into_bytes() }
        }
        "replace-body" => Edit::ReplaceBody(words.body()?),
        "append-body" => Edit::AppendBody(words.body()?),
        "quarantine" => Edit::Quarantine { reason: words.bytes("a reason")? },
        other => return Err(format!("unknown action `{other}`")),
    })
}

fn kept_edit(name: &str, words: &mut Words<'_>) -> Result<Option<KeptEdit>, String> {
    const NAME: &str = "a field name";
    Ok(Some(match name {
        "append-field" => KeptEdit::Append { name: words.bytes(NAME)?, value: words.value()? },
        "prepend-field" => KeptEdit::Prepend { name: words.bytes(NAME)?, value: words.value()? },
        "set-field" => KeptEdit::Set { name: words.bytes(NAME)?, value: words.value()? },
        "remove-fields" => KeptEdit::RemoveAll { name: words.bytes(NAME)? },
        "insert-before" => {
            KeptEdit::InsertBefore { field: words.field()?, name: words.bytes(NAME)?, value: words.value()? }
        }
        "insert-after" => {
            KeptEdit::InsertAfter { field: words.field()?, name: words.bytes(NAME)?, value: words.value()? }
        }
        "replace-field" => KeptEdit::Replace { field: words.field()?, value: words.value()? },
        "remove-field" => KeptEdit::Remove { field: words.field()? },
        "extend-body" => KeptEdit::ExtendBody(words.body()?),
        _ => return Ok(None),
    }))
}

fn stage(word: &str) -> Result<Stage, String> {
    let found = Stage::ALL.into_iter().find(|stage| stage.word() == word);
    found.ok_or_else(|| format!("unknown stage `{word}`"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let (digits, scale) = match text.strip_suffix("ms") {
        Some(digits) => (digits, 1),
        None => (text.strip_suffix('s').unwrap_or_default(), 1000),
    };
    let number: u64 =
        digits.parse().map_err(|_| format!("`{text}` is not a duration such as 5s or 200ms"))?;
    Ok(Duration::from_millis(number * scale))
}

/// The words of a line: bare, or quoted with spaces inside; escapes work in both.
struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    fn new(line: &'a str) -> Self {
        Self { rest: line.trim() }
    }

    fn bytes(&mut self, what: &str) -> Result<Vec<u8>, String> {
        if self.rest.is_empty() {
            return Err(format!("{what} expected at the end of the line"));
        }
        let (word, rest) = match self.rest.strip_prefix('"') {
            Some(inside) => {
                let end = closing_quote(inside).ok_or("closing quote expected")?;
                (&inside[..end], &inside[end + 1..])
            }
            None => self.rest.split_once(' ').unwrap_or((self.rest, "")),
        };
        self.rest = rest.trim_start();
        text::unescape(word)
    }

    fn word(&mut self, what: &str) -> Result<String, String> {
        String::from_utf8(self.bytes(what)?).map_err(|_| format!("{what} is not UTF-8"))
    }

    fn number(&mut self, what: &str) -> Result<u32, String> {
        let word = self.word(what)?;
        word.parse().map_err(|_| format!("{what} expected, found `{word}`"))
    }

    /// The number of a field.
    fn field(&mut self) -> Result<usize, String> {
        let number = self.number("the number of a field")?;
        Ok(usize::try_from(number).expect("no number here is larger"))
    }

    /// A header value: a word, or `size N` for folded filler of that many bytes.
    fn value(&mut self) -> Result<Vec<u8>, String> {
        self.filler()?.map_or_else(|| self.bytes("a value"), |size| Ok(text::filler_value(size)))
    }

    /// A body: a word, or `size N` for that many bytes of numbered lines.
    fn body(&mut self) -> Result<Vec<u8>, String> {
        self.filler()?.map_or_else(|| self.bytes("a body"), |size| Ok(text::filler_body(size)))
    }

    fn filler(&mut self) -> Result<Option<usize>, String> {
        let Some(rest) = self.rest.strip_prefix("size ") else { return Ok(None) };
        self.rest = rest.trim_start();
        text::size(&self.word("a size")?).map(Some)
    }

    fn remaining(&mut self) -> String {
        std::mem::take(&mut self.rest).to_owned()
    }

    fn end(&self) -> Result<(), String> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(format!("end of line expected, found `{}`", self.rest))
        }
    }
}

fn closing_quote(inside: &str) -> Option<usize> {
    let mut escaped = false;
    inside.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

#[cfg(test)]
mod tests {
    use super::super::Position;
    use super::*;

    fn parse(text: &str) -> Result<Script, (usize, String)> {
        Script::parse(text.lines().enumerate().map(|(index, line)| (index + 1, line)))
    }

    #[test]
    fn rules_with_all_their_parts() {
        let script = parse(concat!(
            "needs rejected-recipients\n",
            "needs all watch\n",
            "needs rcpt answer\n",
            "needs macros rcpt i {rcpt_addr}\n",
            "on rcpt message 2 <bad@example.com> reply 550 5.7.1 \"no 100% way\" two\n",
            "on eom insert-header 0 X-B \"to\\\"p\"\n",
            "on eom add-rcpt <x@y> NOTIFY=NEVER ORCPT=rfc822;z\n",
            "on eom replace-body size 1K\n",
        ))
        .unwrap();
        assert_eq!(script.attention(Stage::Rcpt), Attention::Answer);
        assert_eq!(script.attention(Stage::Connect), Attention::Watch);
        assert_eq!(script.attention(Stage::EndOfMessage), Attention::Answer);
        assert_eq!(script.needs.macros[&Stage::Rcpt], ["i", "{rcpt_addr}"]);
        let reply = Verdict::Reply {
            code: 550,
            status: Some("5.7.1".to_owned()),
            lines: vec![b"no 100% way".to_vec(), b"two".to_vec()],
        };
        assert_eq!(script.rules[0].actions, [Action::Verdict(reply)]);
        assert_eq!(script.rules.len(), 2, "consecutive rules with one matcher are one");
        let edits = &script.rules[1].actions;
        let insert = Edit::InsertHeader { index: 0, name: b"X-B".to_vec(), value: b"to\"p".to_vec() };
        assert_eq!(edits[0], Action::Edit(insert));
        let add = Edit::AddRecipient {
            path: b"<x@y>".to_vec(),
            arguments: b"NOTIFY=NEVER ORCPT=rfc822;z".to_vec(),
        };
        assert_eq!(edits[1], Action::Edit(add));
        assert_eq!(edits[2], Action::Edit(Edit::ReplaceBody(text::filler_body(1024))));
    }

    #[test]
    fn rules_apply_where_they_match() {
        let script = parse("on rcpt message 2 <b> reject\non header \"subject\" nth 2 tempfail\n").unwrap();
        let mut at = Position::default();
        let mut count = |stage, argument: &[u8]| script.actions(&mut at, stage, argument).count();
        assert_eq!([count(Stage::Mail, b"<a>"), count(Stage::Rcpt, b"<b>")], [0, 0]);
        assert_eq!([count(Stage::Mail, b"<a>"), count(Stage::Rcpt, b"<b>")], [0, 1]);
        assert_eq!([count(Stage::Header, b"Subject"), count(Stage::Header, b"Subject")], [0, 1]);
    }

    #[test]
    fn rules_can_be_for_the_messages_of_a_sender() {
        let script = parse("on eom from <a> reject\n").unwrap();
        let mut at = Position::default();
        let mut count = |stage, argument: &[u8]| script.actions(&mut at, stage, argument).count();
        assert_eq!([count(Stage::Mail, b"<b>"), count(Stage::EndOfMessage, b"")], [0, 0]);
        assert_eq!([count(Stage::Mail, b"<a>"), count(Stage::EndOfMessage, b"")], [0, 1]);
    }

    #[test]
    fn errors_name_the_line_and_what_is_wrong() {
        let error = |text| parse(text).unwrap_err();
        assert_eq!(error("needs all watch\non mial reject"), (2, "unknown stage `mial`".to_owned()));
        assert_eq!(error("on mail"), (1, "an action expected at the end of the line".to_owned()));
        assert_eq!(error("on mail reject now"), (1, "end of line expected, found `now`".to_owned()));
        assert_eq!(error("on mail explode"), (1, "unknown action `explode`".to_owned()));
        assert_eq!(error("on eom quarantine \"x"), (1, "closing quote expected".to_owned()));
        assert_eq!(
            error("on mail add-header A b"),
            (1, "a message can be edited at eom only, not at mail".to_owned())
        );
        assert_eq!(error("on eom sleep 5"), (1, "`5` is not a duration such as 5s or 200ms".to_owned()));
    }
}
