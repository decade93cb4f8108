//! Cases: one small text file for each thing that must work.

mod chain;
mod parse;
mod sections;

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::mta::Kind;
use crate::script::Script;
use crate::text::{self, Pattern};

/// One case as it is for one MTA; `README.md` describes the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Where it was read from.
    pub path: PathBuf,
    /// The only MTA that it is about, if there is one.
    pub only: Option<Kind>,
    /// What the MTA is told.
    pub config: Config,
    /// What the filter does.
    pub script: Script,
    /// Filters that are configured, in place of the script.
    pub configuration: Option<Configuration>,
    /// What the client says and hears.
    pub dialogue: Vec<Step>,
    /// What must have been delivered, in any order.
    pub delivered: Vec<Expected>,
    /// What must be held in the queue.
    pub held: Vec<Expected>,
    /// What the filter must have seen.
    pub events: Vec<ExpectedEvent>,
}

/// Filters of `tamis-filters`, as a chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// The filters, as a configuration has them.
    pub text: String,
    /// Files beside it: name and text.
    pub files: Vec<(String, String)>,
}

/// What is special about the MTA; cases with equal configurations share one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Config {
    /// Which MTA it is.
    pub mta: Kind,
    /// Whether the filter listens on a unix socket.
    pub unix_socket: bool,
    /// Whether the SMTP server runs in a chroot.
    pub chroot: bool,
    /// Lines for the MTA's configuration: name and value.
    pub settings: Vec<(String, String)>,
}

/// One step of the SMTP dialogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send these lines in one write.
    Send(Vec<Vec<u8>>),
    /// Send a message, with dot stuffing and the final dot.
    Message(Vec<Part<Vec<u8>>>),
    /// Read one reply: its lines, of which a lone `...` stands for all that are left.
    Expect(Vec<Pattern>),
    /// Read the end of the connection.
    Closed,
    /// End the session, and open another one.
    Connect,
}

/// Lines of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<T> {
    /// One line, without its end.
    Line(T),
    /// So many bytes of numbered lines.
    Body(usize),
    /// A folded header field with a value of `size` bytes, or the first lines of such a field.
    Header {
        /// The field's name.
        name: String,
        /// How many bytes its value has.
        size: usize,
        /// How many lines of it there are.
        lines: usize,
    },
}

/// A message that is expected somewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// The sender with its arguments.
    pub mail: Pattern,
    /// The recipients with theirs, in any order.
    pub rcpt: Vec<Pattern>,
    /// The lines of the message.
    pub message: Vec<Part<Pattern>>,
}

/// A line of the filter's log that must, or must not, be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpectedEvent {
    /// Comes behind the events expected before it, perhaps with others between.
    Seen(Pattern),
    /// Never comes.
    Never(Pattern),
}

/// A case of several filters, as it is for one way to run them; `README.md` describes the file.
#[derive(Clone, Debug, PartialEq)]
pub struct ChainCase {
    /// Where it was read from.
    pub path: PathBuf,
    /// How the chain runs.
    pub mode: Mode,
    /// How much of a message's bodies may be in memory, where not the library's default.
    pub memory: Option<usize>,
    /// What Postfix is told.
    pub config: Config,
    /// The filters, in order.
    pub filters: Vec<Member>,
    /// What the client says and hears.
    pub dialogue: Vec<Step>,
    /// What must have been delivered, in any order.
    pub delivered: Vec<Expected>,
    /// What must be held in the queue.
    pub held: Vec<Expected>,
    /// The sections that say of themselves that they are not the same for both ways: the name, and the filter's.
    pub differing: Vec<String>,
}

/// One of several filters.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// What it does.
    pub script: Script,
    /// What it must have seen.
    pub events: Vec<ExpectedEvent>,
}

/// How a chain runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One filter after the other, as an MTA does it: filters on connections of their own must do the same.
    Pipeline,
    /// All filters at once, which no MTA does.
    Parallel,
    /// All filters at once, each heard to its end.
    ParallelAll,
}

/// The two ways to run several filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrangement {
    /// Each on a socket of its own: Postfix calls them one by one.
    Separate,
    /// As a chain on one socket.
    Chain,
}

impl Arrangement {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Separate, Self::Chain];

    /// The name that case files use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Separate => "separate",
            Self::Chain => "chain",
        }
    }
}

impl ChainCase {
    /// Reads a case as it is for one arrangement, from its text; the error names file and line.
    pub fn parse(path: &Path, text: &str, arrangement: Arrangement) -> Result<Self, String> {
        chain::case(path, text, arrangement)
            .map_err(|(line, error)| format!("{}:{line}: {error}", path.display()))
    }

    /// Reads all cases of a folder, in the order of their names.
    pub fn read_folder(folder: &Path, arrangement: Arrangement) -> Result<Vec<Self>, String> {
        case_files(folder)?.iter().map(|path| Self::parse(path, &read(path)?, arrangement)).collect()
    }

    /// The file name without its ending.
    pub fn name(&self) -> &str {
        stem(&self.path)
    }
}

impl Case {
    /// Reads a case as it is for one MTA; the error names file and line.
    pub fn read(path: &Path, mta: Kind) -> Result<Self, String> {
        Self::parse(path, &read(path)?, mta)
    }

    /// Reads a case from its text.
    pub fn parse(path: &Path, text: &str, mta: Kind) -> Result<Self, String> {
        parse::case(path, text, mta).map_err(|(line, error)| format!("{}:{line}: {error}", path.display()))
    }

    /// Reads all cases of a folder that are about this MTA, in the order of their names.
    pub fn read_folder(folder: &Path, mta: Kind) -> Result<Vec<Self>, String> {
        let paths = case_files(folder)?;
        let cases: Vec<Self> = paths.iter().map(|path| Self::read(path, mta)).collect::<Result<_, _>>()?;
        Ok(cases.into_iter().filter(|case| case.only.is_none_or(|only| only == mta)).collect())
    }

    /// The file name without its ending.
    pub fn name(&self) -> &str {
        stem(&self.path)
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn case_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let unreadable = |error: io::Error| format!("{}: {error}", folder.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "case") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn stem(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("unnamed")
}

/// Makes the bytes of a message, CRLF behind each line.
pub fn message_bytes(parts: &[Part<Vec<u8>>]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        match part {
            Part::Line(line) => {
                out.extend_from_slice(line);
                out.extend_from_slice(b"\r\n");
            }
            Part::Body(size) => out.append(&mut text::filler_body(*size)),
            Part::Header { name, size, lines } => {
                for line in header_lines(name, *size, *lines) {
                    out.extend_from_slice(&line);
                    out.extend_from_slice(b"\r\n");
                }
            }
        }
    }
    out
}

/// Makes the lines that are expected of a message.
pub fn message_patterns(parts: &[Part<Pattern>]) -> Vec<Pattern> {
    let mut out = Vec::new();
    for part in parts {
        match part {
            Part::Line(line) => out.push(line.clone()),
            Part::Body(size) => {
                let body = text::filler_body(*size);
                let lines = body.split_inclusive(|byte| *byte == b'\n');
                out.extend(lines.map(|line| Pattern::exact(line[..line.len() - 2].to_vec())));
            }
            Part::Header { name, size, lines } => {
                out.extend(header_lines(name, *size, *lines).into_iter().map(Pattern::exact));
            }
        }
    }
    out
}

fn header_lines(name: &str, size: usize, lines: usize) -> Vec<Vec<u8>> {
    let mut field = format!("{name}: ").into_bytes();
    field.append(&mut text::filler_value(size));
    field.split(|byte| *byte == b'\n').take(lines).map(<[u8]>::to_vec).collect()
}
