//! A running probe: `probe/probe.c`, compiled once and started on one library or the other.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tamis_proto::trace;
use tempfile::TempDir;

use crate::library::{Library, libraries, milters, workshop};
use crate::play::{Played, patience, play};
use crate::session::{Frames, Session, Setup};

/// What became of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    /// What the filter sent.
    pub replies: Vec<u8>,
    /// What the probe said of each callback.
    pub log: Vec<String>,
    /// What went wrong beyond that: nothing may.
    pub trouble: Vec<String>,
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "replies:")?;
        write!(f, "{}", Frames(&self.replies, |frame| trace::FromFilter(frame).to_string()))?;
        writeln!(f, "callbacks:")?;
        for line in self.log.iter().flat_map(|entry| entry.lines()) {
            writeln!(f, "  {line}")?;
        }
        self.trouble.iter().try_for_each(|trouble| writeln!(f, "TROUBLE: {trouble}"))
    }
}

/// A probe process; ended when dropped.
#[derive(Debug)]
pub struct Probe {
    child: Child,
    control: BufReader<UnixStream>,
    folder: Option<TempDir>,
    closes: bool,
    scripts: u64,
}

/// Something that the probe said.
#[derive(Debug)]
struct Said {
    id: String,
    session: u64,
    text: String,
}

/// How long reports are waited for before it is looked whether the session is over.
const GLANCE: Duration = Duration::from_millis(2);

