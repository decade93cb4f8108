//! What stands behind an `SMFICTX *`: a number, not an address.
//!
//! A program holds the pointer as long as it likes, hands it to its other threads, and may use it after the connection
//! is gone. So it is never followed. It says in which slot the connection is, and which one of all that were there:
//! a pointer of old finds nothing. Slots stay for the life of the process; connections come and go in them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

use crate::connection::Connection;
use crate::descr::Ctx;

/// Names a connection: a slot, and how often that was in use before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handle {
    index: u32,
    /// Never 0 while a connection is there.
    generation: u32,
}

/// Most connections at a time.
pub(crate) const MAX_CONNECTIONS: usize = (1 << INDEX_BITS) - FIRST;

/// Bits of a pointer for the slot; those above them are for the generation.
const INDEX_BITS: u32 = if usize::BITS >= 64 { 20 } else { 16 };
/// The lowest bits of a pointer to something are 0.
const ALIGN_BITS: u32 = 4;
/// On 64-bit machines no address of a program has it: nothing that scans memory for pointers takes it for one.
const MARK: usize = if usize::BITS >= 64 { 1 << (usize::BITS - 1) } else { 0 };
const GENERATION_BITS: u32 = if usize::BITS >= 64 { 32 } else { usize::BITS - INDEX_BITS - ALIGN_BITS };

impl Handle {
    /// The pointer that programs get.
    pub(crate) fn to_pointer(self) -> Ctx {
        let (index, generation) = (self.index as usize, self.generation as usize);
        let bits = MARK | generation << (INDEX_BITS + ALIGN_BITS) | index << ALIGN_BITS;
        std::ptr::without_provenance_mut(bits)
    }

    /// Reads a pointer that a program gives back; whatever it is.
    pub(crate) fn from_pointer(pointer: Ctx) -> Option<Self> {
        let bits = pointer.addr();
        let index = u32::try_from(bits >> ALIGN_BITS & ((1 << INDEX_BITS) - 1)).ok()?;
        let generation = u32::try_from((bits & !MARK) >> (INDEX_BITS + ALIGN_BITS)).ok()?;
        let handle = Self { index, generation };
        (generation != 0 && handle.to_pointer() == pointer).then_some(handle)
    }

    /// The number that the kernel keeps for it.
    pub(crate) fn to_token(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// What [`Slot::turn`] is while nobody serves it.
    fn idle(self) -> u64 {
        u64::from(self.generation) << 2
    }

    pub(crate) fn from_token(token: u64) -> Self {
        let low = |bits: u64| u32::try_from(bits & 0xffff_ffff).expect("masked to 32 bits");
        Self { index: low(token), generation: low(token >> 32) }
    }
}

/// All connections of the process.
pub(crate) static SLOTS: Slots = Slots::new();

/// Places of connections, in chunks that double and never move.
pub(crate) struct Slots {
    chunks: [OnceLock<Box<[Slot]>>; CHUNKS],
    free: Mutex<Free>,
}

#[derive(Default)]
struct Slot {
    /// The generation, and who serves it: outside of the lock, so that nobody waits who only wants to leave a note.
    turn: AtomicU64,
    place: Mutex<Place>,
}

/// A thread serves the connection.
const TAKEN: u64 = 1;
/// Meanwhile another one was told that something came.
const AGAIN: u64 = 2;

#[derive(Default)]
struct Place {
    generation: u32,
    connection: Option<Box<Connection>>,
}

struct Free {
    /// Slots that were in use, the last one first, which is most likely still in a cache.
    used: Vec<u32>,
    /// Slots from here on never were.
    next: u32,
}

/// Size of the first chunk.
const FIRST: usize = 64;
const CHUNKS: usize = (INDEX_BITS - FIRST.trailing_zeros()) as usize;

impl Slots {
    const fn new() -> Self {
        Self {
            chunks: [const { OnceLock::new() }; CHUNKS],
            free: Mutex::new(Free { used: Vec::new(), next: 0 }),
        }
    }

