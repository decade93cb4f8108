//! Building C programs, running them on the library, and talking to them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use tamis_proto::{Command, Frame, Offer};

/// So long may take what is waited for; only a failure waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The folder of this package.
pub(crate) fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder with the library under the name that programs ask for, and the programs.
static BUILT: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    // Cargo builds only what Rust programs link for their tests, and this library is none of that.
    let profile = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Process::new(cargo);
    build.args(["build", "--quiet", "--locked", "--package", "tamis-libmilter"]).current_dir(package());
    if profile.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().unwrap().success());
    let folder = tempfile::tempdir().unwrap();
    for (file, name) in [("libmilter.so", "libmilter.so.1.0.1"), ("libmilter.a", "libmilter.a")] {
        std::os::unix::fs::symlink(profile.join(file), folder.path().join(name)).unwrap();
    }
    folder
});

/// The folder of the library, for `LD_LIBRARY_PATH`.
pub(crate) fn library_folder() -> &'static Path {
    BUILT.path()
}

/// Compiles a C program of this folder, against our headers and the library in one of its forms.
pub(crate) fn compile(name: &str, library: &str) -> PathBuf {
    let program = library_folder().join(format!("{name}-{library}"));
    let status = Process::new("cc")
        .args(["-g", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-o"])
        .arg(&program)
        .arg(package().join("tests/milter/c").join(name).with_extension("c"))
        .arg("-I")
        .arg(package().join("include"))
        .arg("-L")
        .arg(library_folder())
        .args([&format!("-l:{library}"), "-lpthread"])
        .status()
        .expect("a C compiler is installed");
    assert!(status.success());
    program
}

static SCRIPTED: LazyLock<PathBuf> = LazyLock::new(|| compile("scripted", "libmilter.so.1.0.1"));

/// A running filter that does what its script says.
pub(crate) struct Filter {
    child: Child,
    folder: tempfile::TempDir,
    lines: Receiver<String>,
    read: Vec<String>,
}

/// How a filter is to be run.
#[derive(Default)]
pub(crate) struct Run<'a> {
    pub(crate) script: &'a str,
    pub(crate) env: &'a [(&'a str, &'a str)],
    /// Words before the program, such as those that start valgrind.
    pub(crate) under: &'a [&'a str],
    /// The program, if it is not the usual one.
    pub(crate) program: Option<&'a Path>,
    /// Instead of a unix socket in a new folder.
    pub(crate) socket: Option<&'a str>,
}

impl Filter {
    /// Runs a script.
    pub(crate) fn new(script: &str) -> Self {
        Self::run(&Run { script, ..Run::default() })
    }

    pub(crate) fn run(run: &Run<'_>) -> Self {
        let mut filter = Self::spawn(run);
        filter.ready();
        filter
    }

