//! The queue of a Postfix instance: whether it is idle, and what is held in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::mta::{Held, with_crlf};

/// A look into the queue.
#[derive(Clone, Debug)]
pub struct Queue {
    etc: PathBuf,
    folder: PathBuf,
}

impl Queue {
    pub(crate) fn new(etc: &Path, folder: &Path) -> Self {
        Self { etc: etc.to_owned(), folder: folder.to_owned() }
    }

    /// Waits until no message is on its way; what is held or deferred stays.
    ///
    /// Returns `false` if that did not happen in time.
    pub fn wait_until_idle(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            // In the direction messages go, so that none slips past.
            if ["maildrop", "incoming", "active"].iter().all(|name| self.is_empty(name)) {
                return true;
            }
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether nothing is held or deferred.
    pub fn is_clear(&self) -> bool {
        self.is_empty("hold") && self.deferred_is_empty()
    }

    /// The messages that could not be delivered, as `postqueue` tells about them.
    pub fn deferred(&self) -> Vec<String> {
        self.list("deferred").iter().map(Value::to_string).collect()
    }

    /// The messages on hold.
    ///
    /// # Panics
    ///
    /// When Postfix's own tools do not work on its queue.
    pub fn held(&self) -> Vec<Held> {
        let text = |value: &Value| value.as_str().expect("postqueue writes addresses as strings").to_owned();
        let held = self.list("hold").into_iter().map(|entry| {
            let id = text(&entry["queue_id"]);
            let recipients = entry["recipients"].as_array().expect("every message has recipients");
            Held {
                sender: text(&entry["sender"]),
                recipients: recipients.iter().map(|recipient| text(&recipient["address"])).collect(),
                message: with_crlf(&self.run("postcat", &["-q", "-bh", &id]).stdout),
            }
        });
        held.collect()
    }

    /// Removes everything.
    pub fn clear(&self) {
        self.run("postsuper", &["-d", "ALL"]);
    }

    fn is_empty(&self, name: &str) -> bool {
        fs::read_dir(self.folder.join(name)).is_ok_and(|mut entries| entries.next().is_none())
    }

    /// Deferred messages lie in folders named for the first letter of their id.
    fn deferred_is_empty(&self) -> bool {
        let folders = fs::read_dir(self.folder.join("deferred")).into_iter().flatten().flatten();
        folders
            .into_iter()
            .all(|entry| fs::read_dir(entry.path()).is_ok_and(|mut files| files.next().is_none()))
    }

    fn list(&self, queue: &str) -> Vec<Value> {
        let output = self.run("postqueue", &["-j"]).stdout;
        let entries = output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let entries =
            entries.map(|line| serde_json::from_slice::<Value>(line).expect("postqueue writes JSON"));
        entries.filter(|entry| entry["queue_name"] == queue).collect()
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let output = Command::new(program).arg("-c").arg(&self.etc).args(arguments).output();
        let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }
}