impl Probe {
    /// Starts a probe and returns when it listens.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start(library: Library, setup: &Setup) -> Self {
        Self::start_under(&[], library, setup)
    }

    /// Starts a probe by way of another program, such as a memory checker with its options.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start_under(wrapper: &[&str], library: Library, setup: &Setup) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let listener = UnixListener::bind(folder.path().join("control")).expect("the folder is ours");
        let mut words = wrapper.iter().map(PathBuf::from).chain([probe_binary().to_owned()]);
        let mut command = Command::new(words.next().expect("there is always the probe"));
        command.args(words).arg(folder.path().join("control")).arg(folder.path().join("milter"));
        command.args(&setup.options);
        if !setup.without.is_empty() {
            let names: Vec<_> = setup.without.iter().map(|callback| callback.name()).collect();
            command.arg(format!("without={}", names.join(",")));
        }
        let errors = std::fs::File::create(folder.path().join("stderr")).expect("the folder is ours");
        let output = std::fs::File::create(folder.path().join("stdout")).expect("the folder is ours");
        library.give_to(&mut command).stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = command.spawn().expect("the probe was just compiled");
        let mut probe = Self::accept(child, &listener, folder, setup);
        let said = probe.hear(patience()).expect("the probe says that it listens");
        assert_eq!(said.text, "listening 0\n", "{}", probe.errors());
        if wrapper.is_empty() {
            assert!(library.is_loaded_in(probe.child.id()), "the probe has not loaded {library:?}");
        }
        probe
    }

    fn accept(mut child: Child, listener: &UnixListener, folder: TempDir, setup: &Setup) -> Self {
        listener.set_nonblocking(true).expect("a listener can be told not to block");
        let deadline = Instant::now() + patience();
        let control = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
                Err(error) => panic!("the probe does not call: {error}"),
            }
            if let Some(status) = child.try_wait().expect("it is our child") {
                let errors = std::fs::read_to_string(folder.path().join("stderr")).unwrap_or_default();
                panic!("the probe ended with {status}: {errors}");
            }
        };
        control.set_nonblocking(false).expect("a stream can be told to block");
        control.set_read_timeout(Some(patience())).expect("20 seconds are no 0");
        let closes = !setup.without.contains(&crate::script::Callback::Close);
        Self { child, control: BufReader::new(control), folder: Some(folder), closes, scripts: 0 }
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The socket that the milter listens on.
    pub fn socket(&self) -> PathBuf {
        self.folder().join("milter")
    }

    /// What it wrote to standard error, the system log included.
    pub fn errors(&self) -> String {
        std::fs::read(self.errors_path())
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .unwrap_or_default()
    }

    /// The file with what it writes to standard error.
    pub fn errors_path(&self) -> PathBuf {
        self.folder().join("stderr")
    }

    /// The file with what it writes to standard output.
    pub fn output_path(&self) -> PathBuf {
        self.folder().join("stdout")
    }

    fn folder(&self) -> &Path {
        self.folder.as_ref().expect("it goes only when the probe does").path()
    }

    /// Runs one session, alone, from its script to the report of its last callback.
    pub fn run(&mut self, session: &Session) -> Transcript {
        let mut transcript = Transcript::default();
        if let Err(error) = self.try_run(session, &mut transcript) {
            let ended = self.child.try_wait().expect("it is our child");
            transcript.trouble.push(format!("{error} (ended: {ended:?}) {}", self.errors()));
        }
        transcript
    }

    fn try_run(&mut self, session: &Session, transcript: &mut Transcript) -> io::Result<()> {
        let id = self.tell(&session.script.to_string())?;
        let stream = UnixStream::connect(self.socket())?;
        let (played, said) = thread::scope(|scope| {
            let playing = scope.spawn(|| play(&stream, session));
            let said = self.listen_to(&playing);
            (playing.join().expect("playing does not panic"), said)
        });
        let (played, mut said) = (played?, said?);
        transcript.replies = played.replies;
        if let Some(turn) = played.hung_at {
            transcript.trouble.push(format!("hangs after turn {turn}"));
        }
        drop(stream);
        while self.closes && !said.last().is_some_and(|said: &Said| said.text.starts_with("close")) {
            said.push(self.hear(patience())?);
        }
        // Whatever was said before this is there once it is answered.
        said.extend(self.tell_and_collect("")?.1);
        let first = said.first().map_or(0, |said| said.session);
        for Said { id: said_id, session, text } in said {
            if said_id != id || session != first {
                transcript
                    .trouble
                    .push(format!("said for another connection ({said_id}, {session}): {text}"));
            }
            transcript.log.push(text);
        }
        Ok(())
    }

    /// Collects what is said meanwhile: a report that is larger than what the socket holds would keep the probe waiting,
    /// and with it the connection.
    fn listen_to(&mut self, playing: &ScopedJoinHandle<'_, io::Result<Played>>) -> io::Result<Vec<Said>> {
        let mut said = Vec::new();
        while !playing.is_finished() {
            self.control.get_ref().set_read_timeout(Some(GLANCE))?;
            match self.control.fill_buf() {
                Ok([]) => return Ok(said),
                Ok(_) => said.push(self.hear(patience())?),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(said)
    }

    /// Gives the probe its next script and returns its number.
    ///
    /// # Errors
    ///
    /// When the probe is gone.
    pub fn tell(&mut self, script: &str) -> io::Result<String> {
        let (id, said) = self.tell_and_collect(script)?;
        match said.first() {
            None => Ok(id),
            Some(said) => Err(io::Error::other(format!("said after the end: {}", said.text))),
        }
    }

    fn tell_and_collect(&mut self, script: &str) -> io::Result<(String, Vec<Said>)> {
        self.scripts += 1;
        let id = self.scripts.to_string();
        let message = format!("{id} {}\n{script}", script.len());
        self.control.get_mut().write_all(message.as_bytes())?;
        let mut before = Vec::new();
        loop {
            let said = self.hear(patience())?;
            if said.id == id && said.text == "ready 0\n" {
                return Ok((id, before));
            }
            before.push(said);
        }
    }

    /// Waits until `count` more reports of close came, and returns all reports with the number of their session.
    ///
    /// # Errors
    ///
    /// When the probe is gone or nothing comes any more.
    pub fn hear_closes(&mut self, count: usize) -> io::Result<Vec<(u64, String)>> {
        let mut heard = Vec::new();
        let mut closes = 0;
        while closes < count {
            let said = self.hear(patience())?;
            closes += usize::from(said.text.starts_with("close"));
            heard.push((said.session, said.text));
        }
        Ok(heard)
    }

    fn hear(&mut self, patience: Duration) -> io::Result<Said> {
        self.control.get_ref().set_read_timeout(Some(patience))?;
        let mut head = String::new();
        if self.control.read_line(&mut head)? == 0 {
            return Err(io::Error::other("the probe is gone"));
        }
        let mut words = head.split_ascii_whitespace();
        let mut word = || words.next().ok_or_else(|| io::Error::other(format!("odd head {head:?}")));
        let (id, session, length) = (word()?.to_owned(), word()?.to_owned(), word()?.to_owned());
        let number =
            |text: &str| text.parse().map_err(|_| io::Error::other(format!("{text:?} is no number")));
        let mut text = vec![0; usize::try_from(number(&length)?).expect("reports fit into memory")];
        self.control.read_exact(&mut text)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(Said { id, session: number(&session)?, text })
    }

    /// Sends a signal and waits for the return of `smfi_main` and the end of the process: what each returned, and the
    /// folder with all that it wrote.
    ///
    /// # Errors
    ///
    /// When `smfi_main` does not return in time.
    pub fn stop(mut self, signal: Signal) -> io::Result<(String, ExitStatus, TempDir)> {
        let process = i32::try_from(self.child.id()).expect("a process id fits");
        kill(Pid::from_raw(process), signal)?;
        let returned = loop {
            let said = self.hear(patience())?;
            if said.id == "probe" {
                break said.text;
            }
        };
        let status = self.child.wait()?;
        Ok((returned, status, self.folder.take().expect("it goes only when the probe does")))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Compiles the probe, once.
fn probe_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| compile("probe.c"))
}

/// Compiles a program from `probe/` against the headers and the name of the stock library.
///
/// # Panics
///
/// When it does not compile.
pub fn compile(source: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("probe").join(source);
    let program = workshop().join(source.file_stem().expect("a source has a name"));
    // Nobody sees it before it is complete.
    let partial = program.with_extension(std::process::id().to_string());
    let status = Command::new("cc")
        .args(["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(milters().join("usr/include"))
        .arg("-o")
        .arg(&partial)
        .arg(&source)
        .arg("-L")
        .arg(libraries())
        .args(["-lmilter", "-pthread"])
        .status();
    let status = status.unwrap_or_else(|error| panic!("cc cannot be run ({error}): a C compiler is needed"));
    assert!(status.success(), "{} does not compile", source.display());
    std::fs::rename(partial, &program).expect("a program can be replaced");
    program
}