    /// Makes room for a connection; `None` when all slots are taken.
    pub(crate) fn add(&self, connection: Box<Connection>) -> Option<Handle> {
        let index = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            match free.used.pop() {
                Some(index) => index,
                None if (free.next as usize) < MAX_CONNECTIONS => {
                    free.next += 1;
                    free.next - 1
                }
                None => return None,
            }
        };
        let (chunk, offset) = place(index);
        let slots = self.chunks[chunk].get_or_init(|| (0..FIRST << chunk).map(|_| Slot::default()).collect());
        let mut place = slots[offset].lock();
        let wrapped = u32::try_from((1_u64 << GENERATION_BITS) - 1).expect("at most 32 bits");
        place.generation = if place.generation >= wrapped { 1 } else { place.generation + 1 };
        place.connection = Some(connection);
        let handle = Handle { index, generation: place.generation };
        slots[offset].turn.store(handle.idle(), Ordering::Release);
        Some(handle)
    }

    /// Takes a connection up to serve it; `false` if it is gone, or a thread has it, which is left a note.
    pub(crate) fn take_up(&self, handle: Handle) -> bool {
        let taken = handle.idle() | TAKEN;
        self.pass(handle, |turn| if turn == handle.idle() { taken } else { taken | AGAIN })
            .is_some_and(|before| before == handle.idle())
    }

    /// Lets a connection that was taken up go; `false` if there is a note: it is still taken.
    pub(crate) fn lay_down(&self, handle: Handle) -> bool {
        let taken = handle.idle() | TAKEN;
        self.pass(handle, |turn| if turn == taken { handle.idle() } else { taken })
            .is_none_or(|before| before == taken)
    }

    /// Changes who serves a connection, if it is still there; what it was before.
    fn pass(&self, handle: Handle, next: impl Fn(u64) -> u64) -> Option<u64> {
        let is_there = |turn: u64| turn & !(TAKEN | AGAIN) == handle.idle();
        let turn = &self.slot(handle.index)?.turn;
        let change = |turn| is_there(turn).then(|| next(turn));
        turn.fetch_update(Ordering::AcqRel, Ordering::Acquire, change).ok()
    }

    /// Looks at a connection, if it is still there. Nobody else does at the same time.
    pub(crate) fn with<R>(&self, handle: Handle, look: impl FnOnce(&mut Connection) -> R) -> Option<R> {
        let mut place = self.slot(handle.index)?.lock();
        if place.generation != handle.generation {
            return None;
        }
        place.connection.as_deref_mut().map(look)
    }

    /// Takes a connection out.
    pub(crate) fn remove(&self, handle: Handle) -> Option<Box<Connection>> {
        let slot = self.slot(handle.index)?;
        let mut place = slot.lock();
        if place.generation != handle.generation {
            return None;
        }
        let connection = place.connection.take()?;
        slot.turn.store(0, Ordering::Release);
        drop(place);
        self.free.lock().unwrap_or_else(PoisonError::into_inner).used.push(handle.index);
        Some(connection)
    }

    /// Looks at every connection that nobody looks at right now.
    pub(crate) fn for_each(&self, mut look: impl FnMut(&mut Connection)) {
        for slot in self.chunks.iter().filter_map(OnceLock::get).flatten() {
            let mut place = match slot.place.try_lock() {
                Ok(place) => place,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => continue,
            };
            if let Some(connection) = place.connection.as_deref_mut() {
                look(connection);
            }
        }
    }

