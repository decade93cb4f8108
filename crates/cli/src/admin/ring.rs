//! Records of recent messages, and of clients that were refused before they had one; the oldest make way.

use std::collections::VecDeque;
use std::sync::Arc;

use super::keep::Kept;
use super::record::{About, Records};
use super::search::Search;

/// Most memory of all records of messages, however many are asked for.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The same for refused clients, of which there is less to keep.
const MAX_CLIENT_BYTES: usize = 16 * 1024 * 1024;

/// Recent records.
#[derive(Debug)]
pub(super) struct Ring {
    messages: Shelf,
    /// Apart: whoever is refused may come again and again, and is not to push out what became of messages.
    clients: Shelf,
    /// How many of each are kept at most.
    history: usize,
    /// How many there were ever: the number of the newest.
    last: u64,
}

/// Records of one sort with their numbers, the oldest first.
#[derive(Debug)]
struct Shelf {
    records: VecDeque<(u64, Arc<Kept>)>,
    bytes: usize,
    max_bytes: usize,
}

/// Which records are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted<'a> {
    /// The newest that are searched for, so many of them.
    Last(usize, &'a Search),
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

impl Shelf {
    fn new(max_bytes: usize) -> Self {
        Self { records: VecDeque::new(), bytes: 0, max_bytes }
    }

    fn make_way(&mut self, history: usize) {
        while self.records.len() > history || self.bytes > self.max_bytes {
            let Some((_, oldest)) = self.records.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
    }
}

impl Ring {
    pub(super) fn new(history: u32) -> Self {
        let (messages, clients) = (Shelf::new(MAX_BYTES), Shelf::new(MAX_CLIENT_BYTES));
        Self { messages, clients, history: history as usize, last: 0 }
    }

    pub(super) fn set_history(&mut self, history: u32) {
        self.history = history as usize;
        for shelf in [&mut self.messages, &mut self.clients] {
            shelf.make_way(self.history);
            shelf.records.shrink_to(self.history);
        }
    }

    /// Whether anything is kept at all.
    pub(super) fn is_kept(&self) -> bool {
        self.history > 0
    }

    pub(super) fn len(&self) -> usize {
        self.messages.records.len() + self.clients.records.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.messages.bytes + self.clients.bytes
    }

    /// Takes note of what is over; the oldest of its sort make way.
    pub(super) fn push(&mut self, kept: Arc<Kept>) {
        self.last += 1;
        let sort = match kept.about() {
            About::Message => &mut self.messages,
            About::Client => &mut self.clients,
        };
        sort.bytes += kept.bytes();
        sort.records.push_back((self.last, kept));
        sort.make_way(self.history);
    }

    pub(super) fn find(&self, wanted: Wanted<'_>) -> Found {
        let most = if let Wanted::Last(most, _) = wanted { most.min(MAX_SHOWN) } else { MAX_SHOWN };
        let is_wanted = |(number, kept): &&(u64, Arc<Kept>)| match wanted {
            Wanted::Last(_, search) => search.matches(kept),
            Wanted::QueueId(id) => kept.queue_id.as_deref() == Some(id),
            Wanted::Number(other) => *number == other,
        };
        let newest =
            |shelf: &Shelf| shelf.records.iter().rev().filter(is_wanted).take(most).cloned().collect();
        let mut records: Vec<_> = newest(&self.messages);
        records.extend::<Vec<_>>(newest(&self.clients));
        records.sort_unstable_by_key(|(number, _)| *number);
        records.drain(..records.len().saturating_sub(most));
        let fronts = [&self.messages, &self.clients].into_iter().filter_map(|shelf| shelf.records.front());
        Found {
            records,
            kept: self.len(),
            history: self.history,
            oldest: fronts.min_by_key(|(number, _)| *number).map(|(_, kept)| kept.clone()),
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
        Arc::new(Kept::new(About::Message, &record, &Generation::default()))
    }

    fn client() -> Arc<Kept> {
        Arc::new(Kept::new(About::Client, &chain::Record::default(), &Generation::default()))
    }

    fn numbers(ring: &Ring, wanted: Wanted<'_>) -> Vec<u64> {
        ring.find(wanted).show().records.iter().map(|record| record.number).collect()
    }

    fn last(ring: &Ring, most: usize) -> Vec<u64> {
        numbers(ring, Wanted::Last(most, &Search::default()))
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
        assert_eq!(last(&ring, 10), [3, 4, 5]);
        assert_eq!(last(&ring, 2), [4, 5]);
        let found = ring.find(Wanted::Last(0, &Search::default())).show();
        assert_eq!((found.kept, found.history, found.records.len()), (3, 3, 0));
        assert!(found.since.is_some());
    }

    #[test]
    fn clients_that_are_refused_push_out_no_messages() {
        let mut ring = ring(3, &["a", "b"]);
        (0..10).for_each(|_| ring.push(client()));
        ring.push(kept("c"));
        assert_eq!(last(&ring, 10), [1, 2, 10, 11, 12, 13]);
        assert_eq!(last(&ring, 2), [12, 13]);
        assert_eq!(numbers(&ring, Wanted::Number(11)), [11]);
        ring.set_history(1);
        assert_eq!(last(&ring, 10), [12, 13]);
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
        let mut ring = Ring::new(1_000_000);
        ring.messages.max_bytes = 10 * kept("a").bytes();
        ring.clients.max_bytes = 5 * client().bytes();
        (0..100).for_each(|_| ring.push(kept("a")));
        (0..100).for_each(|_| ring.push(client()));
        assert_eq!((ring.len(), ring.bytes()), (15, ring.messages.max_bytes + ring.clients.max_bytes));
        ring.set_history(0);
        assert_eq!((ring.len(), ring.bytes()), (0, 0));
        ring.push(kept("a"));
        assert_eq!(ring.len(), 0);
        assert_eq!(ring.find(Wanted::Last(1, &Search::default())).show().since, None);
    }
}
