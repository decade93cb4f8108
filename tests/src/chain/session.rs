//! One connection of a client with several messages that are not known to succeed, in both ways.

use std::io;

use super::trace::diff;
use super::{Arranged, ChainSite, Trace, Way};
use crate::case::{Member, Mode};
use crate::runner::{got_lines, take_delivered, take_held};
use crate::script::{Action, Edit, Rule, Stage, Verdict};
use crate::smtp::{Client, Reply};
use crate::text::escape;

/// What a client sends over one connection, and the filters on its way.
#[derive(Clone, Debug)]
pub struct Session {
    /// The filters, in order.
    pub filters: Vec<Member>,
    /// How much of a message's bodies may be in memory, where not the library's default.
    pub memory: Option<usize>,
    /// The messages.
    pub letters: Vec<Letter>,
}

/// A message that a client tries to send.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The sender, with brackets; no two of a session are the same.
    pub sender: String,
    /// Whether an unknown command is sent before it, and another after the recipients.
    pub unknown: bool,
    /// The recipients, with brackets.
    pub recipients: Vec<String>,
    /// Header and body.
    pub message: Vec<u8>,
}

/// All that can be seen of a session, letter by letter.
struct Played {
    /// Replies, and what was delivered and held: first of the greeting, then of each letter.
    outcomes: Vec<Vec<String>>,
    /// What each filter saw.
    events: Vec<Vec<String>>,
}

impl Session {
    /// Plays it in all ways, and tells what differs.
    pub fn differences(&self, site: &ChainSite) -> Vec<String> {
        let separate = self.play(Way::Separate, site);
        let ways = Way::CHAINS.into_iter();
        ways.flat_map(|way| {
            let differences = self.compared(&separate, &self.play(way, site)).into_iter();
            differences.map(move |difference| format!("{way:?}: {difference}"))
        })
        .collect()
    }

    fn compared(&self, separate: &Played, chain: &Played) -> Vec<String> {
        let mut all = Vec::new();
        for (at, (one, other)) in separate.outcomes.iter().zip(&chain.outcomes).enumerate() {
            if one != other {
                let what = at.checked_sub(1).map_or("the connection", |at| self.letters[at].sender.as_str());
                all.push(format!("{what}\n{}", diff(one, other)));
            }
        }
        if separate.outcomes.len() != chain.outcomes.len() {
            let (one, other) = (separate.outcomes.len(), chain.outcomes.len());
            all.push(format!("separate filters end the connection after {one}, the chain after {other}"));
        }
        for (at, (one, other)) in separate.events.iter().zip(&chain.events).enumerate() {
            let (one, other) = (self.comparable(at, one), self.comparable(at, other));
            if one != other {
                all.push(format!("{} saw\n{}", self.filters[at].name, diff(&one, &other)));
            }
        }
        all
    }

    fn play(&self, way: Way, site: &ChainSite) -> Played {
        let arranged = Arranged::start(way, Mode::Pipeline, &self.filters, self.memory, site);
        let mut outcomes = Vec::new();
        let mut replies = Vec::new();
        let mut client = Client::connect(arranged.smtp()).expect("Postfix takes connections");
        let mut open = greet(&mut client, &mut replies).is_ok();
        outcomes.push(outcome(&mut replies, site));
        for letter in &self.letters {
            if !open {
                break;
            }
            open = letter.send(&mut client, &mut replies).is_ok();
            outcomes.push(outcome(&mut replies, site));
        }
        if open {
            // It ends either way.
            drop(client.command("QUIT"));
        }
        drop(client);
        arranged.wait_for_end(1);
        Played { outcomes, events: arranged.seen(&mut Trace::default()) }
    }

    /// What a filter saw, without the content of messages that another one refuses while the content goes by both in a
    /// chain (`tamis::chain`, § Two ways to run it). Behind Postfix an earlier filter has all of it by then, a later one
    /// nothing.
    fn comparable(&self, filter: usize, lines: &[String]) -> Vec<String> {
        const CONTENT: [&str; 9] =
            ["header ", "eoh", "body ", "> ", "eom", "macro ", "field ", "kept-body ", "abort"];
        let mut goes_by = false;
        let mut kept = Vec::new();
        for line in lines {
            if let Some(rest) = line.strip_prefix("mail ") {
                let sender = rest.split(' ').next().unwrap_or_default();
                goes_by = (0..self.filters.len()).any(|other| self.refuses_beside(other, filter, sender));
            }
            if !(goes_by && CONTENT.iter().any(|start| line.starts_with(start))) {
                kept.push(line.clone());
            }
        }
        kept
    }

