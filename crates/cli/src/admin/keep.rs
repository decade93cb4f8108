//! What is kept of a message's record: a copy with bounds, as small as it goes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tamis::chain::{self, OnFailure};
use tamis::{Stage, Verdict};

use super::generation::{Generation, Member};
use super::record;

/// Most bytes of any one text.
const MAX_TEXT: usize = 500;

/// Most bytes of a reply, which may have many lines.
const MAX_REPLY: usize = 2000;

/// Most bytes of all edits of a message; those beyond are counted.
const MAX_EDITS: usize = 32 * 1024;

/// Most bytes of all recipients of a message; those beyond are counted.
const MAX_RECIPIENTS: usize = 16 * 1024;

/// Most conflicts of a message; those beyond are counted.
const MAX_CONFLICTS: usize = 50;

/// What is kept of a message.
#[derive(Debug)]
pub(super) struct Kept {
    about: record::About,
    pub(super) queue_id: Option<Box<[u8]>>,
    client: record::Client,
    auth_user: Option<String>,
    sender: Option<String>,
    recipients: Box<[record::Recipient]>,
    recipients_left_out: usize,
    began: Option<Timestamp>,
    finished: Timestamp,
    said: Option<Said>,
    decision: (record::Why, Option<Arc<str>>),
    filters: Box<[KeptFilter]>,
    conflicts: Box<[record::Conflict]>,
    conflicts_left_out: usize,
}

#[derive(Debug)]
struct KeptFilter {
    name: Arc<str>,
    member: Option<Arc<Member>>,
    dry_run: bool,
    calls: u32,
    time: Duration,
    slowest: Option<(Stage, Duration)>,
    said: Option<Said>,
    edits: Box<[record::Edit]>,
    edits_left_out: usize,
    failure: Option<(&'static str, Box<str>)>,
}

#[derive(Debug)]
struct Said {
    stage: Stage,
    kind: record::Kind,
    reply: Option<Box<str>>,
}

impl Kept {
    /// Copies what is worth keeping of a message, or of a client, that is over now.
    pub(super) fn new(about: record::About, record: &chain::Record, generation: &Generation) -> Self {
        let mut room = MAX_EDITS;
        let filters = record.filters.iter().enumerate();
        let filters = filters.map(|(place, filter)| {
            let member = generation.find(place, &filter.name, filter.dry_run).cloned();
            KeptFilter::new(filter, member, &mut room)
        });
        let filters: Box<[_]> = filters.collect();
        let conflicts = record.conflicts.iter().take(MAX_CONFLICTS).map(|conflict| record::Conflict {
            what: text(conflict.what.as_bytes(), MAX_TEXT),
            first: conflict.first.to_string(),
            second: conflict.second.to_string(),
        });
        let parties = &record.parties;
        let kept_text = |bytes: &Option<Bytes>| bytes.as_ref().map(|bytes| text(bytes, MAX_TEXT));
        let (recipients, recipients_left_out) = recipients(parties);
        Self {
            about,
            client: record::Client {
                name: kept_text(&parties.client_name),
                address: parties.client_addr,
                helo: kept_text(&parties.helo),
            },
            auth_user: kept_text(&parties.auth_user),
            sender: parties.sender.as_deref().map(bare),
            recipients,
            recipients_left_out,
            began: record.began.and_then(|began| Timestamp::try_from(began).ok()),
            // It may be a slice of all that was read with it.
            queue_id: record.queue_id.as_ref().map(|id| id[..id.len().min(MAX_TEXT)].into()),
            finished: Timestamp::now(),
            said: record.verdict.as_ref().map(Said::new),
            decision: decision(record, &filters),
            filters,
            conflicts: conflicts.collect(),
            conflicts_left_out: record.conflicts.len().saturating_sub(MAX_CONFLICTS),
        }
    }

    pub(super) fn finished(&self) -> Timestamp {
        self.finished
    }

    pub(super) fn about(&self) -> record::About {
        self.about
    }

    pub(super) fn client(&self) -> &record::Client {
        &self.client
    }

    pub(super) fn sender(&self) -> Option<&str> {
        self.sender.as_deref()
    }

    /// The recipients that there was room for.
    pub(super) fn recipients(&self) -> impl Iterator<Item = &str> {
        self.recipients.iter().map(|recipient| &*recipient.address)
    }

    /// How much memory it takes, more or less.
    pub(super) fn bytes(&self) -> usize {
        let filters = self.filters.iter().map(|filter| {
            let failure = filter.failure.as_ref().map_or(0, |(_, text)| text.len());
            let edits = filter.edits.iter().map(|edit| size_of_val(edit) + weight(edit)).sum::<usize>();
            size_of_val(filter) + filter.name.len() + Said::bytes(filter.said.as_ref()) + failure + edits
        });
        let conflicts = self.conflicts.iter().map(|conflict| {
            size_of_val(conflict) + conflict.what.len() + conflict.first.len() + conflict.second.len()
        });
        let texts =
            [&self.client.name, &self.client.helo, &self.auth_user, &self.sender].into_iter().flatten();
        size_of_val(self)
            + texts.map(String::len).sum::<usize>()
            + self.recipients.iter().map(recipient_bytes).sum::<usize>()
            + self.queue_id.as_ref().map_or(0, |id| id.len())
            + Said::bytes(self.said.as_ref())
            + filters.sum::<usize>()
            + conflicts.sum::<usize>()
    }

