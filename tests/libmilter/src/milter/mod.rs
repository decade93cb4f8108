//! Programs that are milters, run as they come on one library or the other.

mod mta;
mod stand_in;

use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::library::{Library, libraries, milters};
use crate::play::patience;

pub use mta::{Message, Mta};
pub use stand_in::{Clamd, Spamd};

/// A running milter; ended when dropped.
#[derive(Debug)]
pub struct Milter {
    child: Child,
    library: Library,
    output: PathBuf,
}

impl Milter {
    /// Starts a program on a library; what it writes goes into a file in `folder`.
    ///
    /// # Panics
    ///
    /// When there is no such program.
    pub fn start(library: Library, mut command: Command, folder: &Path) -> Self {
        let output = folder.join("output");
        let file = File::create(&output).expect("the folder is ours");
        let errors = file.try_clone().expect("a file can be shared");
        library.give_to(&mut command).stdin(Stdio::null()).stdout(file).stderr(errors);
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}: cargo xtask setup"));
        Self { child, library, output }
    }

    /// Connects to its unix socket as soon as it listens.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn connect(&mut self, socket: &Path) -> UnixStream {
        self.wait(|| UnixStream::connect(socket))
    }

    /// Waits until something listens at an address of loopback, without connecting to it.
    ///
    /// # Panics
    ///
    /// When nothing does.
    pub fn listens(&mut self, address: std::net::SocketAddr) {
        self.wait(|| {
            if tamis_interop::port::is_listening(address) {
                Ok(())
            } else {
                Err(io::Error::other(format!("nothing listens at {address}")))
            }
        });
    }

    /// Tries something until it works, which is when the milter has started.
    ///
    /// # Panics
    ///
    /// When it does not in time, or the milter runs on another library.
    pub fn wait<T>(&mut self, mut attempt: impl FnMut() -> io::Result<T>) -> T {
        let deadline = Instant::now() + patience();
        loop {
            match attempt() {
                Ok(done) => {
                    let library = self.library;
                    assert!(
                        library.is_loaded_in(self.child.id()),
                        "it runs on another library than {library:?}"
                    );
                    return done;
                }
                Err(error) => {
                    let ended = self.child.try_wait().expect("it is our child");
                    let late = Instant::now() > deadline;
                    assert!(ended.is_none() && !late, "{error}; ended: {ended:?}\n{}", self.output());
                    thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }

    /// What it wrote.
    pub fn output(&self) -> String {
        std::fs::read(&self.output)
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .unwrap_or_default()
    }

    /// Asks it to end, and returns how it did.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub fn stop(mut self) -> ExitStatus {
        let process = i32::try_from(self.child.id()).expect("a process id fits");
        kill(Pid::from_raw(process), Signal::SIGTERM).expect("it is our child");
        let deadline = Instant::now() + patience();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end\n{}", self.output());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Milter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program from the unpacked packages.
pub fn unpacked(program: &str) -> Command {
    Command::new(milters().join(program))
}

/// A Python program of this package, with the modules from the unpacked packages.
pub fn python(program: &str) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.env("PYTHONPATH", milters().join("usr/lib/python3/dist-packages"));
    // Nothing is written beside the sources.
    command.env("PYTHONDONTWRITEBYTECODE", "1").arg(filter(program));
    command
}

/// A Perl program of this package, with the modules from the unpacked packages.
///
/// # Panics
///
/// When no module was unpacked.
pub fn perl(program: &str) -> Command {
    let mut command = Command::new("/usr/bin/perl");
    let modules = libraries().join("perl5");
    let mut versions = std::fs::read_dir(&modules).expect("a module for Perl was unpacked");
    let version = versions.find_map(Result::ok).expect("it is for some version of Perl");
    command.env("PERL5LIB", version.path()).arg(filter(program));
    command
}

fn filter(program: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("filters").join(program)
}

/// Replaces what lies between two marks, wherever it does, by `…`: it is another each time.
pub fn mask(text: &str, after: &str, until: &[char]) -> String {
    let mut pieces = text.split(after);
    let mut masked = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(until).unwrap_or(piece.len());
        masked.push_str(after);
        masked.push('…');
        masked.push_str(&piece[end..]);
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_masked() {
        assert_eq!(mask("a t=12; b; t=3\nt", " t=", &[';', '\n']), "a t=…; b; t=…\nt");
        assert_eq!(mask("nothing", "t=", &[';']), "nothing");
    }
}
