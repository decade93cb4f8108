//! Sendmail for the interop tests: Debian's packages, unpacked in the build folder and never installed.
//!
//! Installed, Sendmail would take Postfix's place; unpacked, it is a program like any other.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::packages::{is_debian, is_root, run};

/// The daemon, the macros of its configuration, and the program that reads them.
const PACKAGES: [&str; 3] = ["sendmail-bin", "sendmail-cf", "m4"];

/// Where the daemon is in its package.
const PROGRAM: &str = "usr/libexec/sendmail/sendmail";

/// Names a folder with the packages unpacked in it, in place of the usual one.
const VARIABLE: &str = "TAMIS_SENDMAIL";

/// Unpacks Sendmail into the build folder where it is not there.
pub(crate) fn setup(root: &Path) -> Result<()> {
    if require(root).is_ok() {
        eprintln!("    unpacked already: {}", PACKAGES.join(", "));
        return Ok(());
    }
    if !is_debian() {
        bail!(
            "Sendmail is taken from Debian's packages, and this is no Debian: let {VARIABLE} name a folder with \
             {} unpacked in it, and the libraries they need",
            PACKAGES.join(", ")
        );
    }
    let folder = folder(root);
    eprintln!("    unpacking {} in {}", PACKAGES.join(", "), folder.display());
    // Nobody sees it before it is complete.
    let partial = folder.with_extension("partial");
    let downloads = partial.join("downloads");
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))?;
    }
    fs::create_dir_all(&downloads).with_context(|| format!("cannot create {}", downloads.display()))?;
    for package in download_all(&downloads)? {
        run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&partial))?;
    }
    // Set-id programs do not look for libraries where they are told to.
    let program = partial.join(PROGRAM);
    fs::set_permissions(&program, Permissions::from_mode(0o755))
        .with_context(|| format!("no {PROGRAM} in the packages"))?;
    fs::remove_dir_all(&downloads).with_context(|| format!("cannot remove {}", downloads.display()))?;
    fs::rename(&partial, &folder).with_context(|| format!("cannot rename {}", partial.display()))
}

/// Fails if Sendmail is missing, saying how to get it.
pub(crate) fn require(root: &Path) -> Result<()> {
    require_in(&folder(root))
}

fn require_in(folder: &Path) -> Result<()> {
    if folder.join(PROGRAM).is_file() {
        return Ok(());
    }
    bail!("no {PROGRAM} in {}; get it with `cargo xtask setup`", folder.display());
}

fn folder(root: &Path) -> PathBuf {
    env::var_os(VARIABLE).map_or_else(|| root.join("target/sendmail"), PathBuf::from)
}

/// Downloads the packages, and the libraries they need that are not installed; returns the files.
fn download_all(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut wanted: Vec<String> = PACKAGES.map(str::to_owned).into();
    let mut next = 0;
    let mut files = Vec::new();
    while next < wanted.len() {
        let file = download(folder, &wanted[next])?;
        for library in libraries(&relations(&file)?) {
            if !wanted.contains(&library) && !is_installed(&library) {
                wanted.push(library);
            }
        }
        files.push(file);
        next += 1;
    }
    Ok(files)
}

fn download(folder: &Path, package: &str) -> Result<PathBuf> {
    let download = || {
        // As a user of its own it could not write here.
        let mut command = Command::new("apt-get");
        command.args(["--quiet", "-o", "APT::Sandbox::User=root", "download", package]);
        run(command.current_dir(folder).stdin(Stdio::null()))
    };
    if let Err(error) = download() {
        if !is_root()? {
            return Err(error.context("the lists of packages may be missing or old: sudo apt-get update"));
        }
        run(Command::new("apt-get").args(["--quiet", "update"]).stdin(Stdio::null()))?;
        download()?;
    }
    let start = format!("{package}_");
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
        if entry.file_name().to_string_lossy().starts_with(&start) {
            return Ok(entry.path());
        }
    }
    bail!("apt-get has not downloaded {package}");
}

/// What a package depends on, as it says it.
fn relations(file: &Path) -> Result<String> {
    let mut all = String::new();
    for field in ["Pre-Depends", "Depends"] {
        let output = Command::new("dpkg-deb").arg("--field").arg(file).arg(field).output();
        let output = output.context("cannot start `dpkg-deb`")?;
        if !output.status.success() {
            bail!("{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
        }
        all.push_str(&String::from_utf8_lossy(&output.stdout));
        all.push(',');
    }
    Ok(all)
}

/// The libraries among what a package depends on, without the system's own.
fn libraries(relations: &str) -> Vec<String> {
    let first = |relation: &str| {
        let name = relation.split(['|', '(', ':']).next().unwrap_or_default();
        name.trim().to_owned()
    };
    let mut names: Vec<String> = relations.split(',').map(first).collect();
    names.retain(|name| name.starts_with("lib") && name != "libc6" && !name.starts_with("libgcc"));
    names
}

fn is_installed(package: &str) -> bool {
    let query =
        Command::new("dpkg-query").args(["--show", "--showformat=${db:Status-Status}", package]).output();
    query.is_ok_and(|output| output.stdout.starts_with(b"installed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_found_among_what_a_package_depends_on() {
        let relations = "debconf, init-system-helpers (>= 1.54~)\n,sendmail-base (= 8), libc6 (>= 2.34), \
                         libdb5.3, libldap-2.5-0 (>= 2.5.4), libssl3:any | libssl1, perl:any\n,";
        assert_eq!(libraries(relations), ["libdb5.3", "libldap-2.5-0", "libssl3"]);
    }

    #[test]
    fn a_missing_sendmail_comes_with_what_to_do() {
        let error = require_in(Path::new("/no/such/folder")).unwrap_err().to_string();
        assert!(error.ends_with("get it with `cargo xtask setup`"), "{error}");
    }
}