    /// The record as it is shown.
    pub(super) fn show(&self, number: u64) -> record::Record {
        let (why, filter) = &self.decision;
        record::Record {
            number,
            about: self.about,
            queue_id: self.queue_id.as_deref().map(|id| text(id, MAX_TEXT)),
            client: self.client.clone(),
            auth_user: self.auth_user.clone(),
            sender: self.sender.clone(),
            recipients: self.recipients.to_vec(),
            recipients_left_out: self.recipients_left_out,
            began: self.began,
            finished: self.finished,
            verdict: self.said.as_ref().map(Said::show),
            decision: record::Decision { why: *why, filter: filter.as_deref().map(str::to_owned) },
            filters: self.filters.iter().map(KeptFilter::show).collect(),
            conflicts: self.conflicts.to_vec(),
            conflicts_left_out: self.conflicts_left_out,
        }
    }
}

/// The recipients that there is room for, and the number of the others.
fn recipients(parties: &chain::Parties) -> (Box<[record::Recipient]>, usize) {
    let mut room = MAX_RECIPIENTS;
    let all = parties
        .recipients
        .iter()
        .map(|recipient| record::Recipient { address: bare(&recipient.address), refused: recipient.refused });
    let kept: Box<[_]> = all
        .take_while(|recipient| {
            let rest = room.checked_sub(recipient_bytes(recipient));
            room = rest.unwrap_or(0);
            rest.is_some()
        })
        .collect();
    let left_out = parties.recipients.len() - kept.len() + parties.more_recipients as usize;
    (kept, left_out)
}

fn recipient_bytes(recipient: &record::Recipient) -> usize {
    size_of_val(recipient) + recipient.address.len()
}

/// An address without its brackets, which only that of bounces keeps.
fn bare(address: &[u8]) -> String {
    let inner = address.strip_prefix(b"<").and_then(|rest| rest.strip_suffix(b">"));
    text(inner.filter(|inner| !inner.is_empty()).unwrap_or(address), MAX_TEXT)
}

/// Says who decided: the filter whose verdict the MTA was told or, where there is none, one that failed.
fn decision(record: &chain::Record, filters: &[KeptFilter]) -> (record::Why, Option<Arc<str>>) {
    use record::Why;
    let Some((stage, verdict)) = &record.verdict else { return (Why::GivenUp, None) };
    if !verdict.stops() {
        return (if *verdict == Verdict::Accept { Why::Accepted } else { Why::Passed }, None);
    }
    let enforced = || record.filters.iter().filter(|filter| !filter.dry_run);
    let says = |filter: &&chain::FilterRecord| filter.verdict.as_ref().map(|(_, said)| said) == Some(verdict);
    // What a stage that is not answered had to say is told at a later one.
    let here =
        enforced().filter(says).find(|filter| filter.verdict.as_ref().is_some_and(|(at, _)| at == stage));
    if let Some(filter) = here.or_else(|| enforced().find(says)) {
        return (Why::Refused, Some(filter.name.clone()));
    }
    let failed = filters.iter().find(|filter| {
        let policy = filter.member.as_ref().map(|member| member.on_failure);
        !filter.dry_run && filter.failure.is_some() && policy != Some(OnFailure::Accept)
    });
    match failed {
        Some(filter) => (Why::Failed, Some(filter.name.clone())),
        None => (Why::Earlier, None),
    }
}

impl KeptFilter {
    fn new(filter: &chain::FilterRecord, member: Option<Arc<Member>>, room: &mut usize) -> Self {
        let mut edits = Vec::new();
        let body = filter.new_body.then_some(record::Edit::ReplaceBody);
        for edit in filter.edits.iter().map(kept_edit).chain(body) {
            let bytes = size_of_val(&edit) + weight(&edit);
            if bytes > *room {
                break;
            }
            *room -= bytes;
            edits.push(edit);
        }
        let asked = filter.edits.len() + usize::from(filter.new_body);
        Self {
            name: filter.name.clone(),
            member,
            dry_run: filter.dry_run,
            calls: filter.calls,
            time: filter.time,
            slowest: filter.slowest,
            said: filter.verdict.as_ref().map(Said::new),
            edits_left_out: asked - edits.len(),
            edits: edits.into(),
            failure: filter
                .failure
                .as_ref()
                .map(|(stage, error)| (*stage, text(error.as_bytes(), MAX_TEXT).into())),
        }
    }