    /// Whether a filter refuses the content of a message that another one sees at the same time.
    fn refuses_beside(&self, refusing: usize, other: usize, sender: &str) -> bool {
        let between = refusing.min(other)..refusing.max(other);
        let waits = self.filters[between].iter().any(|filter| edits_content(filter, sender));
        // Whoever is earlier has been asked at the end before.
        let stages = if other < refusing { &CONTENT_STAGES[..3] } else { &CONTENT_STAGES };
        let rules = rules_for(&self.filters[refusing], sender);
        let mut verdicts = rules.filter(|rule| stages.contains(&rule.stage)).flat_map(|rule| &rule.actions);
        other != refusing && !waits && verdicts.any(refuses)
    }
}

const CONTENT_STAGES: [Stage; 4] = [Stage::Header, Stage::EndOfHeaders, Stage::Body, Stage::EndOfMessage];

fn rules_for<'a>(filter: &'a Member, sender: &str) -> impl Iterator<Item = &'a Rule> {
    let is_its = move |rule: &&Rule| {
        let of = rule.matcher.sender.as_deref();
        of.is_none_or(|of| of == sender.as_bytes())
    };
    filter.script.rules.iter().filter(is_its)
}

fn refuses(action: &Action) -> bool {
    match action {
        Action::Verdict(verdict) => !matches!(verdict, Verdict::Continue | Verdict::Accept | Verdict::Skip),
        _ => false,
    }
}

/// Whether those behind a filter get the content when it is done with it.
fn edits_content(filter: &Member, sender: &str) -> bool {
    let edits = |action: &Action| match action {
        Action::Edit(edit) => matches!(
            edit,
            Edit::AddHeader { .. }
                | Edit::InsertHeader { .. }
                | Edit::ChangeHeader { .. }
                | Edit::ReplaceBody(_)
                | Edit::AppendBody(_)
        ),
        Action::Kept(_) => true,
        _ => false,
    };
    let accepts = |action: &Action| *action == Action::Verdict(Verdict::Accept);
    filter.script.all_actions().any(edits)
        && !rules_for(filter, sender).flat_map(|rule| &rule.actions).any(accepts)
}

/// Takes down what came of what was said last.
fn outcome(replies: &mut Vec<Reply>, site: &ChainSite) -> Vec<String> {
    let replies = std::mem::take(replies);
    let mut lines: Vec<String> =
        replies.iter().flat_map(|reply| &reply.lines).map(|line| super::trace::reply_line(line)).collect();
    for (place, got) in
        [("delivered", take_delivered(site.mta(), site.sink())), ("held", take_held(site.mta()))]
    {
        let mut messages: Vec<Vec<String>> = match got {
            Ok(got) => {
                got.iter().map(|got| got_lines(got).iter().map(|line| escape(line)).collect()).collect()
            }
            Err(problem) => vec![vec![problem]],
        };
        messages.sort();
        for message in messages {
            lines.push(format!("-- {place}"));
            lines.extend(message);
        }
    }
    lines
}

fn greet(client: &mut Client, replies: &mut Vec<Reply>) -> io::Result<()> {
    replies.push(client.reply()?);
    say(client, "EHLO client.example", replies).map(drop)
}

/// Sends a line, and returns the code of the reply; with 421 the conversation is over.
fn say(client: &mut Client, line: &str, replies: &mut Vec<Reply>) -> io::Result<u16> {
    client.send(format!("{line}\r\n").as_bytes())?;
    hear(client, replies)
}

fn hear(client: &mut Client, replies: &mut Vec<Reply>) -> io::Result<u16> {
    let reply = client.reply()?;
    let code = reply.code();
    replies.push(reply);
    if code == 421 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(code) }
}

impl Letter {
    /// Says what a client says that wants to get it through; an error is the end of the connection.
    fn send(&self, client: &mut Client, replies: &mut Vec<Reply>) -> io::Result<()> {
        if self.unknown {
            say(client, "HOKUS POKUS", replies)?;
        }
        if say(client, &format!("MAIL FROM:{}", self.sender), replies)? == 250 {
            for recipient in &self.recipients {
                say(client, &format!("RCPT TO:{recipient}"), replies)?;
            }
            if self.unknown {
                say(client, "FIDIBUS", replies)?;
            }
            if say(client, "DATA", replies)? == 354 {
                client.message(&self.message)?;
                hear(client, replies)?;
                return Ok(());
            }
        }
        say(client, "RSET", replies).map(drop)
    }
}