    /// Starts a filter that may not get as far as to listen.
    pub(crate) fn spawn(run: &Run<'_>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        std::fs::write(&script, run.script).unwrap();
        let unix = format!("unix:{}", folder.path().join("socket").display());
        let mut words: Vec<&std::ffi::OsStr> = run.under.iter().map(std::ffi::OsStr::new).collect();
        words.push(run.program.unwrap_or(&SCRIPTED).as_os_str());
        let mut child = Process::new(words[0])
            .args(&words[1..])
            .arg(run.socket.unwrap_or(&unix))
            .arg(&script)
            .env("LD_LIBRARY_PATH", library_folder())
            .envs(run.env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.split(b'\n').map_while(Result::ok) {
                let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
            }
        });
        Self { child, folder, lines, read: Vec::new() }
    }

    /// Waits until the filter listens.
    fn ready(&mut self) {
        let since = Instant::now();
        while !self.socket().exists() {
            assert!(self.child.try_wait().unwrap().is_none(), "the filter ended: {:?}", self.log());
            assert!(since.elapsed() < PATIENCE, "the filter does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Connects, and negotiates what MTAs offer today.
    pub(crate) fn connect(&self) -> Mta {
        let mut mta = self.dial();
        mta.send(&Command::Negotiate(Offer::CURRENT));
        assert_eq!(mta.reply().0, b'O');
        mta
    }

    /// Connects, and says nothing.
    pub(crate) fn dial(&self) -> Mta {
        let since = Instant::now();
        loop {
            match UnixStream::connect(self.socket()) {
                Ok(stream) => return Mta::new(stream),
                // It is bound, and about to listen.
                Err(_) if since.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(5)),
                Err(error) => panic!("cannot connect: {error}"),
            }
        }
    }

    /// Waits for a line of the log that begins like this.
    pub(crate) fn wait_for(&mut self, start: &str) -> String {
        let since = Instant::now();
        loop {
            if let Some(line) = self.read.iter().find(|line| line.starts_with(start)) {
                return line.clone();
            }
            match self.lines.recv_timeout(PATIENCE.saturating_sub(since.elapsed())) {
                Ok(line) => self.read.push(line),
                Err(RecvTimeoutError::Timeout) => panic!("no {start:?} in {:?}", self.read),
                Err(RecvTimeoutError::Disconnected) => panic!("the end, and no {start:?} in {:?}", self.read),
            }
        }
    }

    /// Waits for the end; the whole log, and what the program returned.
    pub(crate) fn end(mut self) -> (Vec<String>, Option<i32>) {
        let code = self.wait_end();
        (self.log(), code)
    }

    fn wait_end(&mut self) -> Option<i32> {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(since.elapsed() < PATIENCE, "the filter does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the filter as an administrator does; the whole log.
    pub(crate) fn stop(self) -> Vec<String> {
        self.signal("TERM");
        let (log, code) = self.end();
        assert_eq!(code, Some(0), "{log:?}");
        log
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Process::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    fn log(&mut self) -> Vec<String> {
        // The reader may be behind the end.
        while let Ok(line) = self.lines.recv() {
            self.read.push(line);
        }
        std::mem::take(&mut self.read)
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An MTA's end of a connection.
pub(crate) struct Mta {
    pub(crate) stream: UnixStream,
    buf: Vec<u8>,
}

/// A letter and a payload.
pub(crate) fn frame(code: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 1).unwrap();
    [&length.to_be_bytes()[..], &[code], payload].concat()
}

/// A payload that each command accepts.
pub(crate) fn usual(code: u8) -> &'static [u8] {
    match code {
        b'C' => b"host.example\x004\x30\x39192.0.2.1\0",
        b'H' => b"helo.example\0",
        b'M' => b"<a@example.com>\0",
        b'R' => b"<b@example.com>\0",
        b'L' => b"Subject\0Hello\0",
        b'B' => b"text\r\n",
        b'U' => b"FOOBAR\0",
        _ => b"",
    }
}

impl Mta {
    fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, buf: Vec::new() }
    }

    pub(crate) fn send(&mut self, command: &Command<Vec<u8>>) {
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        self.send_bytes(&bytes);
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn send_frame(&mut self, code: u8, payload: &[u8]) {
        self.send_bytes(&frame(code, payload));
    }

    /// The next reply: letter and payload.
    pub(crate) fn reply(&mut self) -> (u8, Vec<u8>) {
        self.try_reply().expect("the filter closed the connection")
    }

    /// The next reply, or `None` at the end of the stream.
    pub(crate) fn try_reply(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((used, frame)) = Frame::parse(&self.buf, usize::MAX).unwrap() {
                let reply = (frame.code, frame.payload.to_vec());
                self.buf.drain(..used);
                return Some(reply);
            }
            let mut bytes = vec![0; 1 << 16];
            match self.stream.read(&mut bytes) {
                Ok(0) => {
                    assert!(self.buf.is_empty(), "the end inside a frame: {:?}", self.buf);
                    return None;
                }
                Ok(count) => self.buf.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no reply: {error}"),
            }
        }
    }

    /// Sends commands with their usual payloads; the letters of the replies, one for each that has one.
    pub(crate) fn run(&mut self, codes: &str) -> String {
        let mut letters = String::new();
        for code in codes.bytes() {
            self.send_frame(code, usual(code));
            if !b"ADKQ".contains(&code) {
                letters.push(char::from(self.reply().0));
            }
        }
        letters
    }

    /// Sends one command; the letter and payload of its reply.
    pub(crate) fn ask(&mut self, code: u8, payload: &[u8]) -> (u8, Vec<u8>) {
        self.send_frame(code, payload);
        self.reply()
    }

    /// Waits for the end of the stream, without a further reply.
    pub(crate) fn closed(&mut self) {
        assert_eq!(self.try_reply(), None);
    }
}
