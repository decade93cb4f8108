//! Debian's packages, unpacked in the build folder and never installed.
//!
//! Sendmail would take Postfix's place if it were installed, and milters bring services, users and databases; unpacked,
//! they are programs like any other.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::packages::{is_debian, is_root, run};

/// Some packages in a folder of their own.
pub(crate) struct Unpacked {
    /// The folder in the build folder.
    name: &'static str,
    /// Names another folder with the packages unpacked in it.
    variable: &'static str,
    packages: &'static [&'static str],
    /// What is there once they are.
    proofs: &'static [&'static str],
    /// Set-id programs do not look for libraries where they are told to.
    set_id: Option<&'static str>,
}

/// The daemon, the macros of its configuration, and the program that reads them.
pub(crate) const SENDMAIL: Unpacked = Unpacked {
    name: "sendmail",
    variable: "TAMIS_SENDMAIL",
    packages: &["sendmail-bin", "sendmail-cf", "m4"],
    proofs: &["usr/libexec/sendmail/sendmail"],
    set_id: Some("usr/libexec/sendmail/sendmail"),
};

/// Sendmail's libmilter with its headers, and milters that run on it.
pub(crate) const MILTERS: Unpacked = Unpacked {
    name: "milters",
    variable: "TAMIS_MILTERS",
    packages: &[
        "libmilter1.0.1",
        "libmilter-dev",
        "opendmarc",
        "spamass-milter",
        "clamav-milter",
        "python3-milter",
        "libsendmail-milter-perl",
    ],
    proofs: &[
        "usr/include/libmilter/mfapi.h",
        "usr/sbin/opendmarc",
        "usr/sbin/spamass-milter",
        "usr/sbin/clamav-milter",
        "usr/lib/python3/dist-packages/Milter",
    ],
    set_id: None,
};

impl Unpacked {
    /// Unpacks what is not there into the build folder.
    pub(crate) fn setup(&self, root: &Path) -> Result<()> {
        if self.require(root).is_ok() {
            eprintln!("    unpacked already: {}", self.packages.join(", "));
            return Ok(());
        }
        if !is_debian() {
            bail!(
                "{} are taken from Debian's packages, and this is no Debian: let {} name a folder with them unpacked \
                 in it, and the libraries they need",
                self.packages.join(", "),
                self.variable
            );
        }
        let folder = self.folder(root);
        eprintln!("    unpacking {} in {}", self.packages.join(", "), folder.display());
        // Nobody sees it before it is complete.
        let partial = folder.with_extension("partial");
        let downloads = partial.join("downloads");
        // A folder that somebody named is theirs.
        let old = if env::var_os(self.variable).is_some() { vec![&partial] } else { vec![&partial, &folder] };
        for old in old.into_iter().filter(|old| old.exists()) {
            fs::remove_dir_all(old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
        fs::create_dir_all(&downloads).with_context(|| format!("cannot create {}", downloads.display()))?;
        for package in download_all(&downloads, self.packages)? {
            run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&partial))?;
        }
        if let Some(program) = self.set_id {
            fs::set_permissions(partial.join(program), Permissions::from_mode(0o755))
                .with_context(|| format!("no {program} in the packages"))?;
        }
        fs::remove_dir_all(&downloads).with_context(|| format!("cannot remove {}", downloads.display()))?;
        fs::rename(&partial, &folder).with_context(|| format!("cannot rename {}", partial.display()))
    }

    /// Fails if something is missing, saying how to get it.
    pub(crate) fn require(&self, root: &Path) -> Result<()> {
        self.require_in(&self.folder(root))
    }

    fn require_in(&self, folder: &Path) -> Result<()> {
        match self.proofs.iter().find(|proof| !folder.join(proof).exists()) {
            None => Ok(()),
            Some(proof) => bail!("no {proof} in {}; get it with `cargo xtask setup`", folder.display()),
        }
    }

    fn folder(&self, root: &Path) -> PathBuf {
        env::var_os(self.variable).map_or_else(|| root.join("target").join(self.name), PathBuf::from)
    }
}

/// Downloads the packages, and the libraries they need that are not installed; returns the files.
fn download_all(folder: &Path, packages: &[&str]) -> Result<Vec<PathBuf>> {
    let mut wanted: Vec<String> = packages.iter().map(|package| (*package).to_owned()).collect();
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
    fn what_is_missing_comes_with_what_to_do() {
        for unpacked in [SENDMAIL, MILTERS] {
            let error = unpacked.require_in(Path::new("/no/such/folder")).unwrap_err().to_string();
            assert!(error.ends_with("get it with `cargo xtask setup`"), "{error}");
        }
    }
}
