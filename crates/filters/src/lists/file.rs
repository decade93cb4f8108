//! Files of lists: [`Watched`] is read again when it changes.

#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::{File, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, Guard};
use tokio::runtime::Handle;

/// Something that is read from lines, one after the other.
pub trait ReadLines: Sized + Send + Sync + 'static {
    /// What it is while more may come.
    type Draft: Default;

    /// Whether `remembered:NAME` can be an entry of a list of these; see [`Expiring`](super::Expiring).
    const REMEMBERED: bool = false;

    /// Whether `#` begins a comment behind an entry, too.
    const COMMENTS_BEHIND: bool = true;

    /// Takes an entry.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what to write instead.
    fn add(draft: &mut Self::Draft, entry: &str) -> Result<(), String>;

    /// Makes it ready.
    ///
    /// # Errors
    ///
    /// What is wrong with all of it together.
    fn finish(draft: Self::Draft) -> Result<Self, String>;
}

/// Collects entries, and then what is wrong with some of them.
#[derive(Debug)]
pub struct Lines<T: ReadLines>(T::Draft);

/// A file of entries, which is looked at again when it was not for a second, and read when it is another one by then.
///
/// That happens beside the work: who looks something up never waits for the disk, and may see what was read before.
/// When the new file cannot be read, what was read before stays, which the log says once for each such version.
pub struct Watched<T> {
    path: PathBuf,
    current: ArcSwap<T>,
    /// When it is looked at again, in milliseconds of [`clock`].
    due: AtomicU64,
    /// The version that was looked at last, good or bad.
    seen: Mutex<Seen>,
}

/// A version of a file that was looked at.
#[derive(Debug)]
struct Seen {
    /// None if there was no file.
    stamp: Option<Stamp>,
    text: u64,
    /// Another version would have another stamp: this one was written long enough before it was read, for clocks that
    /// files are stamped with may stand still for some milliseconds.
    settled: bool,
}

/// What came of looking at a file.
#[derive(Debug)]
pub enum Refreshed {
    /// It is the one that was looked at before.
    Same,
    /// It was read.
    Loaded,
    /// It cannot be read; what was there stays.
    Broken(Arc<FileErrors>),
}

/// What is wrong with a file; at least one thing.
#[derive(Debug)]
pub struct FileErrors(Vec<String>);

/// What tells one version of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// How often a file is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Largest file that is read: some millions of entries.
const MOST_BYTES: u64 = 256 << 20;

/// Most mistakes of a file that are told.
const MOST_ERRORS: usize = 10;

impl<T: ReadLines> Lines<T> {
    /// Takes an entry.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn add(&mut self, entry: &str) -> Result<(), String> {
        T::add(&mut self.0, entry)
    }

    /// Makes it ready.
    ///
    /// # Errors
    ///
    /// What is wrong with all of it together.
    pub fn finish(self) -> Result<T, String> {
        T::finish(self.0)
    }

    /// Reads the text of a file; `name` is for its mistakes.
    ///
    /// # Errors
    ///
    /// What is wrong with it, with the numbers of its lines.
    pub fn parse(name: &dyn fmt::Display, text: &[u8]) -> Result<T, FileErrors> {
        let (mut lines, mut errors, mut more) = (Self::default(), Vec::new(), 0);
        for (number, line) in (1_u64..).zip(text.split(|byte| *byte == b'\n')) {
            let added = match std::str::from_utf8(line) {
                Ok(line) => entry_of(line, T::COMMENTS_BEHIND).map_or(Ok(()), |entry| lines.add(entry)),
                Err(_) => Err("the line is not UTF-8".to_owned()),
            };
            match added {
                Ok(()) => {}
                Err(_) if errors.len() == MOST_ERRORS => more += 1,
                Err(error) => errors.push(format!("{name}:{number}: {error}")),
            }
        }
        if more > 0 {
            errors.push(format!("{name}: and {more} more lines with mistakes"));
        }
        if !errors.is_empty() {
            return Err(FileErrors(errors));
        }
        lines.finish().map_err(|error| FileErrors(vec![format!("{name}: {error}")]))
    }
}

impl<T: ReadLines> Default for Lines<T> {
    fn default() -> Self {
        Self(T::Draft::default())
    }
}

/// The entry of a line, if there is one.
fn entry_of(line: &str, comments_behind: bool) -> Option<&str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    if !comments_behind || line.starts_with('/') {
        return Some(line);
    }
    let comment = line.match_indices('#').find(|(at, _)| line[..*at].ends_with([' ', '\t']));
    Some(comment.map_or(line, |(at, _)| line[..at].trim_end()))
}

