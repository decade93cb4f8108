//! `cargo xtask libmilter`: the drop-in libmilter as it is installed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use crate::steps::Cargo;

#[derive(Args)]
pub(crate) struct Options {
    /// Where to put the folders `lib` and `include`; made if it is not there.
    #[arg(long, value_name = "FOLDER", default_value = "target/libmilter")]
    out: PathBuf,
}

pub(crate) const HELP: &str = "\
Builds the library as releases are built. In lib/ it has the name that programs built on Debian ask for,
libmilter.so.1.0.1, and links for other distributions (libmilter.so.1.0, libmilter.so.1) and for the compiler
(libmilter.so); libmilter.a is beside it. include/libmilter/ has the headers. How to put it before the stock library:
docs/libmilter.md.

Examples:
  cargo xtask libmilter --out /opt/tamis
  LD_LIBRARY_PATH=target/libmilter/lib opendkim -f -p inet:8891@localhost …";

/// The name in the library itself.
const NAME: &str = "libmilter.so.1.0.1";
/// Other names for it.
const LINKS: [&str; 3] = ["libmilter.so.1.0", "libmilter.so.1", "libmilter.so"];

pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    Cargo::new("build --release --package tamis-libmilter --locked").run(root)?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let out = root.join(&options.out);
    lay_out(&target.join("release"), &root.join("crates/libmilter/include"), &out)?;
    eprintln!("    {} and {}", out.join("lib").display(), out.join("include").display());
    Ok(())
}

fn lay_out(built: &Path, headers: &Path, out: &Path) -> Result<()> {
    let (lib, include) = (out.join("lib"), out.join("include/libmilter"));
    for folder in [&lib, &include] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    replace(&built.join("libmilter.so"), &lib.join(NAME))?;
    replace(&built.join("libmilter.a"), &lib.join("libmilter.a"))?;
    for header in ["mfapi.h", "mfdef.h"] {
        replace(&headers.join("libmilter").join(header), &include.join(header))?;
    }
    for link in LINKS {
        let path = lib.join(link);
        if path.symlink_metadata().is_ok() {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        symlink(NAME, &path).with_context(|| format!("cannot make {}", path.display()))?;
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
        for version in ["one", "two"] {
            fs::write(built.join("libmilter.so"), version).unwrap();
            lay_out(&built, &headers, &out).unwrap();
            for name in ["libmilter.so.1.0.1", "libmilter.so.1.0", "libmilter.so.1", "libmilter.so"] {
                assert_eq!(fs::read_to_string(out.join("lib").join(name)).unwrap(), version, "{name}");
            }
        }
        assert_eq!(fs::read_dir(out.join("lib")).unwrap().count(), 5);
        assert_eq!(fs::read_dir(out.join("include/libmilter")).unwrap().count(), 2);
        fs::remove_dir_all(folder).unwrap();
    }
}
