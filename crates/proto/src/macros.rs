//! The macros of a session, with libmilter's rule of what is visible when (spec §2.14).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::command::{Kind, Macros};
use crate::filter::Warning;
use crate::negotiate::{MacroLists, MacroStage};
use crate::stage::Stage;

/// Macros received so far, by the stage they came for.
///
/// Each packet replaces all macros of its stage; a lookup finds the latest stage first. Macros for header,
/// body and unknown commands, which only Postfix sends, are visible during that command alone.
#[derive(Debug, Default)]
pub struct MacroTable {
    /// Short lists as they came, one behind the other in the order of stages, which mostly is the one they come in.
    data: Vec<u8>,
    /// How long each of them is. Small, as a session that is idle keeps all of this.
    lengths: [u16; Stage::COUNT],
    /// Long lists, which hardly any MTA has.
    #[expect(clippy::box_collection, reason = "an idle session is to be small")]
    long: Option<Box<BTreeMap<Stage, Vec<u8>>>>,
    /// The command being handled, whose own macros are looked at first.
    current: Option<Stage>,
    missed: Option<Arc<MissedMacros>>,
}

/// Names of macros that were looked up in vain, for tests of filters: a macro that nobody asked the MTA for is missing
/// on every day, not only today.
#[derive(Debug, Default)]
pub struct MissedMacros(Mutex<BTreeSet<(Option<Stage>, Vec<u8>)>>);

impl MissedMacros {
    /// The names, and the stages that were handled when they were looked up; `None` is outside of all stages.
    pub fn names(&self) -> Vec<(Option<Stage>, Vec<u8>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn add(&self, stage: Option<Stage>, name: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((stage, name.to_vec()));
    }
}

/// Most bytes of a short list: replacing one moves those behind it.
const SHORT: usize = 1024;

/// Stages whose macros last, from the one searched first.
const LASTING: [Stage; 7] = [
    Stage::EndOfMessage,
    Stage::EndOfHeaders,
    Stage::Data,
    Stage::Rcpt,
    Stage::Mail,
    Stage::Helo,
    Stage::Connect,
];

impl Clone for MacroTable {
    fn clone(&self) -> Self {
        let Self { data, lengths, long, current, missed } = self;
        Self {
            data: data.clone(),
            lengths: *lengths,
            long: long.clone(),
            current: *current,
            missed: missed.clone(),
        }
    }

    /// Uses the memory that is there.
    fn clone_from(&mut self, source: &Self) {
        let Self { data, lengths, long, current, missed } = source;
        self.data.clone_from(data);
        self.lengths = *lengths;
        self.long.clone_from(long);
        self.current = *current;
        self.missed.clone_from(missed);
    }
}

impl MacroTable {
    /// Looks up a macro; `j` and `{j}` are the same, longer names need no braces either.
    #[doc(alias = "smfi_getsymval")]
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        let name = bare(name.as_ref());
        let own = self.current.filter(|stage| !LASTING.contains(stage));
        let mut found = own
            .into_iter()
            .chain(LASTING)
            .filter_map(|stage| self.of_stage(stage).find(|(key, _)| bare(key) == name));
        let value = found.next().map(|(_, value)| value);
        if let (None, Some(missed)) = (value, &self.missed) {
            missed.add(self.current, name);
        }
        value
    }

    /// Notes from now on what is looked up in vain.
    pub(crate) fn note_missed(&mut self, missed: Arc<MissedMacros>) {
        self.missed = Some(missed);
    }

    /// The macros that came for one stage, in the MTA's order.
    pub fn of_stage(&self, stage: Stage) -> impl Iterator<Item = (&[u8], &[u8])> {
        let long = self.long.as_ref().and_then(|lists| lists.get(&stage)).map(Vec::as_slice);
        crate::command::macro_pairs(long.unwrap_or_else(|| &self.data[self.range(stage)]))
    }

