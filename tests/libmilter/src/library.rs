//! The two libraries, and what programs are compiled and run with.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The name that programs are linked to.
const SONAME: &str = "libmilter.so.1.0.1";

/// Names another file than the one that this repository builds.
const VARIABLE: &str = "TAMIS_LIBMILTER";

/// Names a folder with the Debian packages unpacked in it, in place of the usual one.
const MILTERS_VARIABLE: &str = "TAMIS_MILTERS";

/// Which libmilter a program runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Library {
    /// Sendmail's, as Debian packages it.
    Stock,
    /// The one under test.
    Ours,
}

impl Library {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Stock, Self::Ours];

    /// The file itself.
    pub fn file(self) -> PathBuf {
        match self {
            Self::Stock => libraries().join(SONAME),
            Self::Ours => under_test().join(SONAME),
        }
    }

    /// The folders for `LD_LIBRARY_PATH`: this library first, then whatever the unpacked programs need.
    pub fn search_path(self) -> String {
        let folders = match self {
            Self::Stock => vec![libraries(), milters().join("usr/lib")],
            Self::Ours => vec![under_test().to_owned(), libraries(), milters().join("usr/lib")],
        };
        env::join_paths(folders).expect("no folder of a build has a colon").to_string_lossy().into_owned()
    }

    /// Makes a program run on this library.
    pub fn give_to(self, command: &mut Command) -> &mut Command {
        command.env("LD_LIBRARY_PATH", self.search_path())
    }

    /// Whether a running program has really loaded this library and no other.
    ///
    /// # Panics
    ///
    /// When there is no such process.
    pub fn is_loaded_in(self, process: u32) -> bool {
        let maps = fs::read_to_string(format!("/proc/{process}/maps")).expect("the process is running");
        let file = fs::canonicalize(self.file()).expect("the library was found before");
        let mut loaded = maps.lines().filter(|line| line.contains("libmilter.so"));
        let ours = |line: &str| line.ends_with(&*file.to_string_lossy());
        loaded.clone().next().is_some() && loaded.all(ours)
    }
}

/// The folder that the Debian packages were unpacked in.
///
/// # Panics
///
/// When nothing is there.
pub fn milters() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let usual = || target().join("milters");
        let folder = env::var_os(MILTERS_VARIABLE).map_or_else(usual, PathBuf::from);
        let header = folder.join("usr/include/libmilter/mfapi.h");
        assert!(header.is_file(), "{} is missing: cargo xtask setup", header.display());
        fs::canonicalize(folder).expect("it was just seen")
    })
}

/// The folder of this system's architecture among the unpacked libraries.
///
/// # Panics
///
/// When no libmilter was unpacked.
pub fn libraries() -> PathBuf {
    let all = fs::read_dir(milters().join("usr/lib")).expect("packages with libraries were unpacked");
    let folders = all.filter_map(Result::ok).map(|entry| entry.path());
    let mut with_library = folders.filter(|folder| folder.join(SONAME).is_file());
    with_library.next().unwrap_or_else(|| panic!("{SONAME} is not unpacked: cargo xtask setup"))
}

/// The build folder of the workspace.
pub fn target() -> PathBuf {
    let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    env::var_os("CARGO_TARGET_DIR").map_or_else(usual, PathBuf::from)
}

/// Where the tests put what they make.
pub(crate) fn workshop() -> PathBuf {
    let folder = target().join("libmilter-tests");
    fs::create_dir_all(&folder).expect("the build folder is ours");
    fs::canonicalize(folder).expect("it was just made")
}

/// A folder in which the library under test has the name that programs look for.
fn under_test() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let library = env::var_os(VARIABLE).map_or_else(build, PathBuf::from);
        let library = fs::canonicalize(&library)
            .unwrap_or_else(|error| panic!("{VARIABLE}: {}: {error}", library.display()));
        // One for each file: several tests may run at a time, with other libraries.
        let mut hasher = DefaultHasher::new();
        library.hash(&mut hasher);
        let folder = workshop().join(format!("{:016x}", hasher.finish()));
        fs::create_dir_all(&folder).expect("the build folder is ours");
        let temporary = folder.join(std::process::id().to_string());
        symlink(library, &temporary).expect("only this process uses the name");
        fs::rename(temporary, folder.join(SONAME)).expect("a link can be replaced");
        folder
    })
}

fn build() -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--locked", "--package", "tamis-libmilter"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(
        built.expect("cargo runs this test, so it can be run").success(),
        "tamis-libmilter does not build"
    );
    target().join("debug/libmilter.so")
}
