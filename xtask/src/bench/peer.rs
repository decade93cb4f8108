//! The programs that are compared.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::packages;
use crate::steps::Cargo;

/// A program of `benches/peers` that does a scenario.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// What it is, for the table of peers.
    pub(crate) about: &'static str,
    program: Program,
    takes_part: TakesPart,
}

#[derive(Debug)]
enum Program {
    /// A binary of the workspace `benches/peers`.
    Rust(&'static str),
    /// `libmilter.c` on the system's library.
    Libmilter,
    /// The same program on the library of this repository.
    LibmilterOnTamis,
    /// `pymilter.py`.
    Pymilter,
    /// So many filters as a chain.
    Chain(&'static str),
}

/// In which of the things to do.
#[derive(Debug)]
enum TakesPart {
    Always,
    /// It cannot do this.
    Not(&'static str),
    /// As another row beside its usual one: in this only, and doing that.
    Also(&'static str, &'static str),
    /// In scenarios about chains only.
    Chains,
}

pub(crate) const FLOOR: &str = "floor";
pub(crate) const FLOOR_TOKIO: &str = "floor-tokio";
pub(crate) const HANDLERS: &str = "tamis-handlers";
pub(crate) const LINEAR: &str = "tamis-linear";
pub(crate) const HANDLERS_SPOOL: &str = "tamis-handlers-spool";
pub(crate) const LINEAR_SPOOL: &str = "tamis-linear-spool";
pub(crate) const MILTR: &str = "miltr";
pub(crate) const LIBMILTER: &str = "libmilter";
pub(crate) const LIBMILTER_ON_TAMIS: &str = "libmilter-tamis";
pub(crate) const PYMILTER: &str = "pymilter";

pub(crate) const CHAINS: [&str; 4] = ["tamis-chain-1", "tamis-chain-2", "tamis-chain-5", "tamis-chain-10"];

/// All there are, in the order of the tables.
pub(crate) const ALL: [Peer; 14] = [
    peer(FLOOR, "the least there is to do: one thread, epoll", Program::Rust("floor")),
    peer(FLOOR_TOKIO, "the same on tokio", Program::Rust("floor-tokio")),
    peer(HANDLERS, "Tamis, a filter of handlers", Program::Rust("tamis-handlers")),
    peer(LINEAR, "Tamis, a filter function", Program::Rust("tamis-linear")),
    Peer {
        takes_part: SPOOL,
        ..peer(HANDLERS_SPOOL, "as above, with 1 MiB of memory and a file", Program::Rust("tamis-handlers"))
    },
    Peer {
        takes_part: SPOOL,
        ..peer(LINEAR_SPOOL, "as above, with 1 MiB of memory and a file", Program::Rust("tamis-linear"))
    },
    Peer {
        takes_part: TakesPart::Not("no-reply"),
        ..peer(MILTR, "miltr-server of crates.io", Program::Rust("miltr"))
    },
    peer(LIBMILTER, "C on the system's libmilter", Program::Libmilter),
    peer(LIBMILTER_ON_TAMIS, "the same program on Tamis' libmilter.so", Program::LibmilterOnTamis),
    peer(PYMILTER, "Python, on libmilter", Program::Pymilter),
    chain(CHAINS[0], "Tamis, a chain of one filter", "1"),
    chain(CHAINS[1], "of two filters", "2"),
    chain(CHAINS[2], "of five", "5"),
    chain(CHAINS[3], "of ten", "10"),
];

const SPOOL: TakesPart = TakesPart::Also("replace25", "replace25-spool");

const fn peer(name: &'static str, about: &'static str, program: Program) -> Peer {
    Peer { name, about, program, takes_part: TakesPart::Always }
}

const fn chain(name: &'static str, about: &'static str, count: &'static str) -> Peer {
    Peer { takes_part: TakesPart::Chains, ..peer(name, about, Program::Chain(count)) }
}

impl Peer {
    pub(crate) fn is_chain(&self) -> bool {
        matches!(self.takes_part, TakesPart::Chains)
    }

    /// How many filters it is, of a chain.
    pub(crate) fn filters(&self) -> Option<f64> {
        match self.program {
            Program::Chain(count) => count.parse().ok(),
            _ => None,
        }
    }

    pub(crate) fn is_floor(&self) -> bool {
        matches!(self.name, FLOOR | FLOOR_TOKIO)
    }

    /// What it is told to do where this is to be done, if it takes part in that.
    pub(crate) fn task(&self, what: &'static str) -> Option<&'static str> {
        match self.takes_part {
            TakesPart::Always => Some(what),
            TakesPart::Not(cannot) => (what != cannot).then_some(what),
            TakesPart::Also(only, does) => (what == only).then_some(does),
            TakesPart::Chains => what.contains(':').then_some(what),
        }
    }
}

/// Where the programs are.
#[derive(Debug)]
pub(crate) struct Built {
    /// The release folder.
    programs: PathBuf,
    /// What is made for benchmarks only.
    pub(crate) folder: PathBuf,
    peers: PathBuf,
}

/// Debian's Python, which Debian's modules are for; another may come first in PATH.
const PYTHON: &str = "/usr/bin/python3";
const PYMILTER_MODULE: &str = "/usr/lib/python3/dist-packages/Milter/__init__.py";
const LIBMILTER_HEADER: &str = "/usr/include/libmilter/mfapi.h";

impl Built {
    /// Builds everything that can be built here; returns it with the peers that there are.
    pub(crate) fn all(root: &Path) -> Result<(Self, Vec<&'static Peer>)> {
        Cargo::new("build --release --package tamis-cli --locked").run(root)?;
        let peers = "build --release --manifest-path benches/peers/Cargo.toml --target-dir target --features others --locked";
        Cargo::new(peers).run(root)?;
        let target = root.join("target");
        let built = Self {
            programs: target.join("release"),
            folder: target.join("bench-peers"),
            peers: root.join("benches/peers"),
        };
        std::fs::create_dir_all(&built.folder)
            .with_context(|| format!("cannot make {}", built.folder.display()))?;
        built.counter()?;
        let mut there = Vec::new();
        for peer in &ALL {
            match built.prepare(peer, root)? {
                None => there.push(peer),
                Some(missing) => eprintln!("    left out: {}, because {missing}", peer.name),
            }
        }
        Ok((built, there))
    }

    /// Makes a peer ready to run, or says what it lacks.
    fn prepare(&self, peer: &Peer, root: &Path) -> Result<Option<String>> {
        let lacks = |path: &Path| (!path.exists()).then(|| format!("there is no {}", path.display()));
        match peer.program {
            Program::Rust(_) | Program::Chain(_) => Ok(None),
            Program::Pymilter => Ok(lacks(Path::new(PYMILTER_MODULE))),
            Program::Libmilter => {
                let lacks = lacks(Path::new(LIBMILTER_HEADER));
                if lacks.is_none() {
                    let (to, from) = (self.folder.join("libmilter"), self.peers.join("libmilter.c"));
                    compile(&["-O2", "-Wall", "-Wextra", "-o"], &to, &from, &["-lmilter"])?;
                }
                Ok(lacks)
            }
            Program::LibmilterOnTamis => {
                let lacks = lacks(&root.join("crates/libmilter/Cargo.toml"))
                    .or_else(|| lacks(&self.folder.join("libmilter")));
                if lacks.is_none() {
                    Cargo::new("build --release --package tamis-libmilter --locked").run(root)?;
                    self.link_library()?;
                }
                Ok(lacks)
            }
        }
    }

    /// The library of this repository, for who is to run on it.
    pub(crate) fn library(&self, peer: &Peer) -> Option<PathBuf> {
        matches!(peer.program, Program::LibmilterOnTamis).then(|| self.programs.join("libmilter.so"))
    }

    /// Puts the library where the loader looks for the name that programs are linked with.
    fn link_library(&self) -> Result<()> {
        let folder = self.folder.join("lib");
        let link = folder.join("libmilter.so.1.0.1");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(self.programs.join("libmilter.so"), &link)
            .with_context(|| format!("cannot make {}", link.display()))
    }

    /// Compiles what counts allocations, where there is a C compiler.
    fn counter(&self) -> Result<()> {
        if packages::is_installed("cc") {
            let source = self.peers.join("allocations.c");
            let to = self.folder.join("allocations.so");
            compile(&["-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o"], &to, &source, &[])?;
        }
        Ok(())
    }

    /// The library that counts the allocations of a program it is loaded into, if there is a C compiler.
    pub(crate) fn allocations(&self) -> Option<PathBuf> {
        Some(self.folder.join("allocations.so")).filter(|path| path.is_file())
    }

    /// The load generator.
    pub(crate) fn tamis(&self) -> PathBuf {
        self.programs.join("tamis")
    }

    /// What makes sure that a peer does its scenario.
    pub(crate) fn check(&self) -> PathBuf {
        self.programs.join("check")
    }

    /// What starts a peer, without its arguments, and what that needs in its environment.
    pub(crate) fn command(&self, peer: &Peer) -> (Vec<PathBuf>, Option<(&'static str, PathBuf)>) {
        match peer.program {
            Program::Rust(name) => (vec![self.programs.join(name)], None),
            Program::Libmilter => (vec![self.folder.join("libmilter")], None),
            Program::LibmilterOnTamis => {
                let libraries = Some(("LD_LIBRARY_PATH", self.folder.join("lib")));
                (vec![self.folder.join("libmilter")], libraries)
            }
            Program::Chain(count) => (vec![self.programs.join("tamis-chain"), count.into()], None),
            Program::Pymilter => (vec![PYTHON.into(), self.peers.join("pymilter.py")], None),
        }
    }
}

fn compile(options: &[&str], to: &Path, source: &Path, libraries: &[&str]) -> Result<()> {
    let mut command = Command::new("cc");
    command.args(options).arg(to).arg(source).args(libraries).stdin(Stdio::null());
    eprintln!("    $ cc … -o {} {}", to.display(), source.display());
    let status = command.status().context("cannot start `cc`")?;
    if !status.success() {
        bail!("`cc` ended with {status} for {}", source.display());
    }
    Ok(())
}
