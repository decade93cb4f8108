//! Which macros a milter gets, and which it has already.

use tamis_proto::command::{Kind, Macros};
use tamis_proto::{MacroLists, MacroStage, MacroTable, Misuse, MtaSession, Stage};

/// The macros that a milter has, by the stages at which they last.
///
/// An MTA sends macros also for steps that a filter does not get (spec §2.14). Here they are seen in the table of the
/// MTA's macros only, and go out ahead of the next step that the milter gets.
#[derive(Debug, Default)]
pub(super) struct Forwarded([Vec<u8>; MacroStage::ALL.len()]);

impl Forwarded {
    /// Sends what the milter should see at a stage and has not.
    pub(super) fn forward(
        &mut self,
        session: &mut MtaSession,
        table: &MacroTable,
        wanted: &MacroLists,
        stage: Stage,
    ) -> Result<(), Misuse> {
        for (at, last) in MacroStage::ALL.into_iter().zip(&mut self.0) {
            let pairs = || pairs(table, wanted.get(at), at.stage());
            if at.stage() != stage && !is_list(last, pairs()) {
                session.send_macros(&Macros::new(Kind::of_stage(at.stage()), pairs()))?;
                *last = list(pairs());
            }
        }
        // With the command the milter forgets what came for later stages.
        if matches!(stage, Stage::Connect | Stage::Helo | Stage::Mail | Stage::Rcpt) {
            let later = MacroStage::ALL.into_iter().zip(&mut self.0).filter(|(at, _)| at.stage() > stage);
            later.for_each(|(_, last)| last.clear());
        }
        let pairs = || pairs(table, list_for(wanted, stage), stage);
        if pairs().next().is_some() {
            session.send_macros(&Macros::new(Kind::of_stage(stage), pairs()))?;
            if let Some(at) = MacroStage::ALL.into_iter().find(|at| at.stage() == stage) {
                self.0[at as usize] = list(pairs());
            }
        }
        Ok(())
    }
}

/// The list that says what comes with a stage. Postfix has none of their own for two of them (spec §8.1).
fn list_for(wanted: &MacroLists, stage: Stage) -> Option<&[String]> {
    let at = match stage {
        Stage::Header => MacroStage::EndOfHeaders,
        Stage::Body => MacroStage::EndOfMessage,
        _ => MacroStage::ALL.into_iter().find(|at| at.stage() == stage)?,
    };
    wanted.get(at)
}

/// What the MTA told for a stage, as far as it is wanted.
fn pairs<'t>(
    table: &'t MacroTable,
    wanted: Option<&'t [String]>,
    stage: Stage,
) -> impl Iterator<Item = (&'t [u8], &'t [u8])> {
    let is_wanted = move |name| match wanted {
        // Postfix takes an empty list for none, and Sendmail sends nothing then (spec §4.8).
        None | Some([]) => true,
        Some(names) => names.iter().any(|wanted| bare(wanted.as_bytes()) == bare(name)),
    };
    table.of_stage(stage).filter(move |(name, _)| is_wanted(name))
}

fn list<'t>(pairs: impl Iterator<Item = (&'t [u8], &'t [u8])>) -> Vec<u8> {
    let mut list = Vec::new();
    for text in pairs.flat_map(|(name, value)| [name, value]) {
        list.extend_from_slice(text);
        list.push(0);
    }
    list
}

/// Whether the milter has these already; nothing is never sent, as it would not take away what it has.
fn is_list<'t>(mut list: &[u8], pairs: impl Iterator<Item = (&'t [u8], &'t [u8])>) -> bool {
    let mut any = false;
    for text in pairs.flat_map(|(name, value)| [name, value]) {
        any = true;
        match list.strip_prefix(text).and_then(|rest| rest.strip_prefix(b"\0")) {
            Some(rest) => list = rest,
            None => return false,
        }
    }
    list.is_empty() || !any
}

/// A name without its braces.
fn bare(name: &[u8]) -> &[u8] {
    name.strip_prefix(b"{").and_then(|name| name.strip_suffix(b"}")).unwrap_or(name)
}
