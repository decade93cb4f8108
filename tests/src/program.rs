//! The `tamis` program and the examples, as built from this workspace.

use std::collections::HashMap;
use std::env;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// Builds the program, once, and returns where it is.
///
/// # Panics
///
/// When it does not build.
pub fn tamis_binary() -> PathBuf {
    static BUILT: OnceLock<HashMap<String, PathBuf>> = OnceLock::new();
    BUILT.get_or_init(|| build("tamis-cli"))["tamis"].clone()
}

/// Builds all examples, once, and returns where one is.
///
/// # Panics
///
/// When they do not build, and when there is none of this name.
pub fn example_binary(name: &str) -> PathBuf {
    static BUILT: OnceLock<HashMap<String, PathBuf>> = OnceLock::new();
    BUILT.get_or_init(|| build("tamis-examples"))[name].clone()
}

/// Builds the programs of a package, and returns where they are, by name.
fn build(package: &str) -> HashMap<String, PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--package", package, "--bins"])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs this test, so it can be run");
    assert!(output.status.success(), "{package} does not build");
    let messages = output.stdout.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{"));
    let messages = messages.map(|line| serde_json::from_slice::<Value>(line).expect("cargo writes JSON"));
    let program = |message: Value| {
        let path = message["executable"].as_str()?;
        Some((message["target"]["name"].as_str()?.to_owned(), path.into()))
    };
    messages.filter_map(program).collect()
}

/// `tamis serve` or an example on a port of loopback; ended when dropped.
#[derive(Debug)]
pub struct Served {
    child: Child,
    log: Arc<(Mutex<Vec<String>>, Condvar)>,
}

const PATIENCE: Duration = Duration::from_secs(20);

impl Served {
    /// Starts `tamis serve` with JSON log lines and returns when it listens.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start(address: SocketAddr, arguments: &[&str]) -> Self {
        let mut command = Command::new(tamis_binary());
        let listen = format!("inet:{address}");
        Self::spawn(
            command.args(["serve", "--log-format", "json"]).args(arguments).args(["--listen", &listen]),
        )
    }

    /// Starts `tamis serve` with a configuration, which has it log JSON lines, and returns when it listens.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start_configured(file: &Path) -> Self {
        Self::spawn(Command::new(tamis_binary()).args(["serve", "--config"]).arg(file))
    }

    /// Starts an example and returns when it listens.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start_example(name: &str, address: SocketAddr, arguments: &[&str]) -> Self {
        let listen = format!("inet:{address}");
        Self::spawn(Command::new(example_binary(name)).args(arguments).args(["--listen", &listen]))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program was just built");
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let log = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let lines = Arc::clone(&log);
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                lines.0.lock().expect("nobody panics with the lines").push(line);
                lines.1.notify_all();
            }
        });
        let served = Self { child, log };
        served.wait_for_line("listening");
        served
    }

    /// Waits for a log line with this text and returns it, which is JSON.
    ///
    /// # Panics
    ///
    /// When there is none in time.
    pub fn wait_for(&self, text: &str) -> Value {
        serde_json::from_str(&self.wait_for_line(text)).expect("the log is JSON")
    }

    /// Waits for a log line with this text and returns it.
    ///
    /// # Panics
    ///
    /// When there is none in time.
    pub fn wait_for_line(&self, text: &str) -> String {
        self.wait_for_lines(text, 1).remove(0)
    }

    /// Waits for so many log lines with this text and returns them.
    ///
    /// # Panics
    ///
    /// When there are fewer in time.
    pub fn wait_for_lines(&self, text: &str, count: usize) -> Vec<String> {
        let found = |lines: &[String]| -> Vec<String> {
            lines.iter().filter(|line| line.contains(text)).take(count).cloned().collect()
        };
        let lines = self.log.0.lock().expect("nobody panics with the lines");
        let waited = self.log.1.wait_timeout_while(lines, PATIENCE, |lines| found(lines).len() < count);
        let (lines, _) = waited.expect("nobody panics with the lines");
        let found = found(&lines);
        assert_eq!(found.len(), count, "lines with {text:?} in the log:\n{}", lines.join("\n"));
        found
    }

    /// Sends it a signal, such as `HUP`.
    ///
    /// # Panics
    ///
    /// When that cannot be sent.
    pub fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(kill.expect("kill exists").success());
    }

    /// Asks it to end and returns how it did.
    ///
    /// # Panics
    ///
    /// When it cannot be asked.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal("TERM");
        self.child.wait().expect("it is our child")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
