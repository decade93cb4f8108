//! `cargo xtask libmilter`: the drop-in libmilter as it is installed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::steps::cargo;

#[derive(Args)]
pub(crate) struct Options {
    /// Where to put the folders `lib` and `include`; made if it is not there.
    #[arg(long, value_name = "FOLDER", default_value = "target/libmilter")]
    out: PathBuf,

    /// The name in the library, which ldconfig goes by.
    #[arg(long, value_name = "NAME", default_value = NAMES[0])]
    soname: String,
}

pub(crate) const HELP: &str = "\
Builds the library as releases are built. In lib/ it has the name that programs built on Debian ask for,
libmilter.so.1.0.1, and links for other distributions (libmilter.so.1.0.2, libmilter.so.1.0, libmilter.so.1) and for the
compiler (libmilter.so); libmilter.a is beside it. include/libmilter/ has the headers. How to put it before the stock
library: docs/libmilter.md.

Examples:
  cargo xtask libmilter --out /opt/tamis
  cargo xtask libmilter --out /opt/tamis --soname libmilter.so.1.0   where that is what programs ask for
  LD_LIBRARY_PATH=target/libmilter/lib opendkim -f -p inet:8891@localhost …";

/// What programs ask for: on Debian, and elsewhere.
const NAMES: [&str; 5] =
    ["libmilter.so.1.0.1", "libmilter.so.1.0.2", "libmilter.so.1.0", "libmilter.so.1", "libmilter.so"];

pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    ensure!(
        options.soname.starts_with("libmilter.so.") && !options.soname.contains('/'),
        "the name of a library is such as {}, and not {:?}",
        NAMES[0],
        options.soname
    );
    eprintln!("    $ cargo build --release --package tamis-libmilter --locked");
    let status = cargo(root)
        .args(["build", "--release", "--package", "tamis-libmilter", "--locked"])
        .env("TAMIS_LIBMILTER_SONAME", &options.soname)
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "cargo ended with {status}");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let out = root.join(&options.out);
    lay_out(&target.join("release"), &root.join("crates/libmilter/include"), &out, &options.soname)?;
    eprintln!("    {} and {}", out.join("lib").display(), out.join("include").display());
    Ok(())
}

/// Puts the library under its name, with links from the others.
fn lay_out(built: &Path, headers: &Path, out: &Path, name: &str) -> Result<()> {
    let (lib, include) = (out.join("lib"), out.join("include/libmilter"));
    for folder in [&lib, &include] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    replace(&built.join("libmilter.so"), &lib.join(name))?;
    replace(&built.join("libmilter.a"), &lib.join("libmilter.a"))?;
    for header in ["mfapi.h", "mfdef.h"] {
        replace(&headers.join("libmilter").join(header), &include.join(header))?;
    }
    for link in NAMES.into_iter().filter(|link| *link != name) {
        let path = lib.join(link);
        if path.symlink_metadata().is_ok() {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        symlink(name, &path).with_context(|| format!("cannot make {}", path.display()))?;
    }
    Ok(())
}

/// Puts a copy in place of what is there, which running programs may have loaded: they keep the old one.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let mut new = to.as_os_str().to_owned();
    new.push(".new");
    fs::copy(from, &new).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    fs::rename(&new, to).with_context(|| format!("cannot replace {}", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_to_the_library_and_a_second_time_replaces_it() {
        let folder = std::env::temp_dir().join(format!("tamis-xtask-libmilter-{}", std::process::id()));
        let (built, headers, out) = (folder.join("built"), folder.join("include"), folder.join("out"));
        fs::create_dir_all(&built).unwrap();
        fs::create_dir_all(headers.join("libmilter")).unwrap();
        for file in ["built/libmilter.a", "include/libmilter/mfapi.h", "include/libmilter/mfdef.h"] {
            fs::write(folder.join(file), file).unwrap();
        }
        for (version, name) in [("one", NAMES[0]), ("two", NAMES[0]), ("three", "libmilter.so.1.0")] {
            fs::write(built.join("libmilter.so"), version).unwrap();
            lay_out(&built, &headers, &out, name).unwrap();
            for one in NAMES {
                let path = out.join("lib").join(one);
                assert_eq!(fs::read_to_string(&path).unwrap(), version, "{one}");
                assert_eq!(path.is_symlink(), one != name, "{one}");
            }
        }
        assert_eq!(fs::read_dir(out.join("lib")).unwrap().count(), NAMES.len() + 1);
        assert_eq!(fs::read_dir(out.join("include/libmilter")).unwrap().count(), 2);
        fs::remove_dir_all(folder).unwrap();
    }
}
