//! Where Sendmail is, and what it needs to run.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What to do where it is not there.
const SETUP: &str = "run `cargo xtask setup`, or let TAMIS_SENDMAIL name a folder with Debian's packages \
                     sendmail-bin, sendmail-cf and m4 unpacked in it";

/// The unpacked packages.
#[derive(Debug)]
pub(super) struct Installation {
    prefix: PathBuf,
}

impl Installation {
    /// Finds it where `cargo xtask setup` puts it.
    pub(super) fn find() -> Result<Self, String> {
        let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/sendmail");
        let found = Self { prefix: env::var_os("TAMIS_SENDMAIL").map_or_else(usual, PathBuf::from) };
        let program = found.program();
        if program.is_file() {
            return Ok(found);
        }
        Err(format!("Sendmail is not at {}, and this test is about it: {SETUP}", program.display()))
    }

    pub(super) fn program(&self) -> PathBuf {
        self.prefix.join("usr/libexec/sendmail/sendmail")
    }

    /// Turns a configuration source into the configuration.
    pub(super) fn make_cf(&self, source: &Path, cf: &Path) {
        let own = self.prefix.join("usr/bin/m4");
        let macros = self.prefix.join("usr/share/sendmail/cf");
        let mut folder = macros.clone().into_os_string();
        folder.push("/"); // it is put before file names as it is
        let mut define = std::ffi::OsString::from("-D_CF_DIR_=");
        define.push(folder);
        let output = Command::new(if own.is_file() { own } else { "m4".into() })
            .arg(define)
            .arg(macros.join("m4/cf.m4"))
            .arg(source)
            .envs(self.environment())
            .output()
            .unwrap_or_else(|error| panic!("m4, which makes Sendmail's configuration: {error}; {SETUP}"));
        assert!(output.status.success(), "m4: {}; {SETUP}", String::from_utf8_lossy(&output.stderr));
        fs::write(cf, output.stdout).expect("the folder is ours");
    }

    /// Lets programs of these packages find the libraries that were unpacked with them.
    pub(super) fn environment(&self) -> Option<(&'static str, std::ffi::OsString)> {
        let mut folders = Vec::new();
        for parent in ["usr/lib", "lib"].map(|name| self.prefix.join(name)) {
            let entries = fs::read_dir(parent).into_iter().flatten().flatten();
            folders.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
        }
        let joined = env::join_paths(folders).expect("a path has no colon where it could be unpacked");
        (!joined.is_empty()).then_some(("LD_LIBRARY_PATH", joined))
    }
}

/// Makes sure that `unshare --uts` works here.
pub(super) fn require_namespace() -> Result<(), String> {
    static TRIED: OnceLock<Result<(), String>> = OnceLock::new();
    let tried = TRIED.get_or_init(|| {
        let output = Command::new("unshare").args(["--uts", "hostname", "mx.example"]).output();
        match output {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(format!("unshare: {error}")),
        }
    });
    tried.clone().map_err(|error| {
        format!(
            "Sendmail runs under a host name of its own, and this process may not make a UTS namespace for it \
             ({error}): run the test as root, with util-linux and hostname installed; in a container, with the \
             capability to (docker run --cap-add SYS_ADMIN)"
        )
    })
}
