//! [`Expiring`]: addresses that are remembered for a time, and longer than the program runs.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::NamedTempFile;
use tokio::runtime::Handle;

use super::file::{FileErrors, ReadLines, Stamp, clock, from_now, read};

/// Addresses that are remembered for a time: whom our users have written to, who has sent spam.
///
/// They are in memory, and in a file that is written as a whole beside the work, at most every ten seconds and when the
/// last user of it is gone: a crash costs what was remembered since. The file has a line for each, `TIME ADDRESS`, with
/// the second since 1970 at which it is forgotten; whatever else writes or edits it is believed.
///
/// There is one of these for each file in a program, so that one filter can remember what another looks up.
#[derive(Debug)]
pub struct Expiring {
    path: PathBuf,
    inner: Mutex<Inner>,
    /// When the file is looked at again, in milliseconds of [`clock`].
    due: AtomicU64,
    /// Held by whoever deals with the file; which version of it was read or written last.
    file: Mutex<Option<Stamp>>,
}

#[derive(Debug)]
struct Inner {
    table: Table,
    most: usize,
    /// What was added or removed since the file was read or written.
    changed: HashSet<Arc<str>>,
}

/// What is remembered, with the second at which it is forgotten.
#[derive(Debug, Default)]
struct Table {
    until: HashMap<Arc<str>, u64>,
    order: BTreeSet<(u64, Arc<str>)>,
}

/// Those that are open, by file.
static OPEN: Mutex<Vec<(PathBuf, Weak<Expiring>)>> = Mutex::new(Vec::new());

/// How often the file is looked at, and written at most.
const EVERY: Duration = Duration::from_secs(10);

/// How many are remembered unless something else is said.
pub(crate) const MOST: usize = 100_000;

