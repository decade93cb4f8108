//! Records of recent messages, of which the oldest make way.

use std::collections::VecDeque;
use std::sync::Arc;

use super::keep::Kept;
use super::record::Records;

/// Most memory of all records, however many are asked for.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Records of recent messages.
#[derive(Debug)]
pub(super) struct Ring {
    /// The oldest first.
    records: VecDeque<Arc<Kept>>,
    /// How many are kept at most.
    history: usize,
    bytes: usize,
    max_bytes: usize,
    /// How many there were ever: the number of the newest.
    last: u64,
}

/// Which records are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted<'a> {
    /// The newest, so many of them.
    Last(usize),
    /// Those with a queue id: MTAs use one again.
    QueueId(&'a [u8]),
    /// The one with a number.
    Number(u64),
}

/// Most records that are shown at once.
pub(super) const MAX_SHOWN: usize = 1000;

/// Records that were found.
pub(super) struct Found {
    records: Vec<(u64, Arc<Kept>)>,
    kept: usize,
    history: usize,
    oldest: Option<Arc<Kept>>,
}

impl Ring {
    pub(super) fn new(history: u32) -> Self {
        let history = history as usize;
        Self { records: VecDeque::new(), history, bytes: 0, max_bytes: MAX_BYTES, last: 0 }
    }

    pub(super) fn set_history(&mut self, history: u32) {
        self.history = history as usize;
        self.make_way();
        self.records.shrink_to(self.history);
    }

    /// Whether anything is kept at all.
    pub(super) fn is_kept(&self) -> bool {
        self.history > 0
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes note of a message; the oldest make way.
    pub(super) fn push(&mut self, kept: Arc<Kept>) {
        self.last += 1;
        self.bytes += kept.bytes();
        self.records.push_back(kept);
        self.make_way();
    }

    fn make_way(&mut self) {
        while self.records.len() > self.history || self.bytes > self.max_bytes {
            let Some(oldest) = self.records.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
    }

    pub(super) fn find(&self, wanted: Wanted<'_>) -> Found {
        let first = self.last + 1 - self.records.len() as u64;
        let all = self.records.iter().enumerate().map(|(place, kept)| (first + place as u64, kept));
        let owned = |(number, kept): (u64, &Arc<Kept>)| (number, kept.clone());
        let mut records: Vec<_> = match wanted {
            Wanted::Last(count) => all.rev().take(count.min(MAX_SHOWN)).map(owned).collect(),
            Wanted::QueueId(id) => {
                let has_it = |(_, kept): &(u64, &Arc<Kept>)| kept.queue_id.as_deref() == Some(id);
                all.rev().filter(has_it).take(MAX_SHOWN).map(owned).collect()
            }
            Wanted::Number(number) => all.filter(|(other, _)| *other == number).map(owned).collect(),
        };
        records.reverse();
        Found {
            records,
            kept: self.records.len(),
            history: self.history,
            oldest: self.records.front().cloned(),
        }
    }
}

impl Found {
    /// The records as they are shown: a matter of some time, and so not of the ring, for which messages wait.
    pub(super) fn show(self) -> Records {
        let Self { records, kept, history, oldest } = self;
        Records {
            kept,
            history,
            since: oldest.map(|oldest| oldest.finished()),
            records: records.into_iter().map(|(number, kept)| kept.show(number)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tamis::chain;

    use super::super::generation::Generation;
    use super::*;

    fn kept(id: &str) -> Arc<Kept> {
        let mut record = chain::Record::default();
        record.queue_id = Some(id.to_owned().into());
        Arc::new(Kept::new(&record, &Generation::default()))
    }

    fn numbers(ring: &Ring, wanted: Wanted<'_>) -> Vec<u64> {
        ring.find(wanted).show().records.iter().map(|record| record.number).collect()
    }

    fn ring(history: u32, ids: &[&str]) -> Ring {
        let mut ring = Ring::new(history);
        for id in ids {
            ring.push(kept(id));
        }
        ring
    }

    #[test]
    fn the_oldest_make_way() {
        let ring = ring(3, &["a", "b", "c", "d", "e"]);
        assert_eq!(numbers(&ring, Wanted::Last(10)), [3, 4, 5]);
        assert_eq!(numbers(&ring, Wanted::Last(2)), [4, 5]);
        let found = ring.find(Wanted::Last(0)).show();
        assert_eq!((found.kept, found.history, found.records.len()), (3, 3, 0));
        assert!(found.since.is_some());
    }

    #[test]
    fn records_are_found_by_queue_id_and_by_number() {
        let ring = ring(4, &["a", "b", "a", "b", "a"]);
        assert_eq!(numbers(&ring, Wanted::QueueId(b"a")), [3, 5]);
        assert_eq!(numbers(&ring, Wanted::QueueId(b"c")), [0; 0]);
        assert_eq!(numbers(&ring, Wanted::Number(4)), [4]);
        for none in [0, 1, 6, u64::MAX] {
            assert_eq!(numbers(&ring, Wanted::Number(none)), [0; 0]);
        }
    }

    #[test]
    fn memory_is_bounded_whatever_is_asked_for() {
        let mut ring = Ring { max_bytes: 10 * kept("a").bytes(), ..Ring::new(1_000_000) };
        (0..100).for_each(|_| ring.push(kept("a")));
        assert_eq!((ring.len(), ring.bytes()), (10, ring.max_bytes));
        ring.set_history(0);
        assert_eq!((ring.len(), ring.bytes()), (0, 0));
        ring.push(kept("a"));
        assert_eq!(ring.len(), 0);
        assert_eq!(ring.find(Wanted::Last(1)).show().since, None);
    }
}
