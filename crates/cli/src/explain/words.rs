//! Records in words.

use std::fmt::{self, Display, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::admin::record::{Client, Edit, Kind, Verdict};

/// A text of somebody else's, without what a terminal would obey.
pub(super) struct Plain<'a>(pub(super) &'a str);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for c in self.0.chars() {
            match c {
                // A field's value over several lines; each begins with a space or a tab.
                '\n' => text.push_str("\\n"),
                '\t' => text.push(' '),
                '\\' | '"' | '\'' => text.push(c),
                c => text.extend(c.escape_debug()),
            }
        }
        f.pad(&text)
    }
}

/// A moment as the clock on the wall shows it, with its offset from UTC.
pub(super) fn when(moment: Timestamp, zone: &TimeZone) -> String {
    moment.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S.%3f %:z").to_string()
}

/// A number of milliseconds, in the unit that suits it.
pub(super) fn time(ms: f64) -> String {
    match ms {
        ms if ms < 1.0 => format!("{:.0} µs", ms * 1e3),
        ms if ms < 1000.0 => format!("{ms:.1} ms"),
        ms => format!("{:.2} s", ms / 1e3),
    }
}

/// A client with its name, its address and its HELO.
pub(super) fn client(client: &Client) -> Option<String> {
    let Client { name, address, helo } = client;
    let name = name.as_deref().map(|name| Plain(name).to_string());
    let who = match (name, address) {
        // The name stands for the address already.
        (Some(name), _) if name.starts_with('[') => Some(name),
        (Some(name), Some(address)) => Some(format!("{name} [{address}]")),
        (None, Some(address)) => Some(format!("[{address}]")),
        (name, None) => name,
    };
    let helo = helo.as_deref().map(|helo| format!("HELO {}", Plain(helo)));
    match (who, helo) {
        (Some(who), Some(helo)) => Some(format!("{who}, {helo}")),
        (who, helo) => who.or(helo),
    }
}

/// What a verdict does, as a verb behind a filter.
pub(super) fn verb(kind: Kind) -> &'static str {
    match kind {
        Kind::Continue => "lets it go on",
        Kind::Accept => "accepts it",
        Kind::Reject => "rejects it",
        Kind::Tempfail => "refuses it for now",
        Kind::Discard => "has it discarded",
        Kind::Skip => "wants no more of the body",
    }
}

/// A verdict with its stage and its reply.
pub(super) fn verdict(verdict: &Verdict) -> String {
    let Verdict { stage, verdict, reply } = verdict;
    // One recipient is not the message.
    let verb = match (verdict, &**stage) {
        (Kind::Reject, "rcpt") => "rejects a recipient",
        (Kind::Tempfail, "rcpt") => "refuses a recipient for now",
        (kind, _) => verb(*kind),
    };
    let mut text = format!("{verb} at {}", Plain(stage));
    if let Some(reply) = reply {
        write!(text, ": {}", Plain(reply)).expect("a string takes all");
    }
    text
}

/// What an edit does.
pub(super) fn edit(edit: &Edit) -> String {
    let with = |args: &Option<String>| match args.as_deref() {
        None | Some("") => String::new(),
        Some(args) => format!(" with {}", Plain(args)),
    };
    match edit {
        Edit::AddHeader { name, value } => format!("adds the field {}: {}", Plain(name), Plain(value)),
        Edit::InsertHeader { index: 0, name, value } => {
            format!("inserts at the top the field {}: {}", Plain(name), Plain(value))
        }
        Edit::InsertHeader { index, name, value } => {
            format!("inserts after {index} others the field {}: {}", Plain(name), Plain(value))
        }
        Edit::ChangeHeader { index, name, value } => {
            let which = match index {
                0 | 1 => format!("the field {}", Plain(name)),
                index => format!("the {} field {}", ordinal(*index), Plain(name)),
            };
            if value.is_empty() {
                format!("removes {which}")
            } else {
                format!("changes {which} to: {}", Plain(value))
            }
        }
        Edit::ChangeSender { address, args } => {
            format!("changes the sender to {}{}", Plain(address), with(args))
        }
        Edit::AddRecipient { address } => format!("adds the recipient {}", Plain(address)),
        Edit::AddRecipientWithArgs { address, args } => {
            format!("adds the recipient {}{}", Plain(address), with(args))
        }
        Edit::DeleteRecipient { address } => format!("removes the recipient {}", Plain(address)),
        Edit::ReplaceBody => "replaces the body".to_owned(),
        Edit::Quarantine { reason } => format!("has the message held: {}", Plain(reason)),
    }
}

fn ordinal(number: u32) -> String {
    let end = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{end}")
}

/// What happens to mail when a filter fails.
pub(super) fn policy(name: &str) -> String {
    match name {
        "accept" => "accept: the message goes on without it".to_owned(),
        "tempfail" => "tempfail: the client shall try again later".to_owned(),
        "reject" => "reject: the message is refused".to_owned(),
        "quarantine" => "quarantine: the message goes on without it, and is held".to_owned(),
        other => Plain(other).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_shown() {
        assert_eq!(Plain("a\u{1b}[31m\r\n b\tc\u{202e}").to_string(), "a\\u{1b}[31m\\r\\n b c\\u{202e}");
        assert_eq!(Plain("Grüße \"x\" \\ 'y'").to_string(), "Grüße \"x\" \\ 'y'");
    }

    #[test]
    fn times_have_the_unit_that_suits_them() {
        let times = [0.0, 0.012, 0.999, 1.25, 999.94, 1000.0, 300_000.0].map(time);
        assert_eq!(times, ["0 µs", "12 µs", "999 µs", "1.2 ms", "999.9 ms", "1.00 s", "300.00 s"]);
    }

    #[test]
    fn moments_are_local_and_have_their_offset() {
        let moment: Timestamp = "2026-11-21T19:08:55.123456Z".parse().unwrap();
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        assert_eq!(when(moment, &zone), "2026-11-21 20:08:55.123 +01:00");
        assert_eq!(when(moment, &TimeZone::UTC), "2026-11-21 19:08:55.123 +00:00");
    }

    #[test]
    fn edits_are_said_in_plain_words() {
        let text = |text: &str| text.to_owned();
        let change = |index, value| Edit::ChangeHeader { index, name: text("Subject"), value: text(value) };
        let insert = |index| Edit::InsertHeader { index, name: text("X-A"), value: text("b") };
        let cases = [
            (Edit::AddHeader { name: text("X-A"), value: text("b") }, "adds the field X-A: b"),
            (insert(0), "inserts at the top the field X-A: b"),
            (insert(3), "inserts after 3 others the field X-A: b"),
            (change(1, "new"), "changes the field Subject to: new"),
            (change(2, ""), "removes the 2nd field Subject"),
            (change(13, ""), "removes the 13th field Subject"),
            (Edit::ChangeSender { address: text("<a@b>"), args: None }, "changes the sender to <a@b>"),
            (Edit::AddRecipient { address: text("<a@b>") }, "adds the recipient <a@b>"),
            (
                Edit::AddRecipientWithArgs { address: text("<a@b>"), args: Some(text("NOTIFY=NEVER")) },
                "adds the recipient <a@b> with NOTIFY=NEVER",
            ),
            (Edit::DeleteRecipient { address: text("<a@b>") }, "removes the recipient <a@b>"),
            (Edit::ReplaceBody, "replaces the body"),
            (Edit::Quarantine { reason: text("virus") }, "has the message held: virus"),
        ];
        for (case, words) in cases {
            assert_eq!(edit(&case), words);
        }
    }
}
