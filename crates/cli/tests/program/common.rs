//! Running the program, and filters for it to talk to.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use tamis::{Context, Event, Filter, Needs, Reply, Shutdown, Verdict};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Nothing takes that long unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const MESSAGE: &str = "From: a@example.com\r\nSubject: hello\r\n\r\nHi!\r\n";

/// The program, with a clean environment.
pub(crate) fn tamis<'a>(args: impl IntoIterator<Item = &'a str>) -> Command {
    through([], args)
}

/// The program, started by another one.
pub(crate) fn through<'a>(
    starter: impl IntoIterator<Item = &'a str>,
    args: impl IntoIterator<Item = &'a str>,
) -> Command {
    let mut words = starter.into_iter().chain([env!("CARGO_BIN_EXE_tamis")]);
    let mut command = Command::new(words.next().expect("the program at least"));
    command.args(words);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TAMIS_")) {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn run<'a>(args: impl IntoIterator<Item = &'a str>) -> Ran {
    Ran::from(tamis(args).output().unwrap())
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A running `tamis serve`.
pub(crate) struct Serve {
    child: Child,
    lines: Receiver<String>,
    pub(crate) seen: Vec<String>,
    /// Where it listens.
    pub(crate) address: String,
}

impl Serve {
    /// On a free port.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::spawn(tamis(["serve", "--listen", "inet:0@127.0.0.1"].into_iter().chain(args.iter().copied())))
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (send, lines) = channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let mut serve = Self { child, lines, seen: Vec::new(), address: String::new() };
        let line = serve.wait_for("listening");
        serve.address = match serde_json::from_str::<serde_json::Value>(&line) {
            Ok(line) => line["address"].as_str().unwrap().to_owned(),
            Err(_) => line.rsplit(' ').next().unwrap().to_owned(),
        };
        serve
    }

    /// The next line that has this text in it.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(error) => panic!("no line with {text:?}: {error}; seen: {:#?}", self.seen),
            }
        }
    }

    pub(crate) fn send(&self, args: &[&str]) -> Ran {
        let file = file(MESSAGE.as_bytes());
        self.send_file(&file, args)
    }

    pub(crate) fn send_file(&self, file: &Temporary, args: &[&str]) -> Ran {
        run(["send", "--to", &self.address, file.name()].into_iter().chain(args.iter().copied()))
    }

    /// Sends a message, which must be accepted, and returns the line that is logged of it.
    pub(crate) fn log_line(&mut self, args: &[&str]) -> String {
        let ran = self.send(args);
        assert_eq!(ran.code, 0, "{ran:?}");
        self.wait_for("tamis::message")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    /// A connection that has said nothing yet.
    pub(crate) fn connect(&self) -> TcpStream {
        let port = self.address.strip_prefix("inet:").unwrap().strip_suffix("@127.0.0.1").unwrap();
        TcpStream::connect(("127.0.0.1", port.parse().unwrap())).unwrap()
    }

    /// Ends it gently; returns all that it logged.
    pub(crate) fn end(mut self) -> Vec<String> {
        self.signal("TERM");
        assert_eq!(self.wait(), 0);
        std::mem::take(&mut self.seen)
    }

    /// Waits for the end and returns the exit code.
    pub(crate) fn wait(&mut self) -> i32 {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => return self.child.wait().unwrap().code().unwrap(),
                Err(RecvTimeoutError::Timeout) => panic!("it does not end; seen: {:#?}", self.seen),
            }
        }
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file in a folder of its own.
pub(crate) struct Temporary {
    pub(crate) dir: TempDir,
    path: PathBuf,
}

impl Temporary {
    pub(crate) fn name(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

pub(crate) fn file(content: &[u8]) -> Temporary {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::File::create(&path).unwrap().write_all(content).unwrap();
    Temporary { dir, path }
}

/// A filter that does what a function says at each event.
pub(crate) struct Scripted {
    pub(crate) needs: Needs,
    pub(crate) script: fn(&mut Context<'_, ()>, Event) -> Verdict,
}

impl Filter for Scripted {
    type Message = ();

    fn needs(&self) -> Needs {
        self.needs.clone()
    }

    async fn on(&mut self, cx: &mut Context<'_, ()>, event: Event) -> Reply {
        Ok((self.script)(cx, event))
    }
}

/// Runs a filter in this process until it is dropped.
pub(crate) struct Running {
    _runtime: Runtime,
    pub(crate) address: String,
}

pub(crate) fn filter(needs: Needs, script: fn(&mut Context<'_, ()>, Event) -> Verdict) -> Running {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let address = {
        let _in_it = runtime.enter();
        let listeners = tamis::bind(&["inet:0@127.0.0.1".parse().unwrap()]).unwrap();
        let address = listeners[0].local_addr().unwrap();
        let make = move |_: &_| Scripted { needs: needs.clone(), script };
        runtime.spawn(tamis::serve(listeners, make, Shutdown::new()));
        format!("inet:{}@127.0.0.1", address.port())
    };
    Running { _runtime: runtime, address }
}
