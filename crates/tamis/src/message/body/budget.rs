//! What the bodies of all messages may take together, and each of them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::blocks::LARGEST;
use super::queue::{Answer, Asked, MessageId, Queue};
use super::{BodyCollector, BodyError, BodyOptions, BodyWriter};

/// Bytes that each message may have in memory without asking, so that small mail passes however much others hold, and
/// costs no counting of all messages.
pub(super) const FREE: usize = 16 * 1024;

/// What the bodies of all messages may take together: bytes in memory and bytes in spool files. Clones are handles of
/// the same budget.
///
/// Nothing of it can lock up:
///
/// 1. Memory is never waited for. A body that gets none goes to a file at once, and gives back what it had.
/// 2. Room in files is waited for, first come first served, without overtaking. Who collects a body waits with it,
///    and so nothing more is read from its MTA.
/// 3. Whoever asks for more than a message, or all of them, may ever have fails at once
///    ([`BodyError::TooLong`]).
/// 4. Waiting ends after [`BodyOptions::wait`] ([`BodyError::NoRoom`]), so that messages which hold room and do not
///    move stop nobody for long.
/// 5. When all room that is taken belongs to messages that wait for more, nobody could ever give anything back. Then
///    the one that began to wait last, of those that hold something, fails at once ([`BodyError::GaveWay`]); with
///    what it had the others go on, and the oldest of them always comes to its end.
/// 6. A body that failed gives back everything at once, and so does one that is dropped, finished or not. Where a file
///    is still written to or being removed, its room comes back when that is done, as the disk does.
///
/// The bytes of a body that is in memory count until the last slice of it is gone. Besides, as much as one message may
/// have stays allocated once it was, for the next.
///
/// ```
/// use tamis::message::{BodyOptions, Budget};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut options = BodyOptions::default();
/// options.memory = 64 * 1024;
/// let budget = Budget::new(options);
/// let mut collector = budget.message().collector();
/// collector.push("Hello\r\n".into()).await?;
/// let body = collector.finish().await?;
/// assert_eq!(body.to_bytes(1024).await?, "Hello\r\n");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: BodyOptions,
    memory: AtomicUsize,
    spool: Mutex<Queue>,
    messages: AtomicU64,
    /// Blocks for whoever needs some next, as many as one message may have.
    blocks: Mutex<Vec<Vec<u8>>>,
}

/// What is taken of a [`Budget`] right now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Bytes in memory, without those that are free for each message.
    pub memory: usize,
    /// Bytes in spool files.
    pub spool: u64,
    /// Bodies that wait for room in files.
    pub waiting: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(BodyOptions::default())
    }
}

impl Budget {
    /// Sets up a budget of its own.
    pub fn new(options: BodyOptions) -> Self {
        let spool = Mutex::new(Queue::new(options.total_spool));
        let (memory, messages) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self(Arc::new(Shared { options, memory, spool, messages, blocks: Mutex::default() }))
    }

    /// Begins the account of one message.
    pub fn message(&self) -> Allowance {
        let id = self.0.messages.fetch_add(1, Ordering::Relaxed);
        Allowance(Arc::new(Message { budget: self.clone(), id, memory: Mutex::new(0) }))
    }

    /// What it was set up with.
    pub fn options(&self) -> &BodyOptions {
        &self.0.options
    }

    /// What is taken right now.
    pub fn usage(&self) -> Usage {
        let spool = self.spool();
        Usage { memory: self.0.memory.load(Ordering::Relaxed), spool: spool.used(), waiting: spool.waiting() }
    }

    fn spool(&self) -> MutexGuard<'_, Queue> {
        // Its only panics are broken invariants of its own.
        self.0.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a block that nobody uses, to be used again if it is a large one: what the system gives for those takes
    /// longer to get than to fill.
    pub(super) fn keep_block(&self, block: Vec<u8>) {
        if block.capacity() != LARGEST {
            return;
        }
        let mut blocks = self.blocks();
        if (blocks.len() + 1) * LARGEST <= self.0.options.memory.min(self.0.options.total_memory) {
            blocks.push(block);
        }
    }

    /// A block with room for [`LARGEST`] bytes, if there is one, with whatever is in it.
    pub(super) fn take_block(&self) -> Option<Vec<u8>> {
        self.blocks().pop()
    }