    fn show(&self) -> record::Filter {
        record::Filter {
            name: self.name.to_string(),
            kind: self.member.as_ref().map(|member| member.kind.clone()),
            dry_run: self.dry_run,
            calls: self.calls,
            ms: ms(self.time),
            slowest: self
                .slowest
                .map(|(stage, time)| record::Slowest { stage: stage.name().to_owned(), ms: ms(time) }),
            verdict: self.said.as_ref().map(Said::show),
            edits: self.edits.to_vec(),
            edits_left_out: self.edits_left_out,
            failure: self.failure.as_ref().map(|(stage, error)| record::Failure {
                stage: (*stage).to_owned(),
                error: error.to_string(),
                policy: self.member.as_ref().map(|member| member.on_failure.name().to_owned()),
            }),
        }
    }
}

impl Said {
    fn new((stage, verdict): &(Stage, Verdict)) -> Self {
        let reply = match verdict {
            Verdict::Reply(reply) => Some(text(reply.to_string().as_bytes(), MAX_REPLY).into()),
            _ => None,
        };
        Self { stage: *stage, kind: kind(verdict), reply }
    }

    fn bytes(said: Option<&Self>) -> usize {
        said.and_then(|said| said.reply.as_ref()).map_or(0, |reply| reply.len())
    }

    fn show(&self) -> record::Verdict {
        record::Verdict {
            stage: self.stage.name().to_owned(),
            verdict: self.kind,
            reply: self.reply.as_deref().map(str::to_owned),
        }
    }
}

/// What a verdict does; a reply of its own does what its code says.
pub(super) fn kind(verdict: &Verdict) -> record::Kind {
    match verdict {
        Verdict::Continue => record::Kind::Continue,
        Verdict::Accept => record::Kind::Accept,
        Verdict::Reject => record::Kind::Reject,
        Verdict::Discard => record::Kind::Discard,
        Verdict::Skip => record::Kind::Skip,
        Verdict::Reply(reply) if reply.code() >= 500 => record::Kind::Reject,
        Verdict::Tempfail | Verdict::Reply(_) => record::Kind::Tempfail,
    }
}

fn kept_edit(edit: &tamis::Edit<Bytes>) -> record::Edit {
    use tamis::Edit;
    let text = |bytes: &Bytes| text(bytes, MAX_TEXT);
    match edit {
        Edit::AddHeader { name, value } => record::Edit::AddHeader { name: text(name), value: text(value) },
        Edit::InsertHeader { index, name, value } => {
            record::Edit::InsertHeader { index: *index, name: text(name), value: text(value) }
        }
        Edit::ChangeHeader { index, name, value } => {
            record::Edit::ChangeHeader { index: *index, name: text(name), value: text(value) }
        }
        Edit::ChangeSender { address, args } => {
            record::Edit::ChangeSender { address: text(address), args: args.as_ref().map(text) }
        }
        Edit::AddRecipient { address } => record::Edit::AddRecipient { address: text(address) },
        Edit::AddRecipientWithArgs { address, args } => {
            record::Edit::AddRecipientWithArgs { address: text(address), args: args.as_ref().map(text) }
        }
        Edit::DeleteRecipient { address } => record::Edit::DeleteRecipient { address: text(address) },
        Edit::ReplaceBody(_) => record::Edit::ReplaceBody,
        Edit::Quarantine { reason } => record::Edit::Quarantine { reason: text(reason) },
    }
}

/// Bytes of the texts of an edit.
fn weight(edit: &record::Edit) -> usize {
    use record::Edit;
    match edit {
        Edit::AddHeader { name, value }
        | Edit::InsertHeader { name, value, .. }
        | Edit::ChangeHeader { name, value, .. } => name.len() + value.len(),
        Edit::ChangeSender { address, args } | Edit::AddRecipientWithArgs { address, args } => {
            address.len() + args.as_ref().map_or(0, String::len)
        }
        Edit::AddRecipient { address } | Edit::DeleteRecipient { address } => address.len(),
        Edit::ReplaceBody => 0,
        Edit::Quarantine { reason } => reason.len(),
    }
}

/// Milliseconds, to the microsecond.
fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// Bytes as text of a bounded length.
fn text(bytes: &[u8], most: usize) -> String {
    // A character that the end cuts through would look like one that is none.
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(most + 4)]);
    if text.len() <= most {
        return text.into_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(most)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(text(b"caf\xe9", 10), "caf\u{fffd}");
        assert_eq!(text("üüü".as_bytes(), 6), "üüü");
        assert_eq!(text("üüüü".as_bytes(), 7), "üüü…");
        assert_eq!(text(&[b'x'; 4000], 500).len(), 500 + "…".len());
        assert!(text(&[0xff; 4000], 500).len() <= 500 + "…".len());
    }

    #[test]
    fn times_are_shown_to_the_microsecond() {
        assert_eq!(ms(Duration::from_nanos(1_234_567)).to_string(), "1.235");
        assert_eq!(ms(Duration::from_mins(5)).to_string(), "300000");
    }
}
