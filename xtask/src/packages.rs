//! The mail programs that the interop tests run, what the benchmarks compare with, and how to get them on Debian and
//! its relatives.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::unpack::{MILTERS, SENDMAIL};

/// A program, or a file by its whole path, and the Debian package it comes in.
struct Needed {
    program: &'static str,
    package: &'static str,
}

/// For the tests with real mail programs.
const NEEDED: [Needed; 6] = [
    Needed { program: "postfix", package: "postfix" },
    Needed { program: "miltertest", package: "miltertest" },
    Needed { program: "opendkim", package: "opendkim" },
    Needed { program: "opendkim-genkey", package: "opendkim-tools" },
    // spamass-milter knows it by its full path only.
    Needed { program: "spamc", package: "spamc" },
    Needed { program: "valgrind", package: "valgrind" },
];

/// For `cargo xtask bench-peers`, which does without what cannot be had.
const PEERS: [Needed; 3] = [
    Needed { program: "cc", package: "gcc" },
    Needed { program: "/usr/include/libmilter/mfapi.h", package: "libmilter-dev" },
    Needed { program: "/usr/lib/python3/dist-packages/Milter/__init__.py", package: "python3-milter" },
];

/// Keeps Postfix's package from writing a configuration: the tests bring their own.
const PRESEED: &str = "postfix postfix/main_mailer_type select No configuration\n";

/// Debian asks this program before it starts a service; 101 means "not allowed".
const POLICY_PATH: &str = "/usr/sbin/policy-rc.d";
const POLICY: &str =
    "#!/bin/sh\n# Written by `cargo xtask setup` while it installs packages; may be removed.\nexit 101\n";

/// Gets what is missing. Installing needs root on a Debian-like system; elsewhere the error says what to type.
pub(crate) fn setup(root: &Path) -> Result<()> {
    install_missing()?;
    SENDMAIL.setup(root)?;
    MILTERS.setup(root)
}

/// Gets what the benchmarks compare with, where that can be done; says what to type where not.
pub(crate) fn setup_peers() -> Result<()> {
    let missing = missing(&PEERS);
    if missing.is_empty() || !is_debian() {
        return Ok(());
    }
    if is_root()? {
        return install(&missing);
    }
    eprintln!("    not found: {}; {}", programs(&missing), by_hand(&missing));
    Ok(())
}

fn install_missing() -> Result<()> {
    let missing = missing(&NEEDED);
    if missing.is_empty() {
        eprintln!("    installed already: {}", NEEDED.map(|needed| needed.package).join(", "));
        return Ok(());
    }
    if !is_debian() {
        bail!(
            "not found: {}; install them with this system's package manager (on Debian they are the packages {})",
            programs(&missing),
            packages(&missing)
        );
    }
    if !is_root()? {
        bail!("not found: {}; {}", programs(&missing), by_hand(&missing));
    }
    install(&missing)?;
    require_installed()
}

/// Fails if a program is missing that the interop tests need, saying how to get it.
pub(crate) fn require(root: &Path) -> Result<()> {
    require_installed()?;
    SENDMAIL.require(root)
}

/// Fails if something is missing that the tests of the drop-in libmilter need, saying how to get it.
pub(crate) fn require_milters(root: &Path) -> Result<()> {
    require_installed()?;
    MILTERS.require(root)
}

fn require_installed() -> Result<()> {
    let missing = missing(&NEEDED);
    if missing.is_empty() {
        return Ok(());
    }
    bail!("not found: {}; install with `cargo xtask setup`", programs(&missing));
}

fn install(missing: &[&Needed]) -> Result<()> {
    eprintln!("    installing {}", packages(missing));
    let _policy = ServicePolicy::forbid_starts(Path::new(POLICY_PATH))?;
    run(&mut apt(&["update"]))?;
    preseed()?;
    let mut command = apt(&["install", "--yes", "--no-install-recommends"]);
    run(command.args(missing.iter().map(|needed| needed.package)))
}

/// Prepares an apt-get command that waits a while for another one to finish, and asks no questions.
fn apt(args: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(["--quiet", "-o", "DPkg::Lock::Timeout=300"]).args(args);
    command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    command
}