    /// The same macros as a filter sees them that asked for `lists` alone: of a stage with a list what is in it, of the
    /// others all. With `until`, which has a turn now, no macros of later stages.
    #[must_use]
    pub fn restricted(&self, lists: &MacroLists, until: Option<Stage>) -> Self {
        let mut table =
            Self { current: until.or(self.current), missed: self.missed.clone(), ..Self::default() };
        let wanted_at = |stage| match stage {
            // Their macros are those of another stage.
            Stage::Header => Stage::EndOfHeaders,
            Stage::Body => Stage::EndOfMessage,
            stage => stage,
        };
        for stage in Stage::ALL {
            if until.is_some_and(|until| stage > until) && stage != Stage::Unknown {
                continue;
            }
            let list = MacroStage::ALL.into_iter().find(|list| list.stage() == wanted_at(stage));
            let list = list.and_then(|list| lists.get(list));
            let is_wanted = |name: &[u8]| match list {
                Some(list) => list.iter().any(|wanted| bare(wanted.as_bytes()) == bare(name)),
                None => true,
            };
            let mut seen = Vec::new();
            for (name, value) in self.of_stage(stage).filter(|(name, _)| is_wanted(name)) {
                for text in [name, value] {
                    seen.extend_from_slice(text);
                    seen.push(0);
                }
            }
            table.set(stage, &seen);
        }
        table
    }

    /// Bytes of memory that the macros take.
    pub fn allocated(&self) -> usize {
        let long = self.long.iter().flat_map(|lists| lists.values());
        self.data.capacity() + long.map(Vec::capacity).sum::<usize>()
    }

    /// Takes in a packet. What is dropped of it, macros above the limit or a dangling last name, is reported.
    pub(crate) fn receive(&mut self, macros: &Macros<&[u8]>, limit: usize) -> Option<Warning> {
        let (list, warning) = usable(macros, limit);
        // An empty list does not clear what the stage has, and a command that does not exist has no stage.
        if let Some(stage) = macros.command().and_then(Kind::stage).filter(|_| !list.is_empty()) {
            self.set(stage, list);
        }
        warning
    }

    /// Notes that a command is about to be handled: clears the macros of what it makes obsolete.
    pub(crate) fn enter(&mut self, stage: Stage) {
        self.current = Some(stage);
        if matches!(stage, Stage::Connect | Stage::Helo | Stage::Mail | Stage::Rcpt) {
            for later in LASTING {
                if later > stage {
                    self.forget(later);
                }
            }
        }
    }

    /// Notes that a command was handled: macros that came for it alone are gone.
    pub(crate) fn leave(&mut self, stage: Stage) {
        self.current = None;
        if !LASTING.contains(&stage) {
            self.forget(stage);
        }
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        *self = Self { missed: self.missed.take(), ..Self::default() };
    }

    fn forget(&mut self, stage: Stage) {
        if self.lengths[stage.index()] > 0 || self.long.is_some() {
            self.set(stage, &[]);
        }
    }

    fn set(&mut self, stage: Stage, list: &[u8]) {
        let (short, long) = if list.len() <= SHORT { (list, None) } else { (&[][..], Some(list)) };
        let range = self.range(stage);
        self.lengths[stage.index()] = u16::try_from(short.len()).expect("it is short");
        if range.len() == short.len() {
            self.data[range].copy_from_slice(short);
        } else if range.end == self.data.len() {
            self.data.truncate(range.start);
            self.data.extend_from_slice(short);
        } else {
            self.data.splice(range, short.iter().copied());
        }
        if let Some(list) = long {
            self.long.get_or_insert_default().insert(stage, list.to_vec());
        } else if let Some(lists) = &mut self.long {
            lists.remove(&stage);
        }
    }

    /// Where the list of a stage is.
    fn range(&self, stage: Stage) -> Range<usize> {
        let (before, rest) = self.lengths.split_at(stage.index());
        let start = before.iter().map(|length| usize::from(*length)).sum();
        start..start + usize::from(rest[0])
    }
}

