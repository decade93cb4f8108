//! `cargo xtask package`: the Debian package of the daemon; and the test that it can be installed, used and removed.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::steps::{Cargo, cargo};

pub(crate) const HELP: &str = "\
Builds the program as releases are built, its manual pages and completions, and puts them with systemd's units and a
configuration into target/debian/tamis_VERSION_ARCH.deb. Needs cargo-deb, which is installed into target/tools where it is
missing.

Examples:
  cargo xtask package
  sudo apt install ./target/debian/tamis_*.deb";

/// How the program in the package is built.
#[derive(Clone, Copy)]
enum Profile {
    /// As it is released.
    Release,
    /// As other tests have built it anyway: a test of the package is none of the optimizer.
    Dev,
}

/// Builds it, and says where it is.
pub(crate) fn build(root: &Path) -> Result<PathBuf> {
    build_as(Profile::Release, root)
}

fn build_as(profile: Profile, root: &Path) -> Result<PathBuf> {
    let cargo_deb = cargo_deb(root)?;
    let (build, folder, deb) = match profile {
        Profile::Release => (
            "build --release --package tamis-cli --locked",
            "target/release",
            "deb --package tamis-cli --no-build --locked",
        ),
        Profile::Dev => (
            "build --package tamis-cli --locked",
            "target/debug",
            "deb --package tamis-cli --no-build --locked --profile dev --strip --fast",
        ),
    };
    Cargo::new(build).run(root)?;
    pages(root, &root.join(folder).join("tamis"))?;
    let mut command = Command::new(cargo_deb);
    command.current_dir(root).args(deb.split(' '));
    eprintln!("    $ cargo {deb}");
    let output = command.stderr(Stdio::inherit()).output().context("cannot start cargo-deb")?;
    ensure!(output.status.success(), "cargo-deb ended with {}", output.status);
    // It prints the path of what it made.
    let path = String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().trim().to_owned();
    ensure!(Path::new(&path).is_file(), "cargo-deb made nothing: {path:?}");
    eprintln!("    {path}");
    Ok(path.into())
}

