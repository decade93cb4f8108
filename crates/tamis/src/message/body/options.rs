//! What bodies may take; all settings have defaults.

use std::path::PathBuf;
use std::time::Duration;

/// Settings of a [`Budget`](super::Budget): how much of bodies is kept, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BodyOptions {
    /// Most bytes of one message's bodies in memory, the old and the new one together; 1 MiB by default. A body that
    /// needs more goes to a file. So much, once it was needed, also stays allocated for the next large body.
    pub memory: usize,
    /// Most bytes of one message's bodies in files; 1 GiB by default. A message that needs more fails.
    pub spool: u64,
    /// Most bytes in memory of all messages together, without 16 KiB that each may have anyway; 256 MiB by default.
    /// Nobody waits for memory: a body that gets none goes to a file.
    pub total_memory: usize,
    /// Most bytes in files of all messages together; 4 GiB by default. A message that needs more waits.
    pub total_spool: u64,
    /// How long a message waits for others to give back room in files before it fails; 5 s by default, as both a
    /// stage's time limit and the patience of Sendmail are above that.
    pub wait: Duration,
    /// The folder of the files, `/var/tmp` by default: `/tmp` is memory on many systems. The files have no names in
    /// it and are gone when the process ends, however it does. Each takes one of the process's open files.
    pub folder: PathBuf,
}

impl Default for BodyOptions {
    fn default() -> Self {
        Self {
            memory: 1 << 20,
            spool: 1 << 30,
            total_memory: 256 << 20,
            total_spool: 4 << 30,
            wait: Duration::from_secs(5),
            folder: PathBuf::from("/var/tmp"),
        }
    }
}