impl<T: ReadLines> Watched<T> {
    /// Reads a file for the first time.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, FileErrors> {
        let path = path.into();
        let (stamp, text) = fetch(&path);
        let seen = Mutex::new(Seen::new(stamp, &text));
        let current = ArcSwap::from_pointee(parse(&path, text)?);
        Ok(Self { path, current, due: AtomicU64::new(from_now(EVERY)), seen })
    }

    /// What is known of the file now. Where it is time to look at it again, somebody else does.
    pub fn current(self: &Arc<Self>) -> Guard<Arc<T>> {
        let due = self.due.load(Ordering::Relaxed);
        if due <= clock()
            && self.due.compare_exchange(due, from_now(EVERY), Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            let this = self.clone();
            match Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn_blocking(move || this.refresh())),
                Err(_) => drop(this.refresh()),
            }
        }
        self.current.load()
    }

    /// Looks at the file now, and reads it if it is another one.
    pub fn refresh(&self) -> Refreshed {
        // Whoever is at it already sees what there is.
        let Ok(mut seen) = self.seen.try_lock().or_else(|busy| match busy {
            std::sync::TryLockError::Poisoned(poisoned) => Ok(PoisonError::into_inner(poisoned)),
            std::sync::TryLockError::WouldBlock => Err(()),
        }) else {
            return Refreshed::Same;
        };
        let there = std::fs::metadata(&self.path).ok().as_ref().map(Stamp::of);
        if seen.settled && there == seen.stamp {
            return Refreshed::Same;
        }
        let (stamp, text) = fetch(&self.path);
        let before = std::mem::replace(&mut *seen, Seen::new(stamp, &text));
        if before.text == seen.text {
            return Refreshed::Same;
        }
        match parse(&self.path, text) {
            Ok(loaded) => {
                self.current.store(Arc::new(loaded));
                tracing::info!(file = %self.path.display(), "file of a list has changed, and was read again");
                Refreshed::Loaded
            }
            Err(errors) => {
                tracing::warn!(file = %self.path.display(), "file of a list cannot be read, the version before stays: {errors}");
                Refreshed::Broken(Arc::new(errors))
            }
        }
    }
}

impl FileErrors {
    /// One after the other, each with the file and, where it is about one, the line.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl From<String> for FileErrors {
    fn from(error: String) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for FileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for FileErrors {}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Reads what is in a file, and says which version of it.
pub(super) fn read<T: ReadLines>(path: &Path) -> (Option<Stamp>, Result<T, FileErrors>) {
    let (stamp, text) = fetch(path);
    (stamp, parse(path, text))
}

fn parse<T: ReadLines>(path: &Path, text: io::Result<Vec<u8>>) -> Result<T, FileErrors> {
    match text {
        Ok(text) => Lines::parse(&path.display(), &text),
        Err(error) => Err(FileErrors(vec![format!("{}: {error}", path.display())])),
    }
}

/// The bytes of a file, and which version of it they are.
fn fetch(path: &Path) -> (Option<Stamp>, io::Result<Vec<u8>>) {
    let mut stamp = None;
    let text = (|| {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        // Of the file that is open, before it is read: what is written meanwhile is another version.
        stamp = Some(Stamp::of(&metadata));
        if metadata.is_dir() {
            return Err(io::Error::other("is a folder"));
        }
        let mut text = Vec::new();
        file.take(MOST_BYTES + 1).read_to_end(&mut text)?;
        if text.len() as u64 > MOST_BYTES {
            return Err(io::Error::other(format!("exceeds the limit of {MOST_BYTES} bytes")));
        }
        Ok(text)
    })();
    (stamp, text)
}

impl Seen {
    fn new(stamp: Option<Stamp>, text: &io::Result<Vec<u8>>) -> Self {
        /// Longer than any clock stands still.
        const SETTLES: i64 = 2;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let age = |stamp: Stamp| i64::try_from(now).unwrap_or(i64::MAX).saturating_sub(stamp.modified.0);
        let mut hasher = DefaultHasher::new();
        match text {
            Ok(text) => text.hash(&mut hasher),
            Err(error) => error.to_string().hash(&mut hasher),
        }
        Self { stamp, text: hasher.finish(), settled: stamp.is_none_or(|stamp| age(stamp) > SETTLES) }
    }
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Milliseconds since this was first asked.
pub(super) fn clock() -> u64 {
    static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(BEGIN.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A point in time of [`clock`].
pub(super) fn from_now(time: Duration) -> u64 {
    clock().saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