    fn slot(&self, index: u32) -> Option<&Slot> {
        if index as usize >= MAX_CONNECTIONS {
            return None;
        }
        let (chunk, offset) = place(index);
        self.chunks[chunk].get()?.get(offset)
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Place> {
        // Whoever panicked with it ends that connection.
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Chunk and place in it of a slot.
fn place(index: u32) -> (usize, usize) {
    let number = index as usize + FIRST;
    let chunk = (number.ilog2() - FIRST.ilog2()) as usize;
    (chunk, number - (FIRST << chunk))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use tamis_proto::{FilterSession, Limits, Rules};

    use super::*;

    fn connection(number: u32) -> Box<Connection> {
        let (ours, _) = UnixStream::pair().unwrap();
        Box::new(Connection::new(ours.into(), number, FilterSession::new(Rules::libmilter(), Limits::new())))
    }

    #[test]
    fn a_pointer_finds_its_connection_and_no_later_one() {
        let slots = Slots::new();
        let first = slots.add(connection(1)).unwrap();
        let again = Handle::from_pointer(first.to_pointer()).unwrap();
        assert_eq!((again, Handle::from_token(first.to_token())), (first, first));
        assert_eq!(slots.with(again, |found| found.number()), Some(1));
        assert!(slots.remove(first).is_some());
        assert!(slots.remove(first).is_none());
        let second = slots.add(connection(2)).unwrap();
        assert_eq!((second.index, second.generation), (first.index, first.generation + 1));
        assert_eq!(slots.with(first, |found| found.number()), None);
        assert_eq!(slots.with(second, |found| found.number()), Some(2));
    }

    #[test]
    fn what_is_no_pointer_of_ours_is_nothing() {
        let here = 0;
        let addresses = [
            0,
            1,
            16,
            0xdead_beef,
            usize::MAX,
            usize::MAX >> 1,
            1 << (usize::BITS - 1),
            (&raw const here).addr(),
        ];
        for address in addresses {
            let pointer = std::ptr::without_provenance_mut(address);
            let found = Handle::from_pointer(pointer);
            assert!(found.is_none_or(|handle| Slots::new().with(handle, |_| ()).is_none()), "{address:#x}");
        }
    }

    #[test]
    fn slots_are_found_in_chunks_that_double() {
        assert_eq!([0, 63, 64, 191, 192].map(place), [(0, 0), (0, 63), (1, 0), (1, 127), (2, 0)]);
        let last = u32::try_from(MAX_CONNECTIONS - 1).unwrap();
        assert_eq!(place(last), (CHUNKS - 1, (FIRST << (CHUNKS - 1)) - 1));
        let slots = Slots::new();
        let handles: Vec<Handle> = (0..200).map(|number| slots.add(connection(number)).unwrap()).collect();
        for (number, handle) in (0..).zip(&handles) {
            assert_eq!(slots.with(*handle, |found| found.number()), Some(number));
        }
        let mut seen = 0;
        slots.for_each(|_| seen += 1);
        assert_eq!(seen, 200);
    }

    #[test]
    fn a_connection_is_served_by_one_thread_at_a_time_and_no_note_is_lost() {
        let slots = Slots::new();
        let handle = slots.add(connection(1)).unwrap();
        assert!(slots.take_up(handle));
        assert!(!slots.take_up(handle));
        assert!(!slots.take_up(handle));
        assert!(!slots.lay_down(handle), "there is a note");
        assert!(!slots.take_up(handle));
        assert!(!slots.lay_down(handle), "and another one");
        assert!(slots.lay_down(handle));
        assert!(slots.take_up(handle));
        assert!(slots.remove(handle).is_some());
        assert!(!slots.take_up(handle), "it is gone");
        let next = slots.add(connection(2)).unwrap();
        assert!(!slots.take_up(handle), "it is another one");
        assert!(slots.take_up(next));
        assert!(slots.lay_down(next));
    }

    #[test]
    fn whatever_threads_are_told_of_is_looked_at_afterwards() {
        let (slots, told, seen) = (Slots::new(), AtomicU64::new(0), AtomicU64::new(0));
        let handle = slots.add(connection(1)).unwrap();
        let serve = || {
            for _ in 0..20_000 {
                told.fetch_add(1, Ordering::SeqCst);
                if slots.take_up(handle) {
                    loop {
                        seen.store(told.load(Ordering::SeqCst), Ordering::SeqCst);
                        if slots.lay_down(handle) {
                            break;
                        }
                    }
                }
            }
        };
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(serve))));
        assert_eq!(seen.into_inner(), told.into_inner());
    }

    #[test]
    fn a_panic_with_a_connection_leaves_the_slot_usable() {
        let slots = Slots::new();
        let handle = slots.add(connection(1)).unwrap();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            slots.with(handle, |_| panic!("on purpose"));
        }));
        assert!(panicked.is_err());
        let mut seen = 0;
        slots.for_each(|_| seen += 1);
        assert_eq!((seen, slots.remove(handle).is_some()), (1, true));
    }
}