/// What a session takes in of a list, and what is wrong with the rest.
fn usable<'b>(macros: &Macros<&'b [u8]>, limit: usize) -> (&'b [u8], Option<Warning>) {
    let list = macros.list;
    // Nearly always all of it, which is seen without looking at each name.
    let strings = nuls(list);
    if list.ends_with(&[0]) && strings.is_multiple_of(2) && strings / 2 <= limit {
        return (list, None);
    }
    let pairs = || macros.pairs().map(|(name, value)| name.len() + value.len() + 2);
    let kept = pairs().take(limit).sum();
    let warning = match pairs().nth(limit) {
        _ if kept == list.len() => None,
        Some(_) => Some(Warning::TooManyMacros { limit }),
        None => Some(Warning::DanglingMacro),
    };
    (&list[..kept], warning)
}

/// How many NULs there are. Lists are short: calling something that is fast on long ones takes longer.
fn nuls(list: &[u8]) -> usize {
    let few = |part: &[u8]| part.iter().fold(0, |count, byte| count + u8::from(*byte == 0));
    list.chunks(usize::from(u8::MAX)).map(|part| usize::from(few(part))).sum()
}

/// A name without its braces.
fn bare(name: &[u8]) -> &[u8] {
    name.strip_prefix(b"{").and_then(|name| name.strip_suffix(b"}")).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(table: &mut MacroTable, code: u8, list: &[u8]) -> bool {
        table.receive(&Macros { code, list }, 1000).is_some()
    }

    #[test]
    fn one_letter_macros_are_found_with_and_without_braces() {
        let mut table = MacroTable::default();
        receive(&mut table, b'C', b"j\0mta\0{i}\0Q1\0{daemon_name}\0d\0");
        for (name, value) in [("j", "mta"), ("{j}", "mta"), ("i", "Q1"), ("{i}", "Q1"), ("daemon_name", "d")]
        {
            assert_eq!(table.get(name), Some(value.as_bytes()), "{name}");
        }
        assert_eq!(table.get("J"), None);
        assert_eq!(table.get(""), None);
    }

    #[test]
    fn the_latest_stage_wins_and_each_packet_replaces_its_stage() {
        let mut table = MacroTable::default();
        receive(&mut table, b'C', b"i\0connect\0j\0mta\0");
        receive(&mut table, b'E', b"i\0eom\0");
        receive(&mut table, b'N', b"i\0eoh\0x\0y\0");
        assert_eq!(table.get("i"), Some(&b"eom"[..]));
        receive(&mut table, b'E', b"k\0v\0");
        assert_eq!(table.get("i"), Some(&b"eoh"[..]));
        receive(&mut table, b'N', b"");
        assert_eq!(table.get("x"), Some(&b"y"[..]), "an empty list clears nothing");
    }

    #[test]
    fn commands_clear_the_macros_of_later_stages() {
        let mut table = MacroTable::default();
        for code in *b"CHMRTNE" {
            receive(&mut table, code, &[code, 0, b'1', 0]);
        }
        table.enter(Stage::Data);
        assert_eq!(table.get("E"), Some(&b"1"[..]), "data clears nothing");
        table.enter(Stage::Rcpt);
        assert_eq!((table.get("T"), table.get("R")), (None, Some(&b"1"[..])));
        table.enter(Stage::Mail);
        assert_eq!((table.get("R"), table.get("M")), (None, Some(&b"1"[..])));
        table.enter(Stage::Helo);
        assert_eq!((table.get("M"), table.get("H")), (None, Some(&b"1"[..])));
        table.enter(Stage::Connect);
        assert_eq!((table.get("H"), table.get("C")), (None, Some(&b"1"[..])));
    }

    #[test]
    fn macros_of_a_header_are_visible_during_that_header_only() {
        let mut table = MacroTable::default();
        receive(&mut table, b'M', b"i\0mail\0");
        receive(&mut table, b'L', b"i\0header\0");
        assert_eq!(table.get("i"), Some(&b"mail"[..]));
        table.enter(Stage::Header);
        assert_eq!(table.get("i"), Some(&b"header"[..]));
        table.leave(Stage::Header);
        table.enter(Stage::Header);
        assert_eq!(table.get("i"), Some(&b"mail"[..]));
    }

    #[test]
    fn a_dangling_name_is_dropped_and_reported() {
        let mut table = MacroTable::default();
        assert!(receive(&mut table, b'C', b"a\x001\0b\0"));
        assert_eq!((table.get("a"), table.get("b")), (Some(&b"1"[..]), None));
        assert!(receive(&mut table, b'C', b"a\x002\0b\0value"));
        assert_eq!((table.get("a"), table.get("b")), (Some(&b"2"[..]), None));
        assert!(receive(&mut table, b'C', b"no NUL at all"));
        assert_eq!(table.get("a"), Some(&b"2"[..]));
        assert!(!receive(&mut table, b'X', b"a\x003\0"), "commands that do not exist are ignored");
    }

    #[test]
    fn the_first_of_duplicate_names_wins() {
        let mut table = MacroTable::default();
        receive(&mut table, b'C', b"a\x001\0{a}\x002\0");
        assert_eq!(table.get("a"), Some(&b"1"[..]));
    }

    #[test]
    fn replacing_macros_for_ever_needs_bounded_memory() {
        let mut table = MacroTable::default();
        for round in 0..100_000_u32 {
            let list = format!("i\0{}\0", "x".repeat((round % 90) as usize));
            receive(&mut table, b"CHMRTNELBU"[(round % 10) as usize], list.as_bytes());
        }
        assert!(table.allocated() < 4096, "{} bytes", table.allocated());
    }

    #[test]
    fn lists_of_any_length_come_and_go_without_touching_others() {
        let mut table = MacroTable::default();
        let mut expected = BTreeMap::new();
        let lengths = [1, SHORT, 3, 2 * SHORT, 5, SHORT - 4, SHORT - 3, 40_000, 2];
        for round in 0..1_000 {
            let code = b"CHMRTNELBU"[round * 7 % 10];
            let value = vec![b'a' + u8::try_from(round % 26).unwrap(); lengths[round % lengths.len()]];
            let stage = Kind::from_code(code).and_then(Kind::stage).unwrap();
            receive(&mut table, code, &[&b"i\0"[..], &value, b"\0"].concat());
            expected.insert(stage, value);
            if round % 50 == 49 {
                table.enter(Stage::Rcpt);
                expected.retain(|stage, _| *stage <= Stage::Rcpt || !LASTING.contains(stage));
            }
            for stage in Stage::ALL {
                let found: Vec<_> = table.of_stage(stage).map(|(_, value)| value).collect();
                assert_eq!(found, expected.get(&stage).into_iter().collect::<Vec<_>>(), "{round} {stage}");
            }
        }
    }

    #[test]
    fn names_that_are_looked_up_in_vain_are_noted_with_their_stage() {
        let missed = Arc::new(MissedMacros::default());
        let mut table = MacroTable::default();
        table.get("before");
        table.note_missed(missed.clone());
        receive(&mut table, b'C', b"j\0mta\0");
        table.enter(Stage::Connect);
        table.get("j");
        table.get("{daemon_name}");
        table.leave(Stage::Connect);
        table.clear();
        table.get("j");
        let expected = [(None, b"j".to_vec()), (Some(Stage::Connect), b"daemon_name".to_vec())];
        assert_eq!(missed.names(), expected);
    }

    #[test]
    fn macros_above_the_limit_are_dropped_and_reported() {
        let mut table = MacroTable::default();
        let list = b"a\x001\0b\x002\0c\x003\0d\x004\0";
        let mut receive = |list, limit| {
            let warning = table.receive(&Macros { code: b'C', list }, limit);
            (warning, table.of_stage(Stage::Connect).count())
        };
        assert_eq!(receive(list, 3), (Some(Warning::TooManyMacros { limit: 3 }), 3));
        assert_eq!(receive(list, 4), (None, 4));
        assert_eq!(receive(&list[..14], 3), (Some(Warning::DanglingMacro), 3));
    }
}