/// What the program writes itself.
fn pages(root: &Path, tamis: &Path) -> Result<()> {
    let folder = root.join("target/package");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("man")).with_context(|| format!("cannot make {}", folder.display()))?;
    let man = folder.join("man");
    say(Command::new(tamis).arg("man").arg(&man))?;
    for (file, args) in [
        ("tamis.toml", ["config", "example"]),
        ("tamis.bash", ["completions", "bash"]),
        ("_tamis", ["completions", "zsh"]),
        ("tamis.fish", ["completions", "fish"]),
    ] {
        let path = folder.join(file);
        fs::write(&path, say(Command::new(tamis).args(args))?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Finds cargo-deb, or installs it where it touches nothing but this repository's build folder.
fn cargo_deb(root: &Path) -> Result<PathBuf> {
    let known =
        Command::new("cargo-deb").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if known.is_ok_and(|status| status.success()) {
        return Ok("cargo-deb".into());
    }
    let own = root.join("target/tools/bin/cargo-deb");
    if !own.is_file() {
        eprintln!("    cargo-deb is missing: installing it into target/tools");
        let mut install = cargo(root);
        install.args(["install", "cargo-deb@3.8.0", "--locked", "--debug", "--root", "target/tools"]);
        let status = install.status().context("cannot start cargo")?;
        ensure!(status.success(), "cargo-deb could not be installed");
    }
    Ok(own)
}

/// Installs the package, uses it and removes it again.
pub(crate) fn test(root: &Path) -> Result<()> {
    let can = fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
        && Command::new("dpkg").arg("--version").stdout(Stdio::null()).status().is_ok_and(|it| it.success());
    if !can {
        eprintln!("    left out: only root can install a package, on Debian and its relatives");
        return Ok(());
    }
    ensure!(!Path::new("/usr/bin/tamis").exists(), "tamis is installed here: the test would take it away");
    let package = build_as(Profile::Dev, root)?;
    let _purge = Purge;
    say(Command::new("dpkg").arg("--install").arg(&package))?;
    for file in INSTALLED {
        ensure!(Path::new(file).exists(), "{file} is not there after the installation");
    }
    let version = say(Command::new("/usr/bin/tamis").arg("--version"))?;
    ensure!(version.starts_with("tamis "), "unexpected version: {version:?}");
    say(Command::new("/usr/bin/tamis").args(["config", "check"]))?;
    units()?;
    runs_as_its_user(root)?;
    say(Command::new("dpkg").args(["--remove", "tamis"]))?;
    ensure!(!Path::new("/usr/bin/tamis").exists(), "the program is there after it was removed");
    ensure!(Path::new("/etc/tamis/tamis.toml").exists(), "the configuration is gone with the program");
    say(Command::new("dpkg").args(["--purge", "tamis"]))?;
    for file in INSTALLED.iter().chain(&["/etc/tamis", "/var/lib/tamis"]) {
        ensure!(!Path::new(file).exists(), "{file} is there after all was purged");
    }
    ensure!(say(Command::new("getent").args(["passwd", "tamis"])).is_err(), "the user is left");
    Ok(())
}

const INSTALLED: [&str; 8] = [
    "/usr/bin/tamis",
    "/etc/tamis/tamis.toml",
    "/usr/lib/systemd/system/tamis.service",
    "/usr/lib/systemd/system/tamis.socket",
    "/usr/share/man/man1/tamis-serve.1.gz",
    "/usr/share/doc/tamis/configuration.md",
    "/usr/share/doc/tamis/examples/tamis.toml",
    "/usr/share/bash-completion/completions/tamis",
];

/// Nothing is left, whatever failed.
struct Purge;

impl Drop for Purge {
    fn drop(&mut self) {
        let purge = Command::new("dpkg")
            .args(["--purge", "tamis"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if purge.is_err() {
            eprintln!("    the package may be left: dpkg --purge tamis");
        }
    }
}

/// Has systemd's own tool read the units.
fn units() -> Result<()> {
    let known = Command::new("systemd-analyze").arg("--version").stdout(Stdio::null()).status();
    if !known.is_ok_and(|status| status.success()) {
        eprintln!("    left out: systemd-analyze verify, which is not here");
        return Ok(());
    }
    let mut verify = Command::new("systemd-analyze");
    say(verify.args(["verify", "--man=no"]).args(INSTALLED.iter().filter(|file| file.contains("/systemd/"))))
        .map(|_| ())
}

/// The daemon, as the unit starts it.
fn runs_as_its_user(root: &Path) -> Result<()> {
    let runtime = Path::new("/run/tamis");
    fs::create_dir_all(runtime).context("cannot make /run/tamis")?;
    say(Command::new("chown").arg("tamis:tamis").arg(runtime))?;
    let mut daemon = Command::new("setpriv");
    daemon.args(["--reuid=tamis", "--regid=tamis", "--init-groups", "--no-new-privs"]);
    daemon.args(["/usr/bin/tamis", "serve", "--config", "/etc/tamis/tamis.toml"]);
    let mut daemon = Ended(daemon.stderr(Stdio::piped()).spawn().context("cannot start the daemon")?);
    let mail = root.join("target/package/message.eml");
    fs::write(&mail, "Subject: hello\r\n\r\nHi!\r\n").context("cannot write a message")?;
    let mut sent = Err(anyhow::anyhow!("never tried"));
    for _ in 0..100 {
        if let Some(status) = daemon.0.try_wait().context("the daemon")? {
            let mut said = String::new();
            if let Some(stderr) = &mut daemon.0.stderr {
                let _ = stderr.read_to_string(&mut said);
            }
            bail!("the daemon ended with {status}: {said}");
        }
        sent = say(Command::new("/usr/bin/tamis").args(["send", "--to", "inet:8899@127.0.0.1"]).arg(&mail));
        if sent.is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    sent.context("no message came through the daemon")?;
    say(Command::new("kill").arg(daemon.0.id().to_string()))?;
    let status = daemon.0.wait().context("the daemon")?;
    ensure!(status.success(), "the daemon ended with {status} after SIGTERM");
    fs::remove_dir_all(runtime).context("cannot remove /run/tamis")
}

/// A program that does not outlive the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command; what it printed.
fn say(command: &mut Command) -> Result<String> {
    let output =
        command.output().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {}", output.status, said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