fn preseed() -> Result<()> {
    let mut child = Command::new("debconf-set-selections")
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot start `debconf-set-selections`")?;
    let mut input = child.stdin.take().expect("stdin was asked to be a pipe");
    input.write_all(PRESEED.as_bytes()).context("cannot write to `debconf-set-selections`")?;
    drop(input);
    let status = child.wait().context("cannot wait for `debconf-set-selections`")?;
    if !status.success() {
        bail!("`debconf-set-selections` ended with {status}");
    }
    Ok(())
}

pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = shown(command);
    eprintln!("    $ {line}");
    let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// While it lives, packages being installed start no services.
///
/// A policy that was there before is left alone: it is the administrator's. One that an interrupted run left behind
/// is known by its text and is taken over, so that it goes away in the end.
struct ServicePolicy {
    ours: Option<PathBuf>,
}

impl ServicePolicy {
    fn forbid_starts(path: &Path) -> Result<Self> {
        match OpenOptions::new().write(true).create_new(true).mode(0o755).open(path) {
            Ok(mut file) => {
                let policy = Self { ours: Some(path.into()) };
                file.write_all(POLICY.as_bytes())
                    .with_context(|| format!("cannot write {}", path.display()))?;
                Ok(policy)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let left_behind = fs::read(path).is_ok_and(|text| text == POLICY.as_bytes());
                Ok(Self { ours: left_behind.then(|| path.into()) })
            }
            Err(error) => Err(error).with_context(|| format!("cannot create {}", path.display())),
        }
    }
}

impl Drop for ServicePolicy {
    fn drop(&mut self) {
        if let Some(path) = &self.ours
            && let Err(error) = fs::remove_file(path)
        {
            eprintln!(
                "    cannot remove {}: {error}; until it is removed no package can start a service",
                path.display()
            );
        }
    }
}

fn missing(needed: &'static [Needed]) -> Vec<&'static Needed> {
    needed.iter().filter(|needed| !is_installed(needed.program)).collect()
}

/// Looks in PATH and in the folders of system programs, which an ordinary user's PATH often lacks. A whole path is
/// looked for where it says.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(system).any(|folder| folder.join(program).is_file())
}

pub(crate) fn is_debian() -> bool {
    Path::new("/etc/debian_version").exists() && is_installed("apt-get")
}

/// The owner of a process's folder in /proc is its effective user.
pub(crate) fn is_root() -> Result<bool> {
    Ok(fs::metadata("/proc/self").context("cannot tell which user this is")?.uid() == 0)
}

fn programs(missing: &[&Needed]) -> String {
    missing.iter().map(|needed| needed.program).collect::<Vec<_>>().join(", ")
}

fn packages(missing: &[&Needed]) -> String {
    missing.iter().map(|needed| needed.package).collect::<Vec<_>>().join(" ")
}

/// What a user who is not root types to do what [`install`] does.
fn by_hand(missing: &[&Needed]) -> String {
    format!(
        "installing needs root: run `cargo xtask setup` as root, or type\n    \
         echo '{}' | sudo debconf-set-selections\n    \
         sudo apt-get update\n    \
         sudo DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends {}",
        PRESEED.trim_end(),
        packages(missing)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path that nothing uses; tests of one process differ by `name`.
    fn scratch(name: &str) -> PathBuf {
        env::temp_dir().join(format!("tamis-xtask-{}-{name}", std::process::id()))
    }

    #[test]
    fn policy_is_there_while_installing_and_gone_afterwards() {
        let path = scratch("policy");
        let policy = ServicePolicy::forbid_starts(&path).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), POLICY);
        assert_eq!(metadata.mode() & 0o100, 0o100, "the policy is a program");
        drop(policy);
        assert!(!path.exists());
    }

    #[test]
    fn policy_of_the_administrator_is_left_alone() {
        let path = scratch("foreign-policy");
        fs::write(&path, "#!/bin/sh\nexit 0\n").unwrap();
        drop(ServicePolicy::forbid_starts(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "#!/bin/sh\nexit 0\n");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn policy_of_an_interrupted_run_is_removed() {
        let path = scratch("old-policy");
        fs::write(&path, POLICY).unwrap();
        drop(ServicePolicy::forbid_starts(&path).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn instructions_name_only_what_is_missing() {
        let text = by_hand(&[&NEEDED[1]]);
        assert!(text.ends_with("--no-install-recommends miltertest"), "{text}");
    }

    #[test]
    fn program_of_every_system_is_found_and_an_invented_one_is_not() {
        assert!(is_installed("sh"));
        assert!(!is_installed("tamis-no-such-program"));
    }
}
