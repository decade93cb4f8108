//! What the server under test logs: JSON lines, each of which an attack must have asked for.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use crate::PATIENCE;

/// The lines so far, filled by a thread.
#[derive(Debug, Default)]
pub struct Log {
    lines: Mutex<Lines>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    all: Vec<Line>,
    ended: bool,
}

/// One line.
#[derive(Clone, Debug, Default)]
struct Line {
    text: String,
    /// A warning or an error; what is no JSON at all, the message of a panic, counts as one.
    alarm: bool,
    peer: String,
    /// An attack said that it is right.
    expected: bool,
}

impl Line {
    fn parse(text: String) -> Self {
        let Ok(json) = serde_json::from_str::<Value>(&text) else {
            return Self { text, alarm: true, ..Self::default() };
        };
        // A control character that a peer smuggled into the log is as bad as a panic.
        let alarm = !matches!(json["level"].as_str(), Some("INFO" | "DEBUG"))
            || text.contains(|char: char| char.is_control());
        Self { alarm, peer: json["peer"].as_str().unwrap_or_default().to_owned(), text, expected: false }
    }
}

impl Log {
    /// Reads lines until their end.
    pub fn follow(from: impl Read + Send + 'static) -> Arc<Self> {
        let log = Arc::new(Self::default());
        let into = log.clone();
        thread::spawn(move || {
            for text in BufReader::new(from).lines().map_while(Result::ok) {
                into.lines().all.push(Line::parse(text));
                into.more.notify_all();
            }
            into.lines().ended = true;
            into.more.notify_all();
        });
        log
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many lines there are: where those of what comes now begin.
    pub fn mark(&self) -> usize {
        self.lines().all.len()
    }

    /// Waits for a line behind `mark` that has this text, and returns it.
    pub fn wait_for(&self, mark: usize, text: &str) -> Result<String> {
        self.wait(mark, |line| line.text.contains(text), || format!("with {text:?}"))
    }

    /// Waits for the line about a peer, which has to have this text, and takes it for expected.
    pub fn expect(&self, mark: usize, peer: &str, text: &str) -> Result<()> {
        let line = self.wait(mark, |line| line.alarm && line.peer == peer, || format!("about {peer}"))?;
        ensure!(line.contains(text), "the log has no {text:?} but {line}");
        Ok(())
    }

    fn wait(&self, mark: usize, is: impl Fn(&Line) -> bool, what: impl Fn() -> String) -> Result<String> {
        let missing = |lines: &mut Lines| !lines.ended && !lines.all[mark..].iter().any(&is);
        let waited = self.more.wait_timeout_while(self.lines(), PATIENCE, missing);
        let (mut lines, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match lines.all[mark..].iter_mut().find(|line| is(line)) {
            Some(line) => {
                line.expected = true;
                Ok(line.text.clone())
            }
            None => bail!("the log has no line {}", what()),
        }
    }

    /// Takes all alarms behind `mark` that have one of these texts for expected; returns how many there are.
    pub fn expect_any(&self, mark: usize, texts: &[&str]) -> usize {
        let mut count = 0;
        for line in &mut self.lines().all[mark..] {
            if line.alarm && texts.iter().any(|text| line.text.contains(text)) {
                line.expected = true;
                count += 1;
            }
        }
        count
    }

    /// Alarms behind `mark` that nobody expected.
    pub fn unexpected(&self, mark: usize) -> Vec<String> {
        let lines = self.lines();
        let alarms = lines.all[mark..].iter().filter(|line| line.alarm && !line.expected);
        alarms.map(|line| line.text.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = r#"
{"level":"INFO","message":"fine"}
{"level":"WARN","peer":"127.0.0.1:1","message":"connection ended: too bad"}
{"level":"WARN","peer":"127.0.0.1:2","message":"connection ended: too bad"}
thread 'main' panicked"#;

    #[test]
    fn every_alarm_has_to_be_expected() {
        let log = Log::follow(LOG.trim_start().as_bytes());
        log.wait_for(0, "panicked").unwrap();
        log.lines().all.iter_mut().for_each(|line| line.expected = false);
        assert_eq!(log.unexpected(0).len(), 3);
        log.expect(0, "127.0.0.1:1", "too bad").unwrap();
        assert_eq!(log.unexpected(0).len(), 2);
        assert_eq!(log.expect_any(0, &["connection ended"]), 2);
        assert_eq!(log.unexpected(0), ["thread 'main' panicked"]);
        assert_eq!(log.unexpected(4), [""; 0]);
        assert!(log.expect(0, "127.0.0.1:2", "good").is_err(), "the wrong reason");
        assert!(log.expect(0, "127.0.0.1:3", "").is_err(), "no line");
    }

    #[test]
    fn control_characters_are_alarms() {
        assert!(Line::parse("{\"level\":\"INFO\",\"message\":\"a\u{9b}\"}".into()).alarm);
    }
}