    fn blocks(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        // Nothing panics while it is held.
        self.0.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_memory(&self, bytes: usize) -> bool {
        let limit = self.0.options.total_memory;
        let more = |used: usize| used.checked_add(bytes).filter(|used| *used <= limit);
        self.0.memory.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

/// What the bodies of one message may take of a [`Budget`]. Clones are handles of the same account.
#[derive(Clone, Debug)]
pub struct Allowance(Arc<Message>);

#[derive(Debug)]
struct Message {
    budget: Budget,
    id: MessageId,
    /// Bytes in memory.
    memory: Mutex<usize>,
}

impl Allowance {
    /// Begins to collect a body.
    pub fn collector(&self) -> BodyCollector {
        BodyCollector::new(self.clone())
    }

    /// Begins to write a new body.
    pub fn writer(&self) -> BodyWriter {
        BodyWriter::new(self.collector())
    }

    /// The budget that it is a part of.
    pub fn budget(&self) -> &Budget {
        &self.0.budget
    }

    pub(super) fn options(&self) -> &BodyOptions {
        self.0.budget.options()
    }

    /// Nothing yet, to be grown.
    pub(super) fn memory(&self) -> MemoryCharge {
        MemoryCharge { allowance: self.clone(), bytes: 0 }
    }

    /// Waits for room in files.
    ///
    /// # Cancel safety
    ///
    /// Nothing is taken, and the place in the queue is free, when the future is dropped.
    pub(super) async fn spool(&self, bytes: u64) -> Result<SpoolCharge, BodyError> {
        let Message { budget, id, .. } = &*self.0;
        let options = budget.options();
        let limit = options.total_spool;
        let asked = budget.spool().ask(*id, bytes, options.spool);
        let (place, answer) = match asked {
            Asked::Granted => return Ok(SpoolCharge { allowance: self.clone(), bytes }),
            Asked::TooMuch => return Err(BodyError::TooLong { limit: options.spool.min(limit) }),
            Asked::Wait(place, answer) => (place, answer),
        };
        let mut waiting = Waiting { allowance: self, place, bytes, answer };
        let began = Instant::now();
        match timeout(options.wait, &mut waiting.answer).await {
            Ok(Ok(Answer::Granted)) => Ok(SpoolCharge { allowance: self.clone(), bytes }),
            Ok(Ok(Answer::GiveWay)) => Err(BodyError::GaveWay { wanted: bytes, limit }),
            Ok(Err(_)) => unreachable!("the queue answers everyone who did not leave it"),
            Err(_) => Err(BodyError::NoRoom { wanted: bytes, limit, waited: began.elapsed() }),
        }
    }

    fn used_memory(&self) -> MutexGuard<'_, usize> {
        // Nothing panics while it is held.
        self.0.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue.
struct Waiting<'a> {
    allowance: &'a Allowance,
    place: u64,
    bytes: u64,
    answer: oneshot::Receiver<Answer>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Message { budget, id, .. } = &*self.allowance.0;
        let mut spool = budget.spool();
        // What was granted in the same moment, and not looked at.
        if !spool.leave(self.place) && self.answer.try_recv() == Ok(Answer::Granted) {
            spool.give_back(*id, self.bytes);
        }
    }
}

/// Bytes in memory that count; given back when it is dropped.
#[derive(Debug)]
pub(super) struct MemoryCharge {
    allowance: Allowance,
    bytes: usize,
}

impl MemoryCharge {
    /// What it is taken of.
    pub(super) fn budget(&self) -> &Budget {
        self.allowance.budget()
    }

    /// Takes more, if there is more for this message and for all.
    pub(super) fn grow(&mut self, more: usize) -> bool {
        let budget = self.allowance.budget();
        let mut used = self.allowance.used_memory();
        let Some(after) = used.checked_add(more).filter(|after| *after <= budget.options().memory) else {
            return false;
        };
        if !budget.take_memory(after.saturating_sub(FREE) - used.saturating_sub(FREE)) {
            return false;
        }
        *used = after;
        self.bytes += more;
        true
    }
}

impl Drop for MemoryCharge {
    fn drop(&mut self) {
        let mut used = self.allowance.used_memory();
        let after = *used - self.bytes;
        let counted = used.saturating_sub(FREE) - after.saturating_sub(FREE);
        self.allowance.budget().0.memory.fetch_sub(counted, Ordering::Relaxed);
        *used = after;
    }
}

/// Bytes in a spool file; given back when it is dropped.
#[derive(Debug)]
pub(super) struct SpoolCharge {
    allowance: Allowance,
    bytes: u64,
}

impl SpoolCharge {
    /// Adds what was taken for the same message.
    pub(super) fn join(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for SpoolCharge {
    fn drop(&mut self) {
        let Message { budget, id, .. } = &*self.allowance.0;
        budget.spool().give_back(*id, self.bytes);
    }
}
