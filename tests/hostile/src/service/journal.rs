//! What a daemon logs in hours: sorted line by line, and only that kept which somebody has to read.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Result, bail};
use serde_json::Value;

use super::site::{REMOTE, SOCKET};
use crate::PATIENCE;

/// The lines so far, sorted by a thread.
#[derive(Debug, Default)]
pub(super) struct Journal {
    inner: Mutex<Inner>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    counts: Counts,
    /// Lines that come once or seldom.
    notices: Vec<String>,
    /// Lines that should not be there, the first of them.
    alarms: Vec<String>,
    ended: bool,
}

/// How many lines there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Messages, by the filter that logs them.
    pub(super) messages: u64,
    /// That the remote milter has failed, or is left alone.
    pub(super) failures: u64,
    /// Configurations taken over.
    pub(super) reloads: u64,
    /// What should not be there.
    pub(super) alarms: u64,
}

/// Alarms that are kept in full.
const KEPT: usize = 100;

/// What a line is about.
#[derive(Debug, PartialEq, Eq)]
enum Matter {
    Message,
    Failure,
    Reload,
    Notice,
    Alarm,
}

impl Matter {
    fn of(line: &str) -> Self {
        // What is no JSON at all is the message of a panic.
        let Ok(json) = serde_json::from_str::<Value>(line) else { return Self::Alarm };
        let text = |key: &str| json[key].as_str().unwrap_or_default();
        if !matches!(text("level"), "INFO" | "DEBUG") {
            let about = text("filter") == REMOTE || text("milter").ends_with(SOCKET);
            let negotiation = text("message").ends_with("it is not asked on this connection");
            return if about || negotiation { Self::Failure } else { Self::Alarm };
        }
        match text("target") {
            "tamis::message" => Self::Message,
            _ if text("message").ends_with("in force for new connections") => Self::Reload,
            _ => Self::Notice,
        }
    }
}

impl Journal {
    /// Reads lines until their end.
    pub(super) fn follow(from: impl Read + Send + 'static) -> Arc<Self> {
        let journal = Arc::new(Self::default());
        let into = journal.clone();
        thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                into.take(line);
            }
            into.inner().ended = true;
            into.more.notify_all();
        });
        journal
    }

    pub(super) fn counts(&self) -> Counts {
        self.inner().counts
    }

    /// The first of the lines that should not be there.
    pub(super) fn alarms(&self) -> Vec<String> {
        self.inner().alarms.clone()
    }

    /// Waits for a line that comes once, by its text.
    pub(super) fn notice(&self, text: &str) -> Result<Value> {
        let is = |line: &&String| line.contains(text);
        let inner = self.wait(|inner| inner.notices.iter().any(|line| is(&line)));
        match inner.notices.iter().find(is) {
            Some(line) => Ok(serde_json::from_str(line)?),
            None => bail!("the log has no line with {text:?}{}", first(&inner.alarms)),
        }
    }

    /// Waits until that many configurations were taken over.
    pub(super) fn reloaded(&self, count: u64) -> Result<()> {
        let inner = self.wait(|inner| inner.counts.reloads >= count);
        if inner.counts.reloads < count {
            bail!("no configuration was taken over for {PATIENCE:?}{}", first(&inner.alarms));
        }
        Ok(())
    }

    fn take(&self, line: String) {
        let mut inner = self.inner();
        let Inner { counts, notices, alarms, .. } = &mut *inner;
        match Matter::of(&line) {
            Matter::Message => counts.messages += 1,
            Matter::Failure => counts.failures += 1,
            Matter::Reload => counts.reloads += 1,
            Matter::Notice if notices.len() < KEPT => notices.push(line),
            Matter::Notice => {
                // The last ones, with those of the beginning.
                notices.remove(KEPT / 2);
                notices.push(line);
            }
            Matter::Alarm => {
                counts.alarms += 1;
                if alarms.len() < KEPT {
                    alarms.push(line);
                }
            }
        }
        drop(inner);
        self.more.notify_all();
    }

    fn wait(&self, is: impl Fn(&Inner) -> bool) -> MutexGuard<'_, Inner> {
        let missing = |inner: &mut Inner| !inner.ended && !is(inner);
        let waited = self.more.wait_timeout_while(self.inner(), PATIENCE, missing);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why, perhaps.
fn first(alarms: &[String]) -> String {
    alarms.first().map(|line| format!(", but {line}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = r#"
{"level":"INFO","target":"tamis::server","message":"listening","address":"inet:1@127.0.0.1"}
{"level":"INFO","target":"tamis::message","message":"queue_id=1"}
{"level":"INFO","target":"tamis::message","message":"queue_id=2"}
{"level":"ERROR","target":"tamis::chain","filter":"remote","message":"filter failed: gone"}
{"level":"WARN","target":"tamis::remote","milter":"unix:/tmp/x/remote.sock","message":"milter is left alone for 1s"}
{"level":"WARN","target":"tamis::remote","message":"milter unix:/tmp/x/remote.sock: refused; it is not asked on this connection"}
{"level":"INFO","target":"tamis::serve","message":"tamis.toml: in force for new connections"}
{"level":"ERROR","target":"tamis::chain","filter":"policy","message":"filter failed: gone"}
thread 'main' panicked"#;

    #[test]
    fn what_nobody_expects_is_an_alarm_and_the_rest_is_counted() {
        let journal = Journal::follow(LOG.trim_start().as_bytes());
        journal.reloaded(1).unwrap();
        assert_eq!(journal.notice("\"listening\"").unwrap()["address"], "inet:1@127.0.0.1");
        assert!(journal.notice("stopped").is_err(), "it waits for the end of the log");
        assert_eq!(journal.counts(), Counts { messages: 2, failures: 3, reloads: 1, alarms: 2 });
        let alarms = journal.alarms();
        assert!(alarms[0].contains("policy") && alarms[1].ends_with("panicked"), "{alarms:?}");
        assert!(journal.reloaded(2).is_err());
    }

    #[test]
    fn lines_that_come_seldom_are_not_kept_for_ever() {
        let journal = Journal::default();
        for number in 0..KEPT * 3 {
            journal.take(format!(r#"{{"level":"INFO","message":"{number}."}}"#));
        }
        assert_eq!(journal.inner().notices.len(), KEPT);
        assert_eq!(journal.notice("\"0.").unwrap()["message"], "0.");
        assert_eq!(journal.notice("\"299.").unwrap()["message"], "299.");
    }
}