impl Expiring {
    /// Opens the one of a file; a file that is not there has nothing in it.
    ///
    /// # Errors
    ///
    /// When the file is there and is no such file.
    pub fn open(path: impl Into<PathBuf>) -> Result<Arc<Self>, FileErrors> {
        let path = path.into();
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(_, known)| known.strong_count() > 0);
        let known = open.iter().find(|(known, _)| *known == path).and_then(|(_, known)| known.upgrade());
        if let Some(known) = known {
            return Ok(known);
        }
        let (stamp, table) = load(&path)?;
        let inner = Inner { table, most: MOST, changed: HashSet::new() };
        let new = Arc::new(Self {
            path: path.clone(),
            inner: Mutex::new(inner),
            due: AtomicU64::new(from_now(EVERY)),
            file: Mutex::new(stamp),
        });
        open.push((path, Arc::downgrade(&new)));
        Ok(new)
    }

    /// Bounds how many are remembered; those that would be forgotten first make room. 100,000 unless something else
    /// was said.
    pub fn limit(&self, most: usize) {
        let mut inner = self.lock();
        inner.most = most;
        inner.shrink();
    }

    /// Remembers an address for a time from now; one that is known already, for no shorter time than before.
    pub fn add(self: &Arc<Self>, address: &str, lifetime: Duration) {
        self.add_at(now(), address, lifetime);
        self.look();
    }

    /// Remembers an address that is known for a time from now; says whether it is known.
    pub fn touch(self: &Arc<Self>, address: &str, lifetime: Duration) -> bool {
        let known = self.contains(address);
        if known {
            self.add(address, lifetime);
        }
        known
    }

    /// Whether the address is remembered.
    pub fn contains(self: &Arc<Self>, address: &str) -> bool {
        self.look();
        self.contains_at(now(), address)
    }

    /// Forgets an address.
    pub fn remove(self: &Arc<Self>, address: &str) {
        let mut inner = self.lock();
        let Inner { table, changed, .. } = &mut *inner;
        if let Some(key) = table.remove(address) {
            changed.insert(key);
        }
        drop(inner);
        self.look();
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        let mut inner = self.lock();
        inner.table.expire(now());
        inner.table.until.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the file if somebody else has written it, and writes it if there is something new.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or written; nothing is forgotten then.
    pub fn sync(&self) -> io::Result<()> {
        let mut stamp = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let there = std::fs::metadata(&self.path).ok().as_ref().map(Stamp::of);
        if there.is_some() && there != *stamp {
            let (read, table) = load(&self.path).map_err(io::Error::other)?;
            *stamp = read;
            self.lock().adopt(table);
        }
        let (text, changed) = {
            let mut inner = self.lock();
            inner.table.expire(now());
            if inner.changed.is_empty() {
                return Ok(());
            }
            (inner.table.to_text(), std::mem::take(&mut inner.changed))
        };
        match write(&self.path, &text) {
            Ok(written) => *stamp = Some(written),
            Err(error) => {
                self.lock().changed.extend(changed);
                return Err(error);
            }
        }
        Ok(())
    }

    fn add_at(&self, now: u64, address: &str, lifetime: Duration) {
        let mut inner = self.lock();
        let Inner { table, changed, .. } = &mut *inner;
        table.expire(now);
        if let Some(key) = table.add(address, now.saturating_add(lifetime.as_secs().max(1))) {
            changed.insert(key);
        }
        inner.shrink();
    }

    fn contains_at(&self, now: u64, address: &str) -> bool {
        self.lock().table.until.get(address).is_some_and(|until| *until > now)
    }

    /// Has the file looked at beside the work, if it is time to.
    fn look(self: &Arc<Self>) {
        let due = self.due.load(Ordering::Relaxed);
        if due > clock()
            || self.due.compare_exchange(due, from_now(EVERY), Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            let this = self.clone();
            drop(runtime.spawn_blocking(move || this.sync_or_warn()));
        } else {
            self.sync_or_warn();
        }
    }

    fn sync_or_warn(&self) {
        if let Err(error) = self.sync() {
            tracing::warn!(file = %self.path.display(), "file of what is remembered: {error}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it is held.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what is new, as nobody else will.
impl Drop for Expiring {
    fn drop(&mut self) {
        self.sync_or_warn();
    }
}

impl Inner {
    /// Makes room.
    fn shrink(&mut self) {
        while self.table.until.len() > self.most {
            self.table.pop();
        }
    }

    /// Takes what a file has in place of what there is, but for what was changed since.
    fn adopt(&mut self, mut table: Table) {
        for key in &self.changed {
            match self.table.until.get(key) {
                Some(until) => drop(table.add(key, *until)),
                None => drop(table.remove(key)),
            }
        }
        self.table = table;
        self.shrink();
    }
}

impl Table {
    /// Puts it in, or off; none where it stays as long as it would anyway.
    fn add(&mut self, address: &str, until: u64) -> Option<Arc<str>> {
        let key = match self.until.get_key_value(address) {
            Some((_, before)) if *before >= until => return None,
            Some((key, before)) => {
                let key = key.clone();
                self.order.remove(&(*before, key.clone()));
                key
            }
            None => Arc::from(address),
        };
        self.until.insert(key.clone(), until);
        self.order.insert((until, key.clone()));
        Some(key)
    }

    fn remove(&mut self, address: &str) -> Option<Arc<str>> {
        let (key, until) = self.until.remove_entry(address)?;
        self.order.remove(&(until, key.clone()));
        Some(key)
    }

    /// Takes the one out that would be forgotten first.
    fn pop(&mut self) {
        if let Some((_, key)) = self.order.pop_first() {
            self.until.remove(&key);
        }
    }

    fn expire(&mut self, now: u64) {
        while self.order.first().is_some_and(|(until, _)| *until <= now) {
            self.pop();
        }
    }

    fn to_text(&self) -> String {
        let mut text =
            String::from("# Written by tamis: when it is forgotten, in seconds since 1970, and what.\n");
        for (until, key) in &self.order {
            let _ = writeln!(text, "{until} {key}");
        }
        text
    }
}

impl ReadLines for Table {
    type Draft = Self;
    const COMMENTS_BEHIND: bool = false;

    fn add(draft: &mut Self, entry: &str) -> Result<(), String> {
        let parts = entry.split_once(' ').and_then(|(until, key)| Some((until.parse().ok()?, key)));
        let Some((until, key)) = parts.filter(|(_, key)| is_key(key)) else {
            return Err(format!("{entry:?} is not a second since 1970 and an address"));
        };
        Self::add(draft, key, until);
        Ok(())
    }

    fn finish(mut draft: Self) -> Result<Self, String> {
        draft.expire(now());
        Ok(draft)
    }
}

/// Whether it can stand in a line of the file.
pub(crate) fn is_key(key: &str) -> bool {
    !key.is_empty() && key.trim() == key && !key.contains(char::is_control)
}

/// What a file has, and which version of it that is.
fn load(path: &Path) -> Result<(Option<Stamp>, Table), FileErrors> {
    match read(path) {
        (stamp, Ok(table)) => Ok((stamp, table)),
        (None, Err(_)) if matches!(path.try_exists(), Ok(false)) => Ok((None, Table::default())),
        (_, Err(errors)) => Err(errors),
    }
}

/// Puts another file in the place of the one there is, whole or not at all.
fn write(path: &Path, text: &str) -> io::Result<Stamp> {
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let mut new = NamedTempFile::new_in(folder)?;
    if let Ok(before) = std::fs::metadata(path) {
        new.as_file().set_permissions(before.permissions())?;
    }
    new.write_all(text.as_bytes())?;
    new.as_file().sync_all()?;
    let file = new.persist(path).map_err(|error| error.error)?;
    Ok(Stamp::of(&file.metadata()?))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
