//! `cargo xtask fuzz`: a bounded run of the fuzz targets, and the seeds of their corpus.

use std::borrow::BorrowMut;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::steps::cargo;

/// Seconds for each target in continuous integration.
pub(crate) const SECONDS: u32 = 5;

/// Longest input. Everything that has a state to get into fits; longer ones are only slower.
const LONGEST: usize = 4096;

/// Lints the targets and runs each of `only`, or every one where it is empty, for `seconds`.
pub(crate) fn run(root: &Path, only: &[String], seconds: u32) -> Result<()> {
    let fuzz = Fuzz::new(root)?;
    let targets = select(targets(&fuzz.folder)?, only)?;
    // cargo-fuzz itself has no --locked.
    let clippy = "clippy --manifest-path fuzz/Cargo.toml --all-targets --locked -- -D warnings";
    finish(cargo(root).args(clippy.split(' ')))?;
    fuzz.build()?;
    targets.iter().try_for_each(|target| fuzz.run(target, seconds))
}

/// Makes the committed corpus anew: the seeds from beside the tests, what runs have found here, and the corpus as it
/// is, less all that reaches no code of its own.
pub(crate) fn seeds(root: &Path) -> Result<()> {
    let fuzz = Fuzz::new(root)?;
    let seeds = "run --manifest-path fuzz/Cargo.toml --locked --example seeds -- fuzz/target/corpus";
    finish(cargo(root).args(seeds.split(' ')))?;
    fuzz.build()?;
    targets(&fuzz.folder)?.iter().try_for_each(|target| fuzz.minimise(target))
}

/// The targets by name: the files there are.
fn targets(fuzz: &Path) -> Result<Vec<String>> {
    let folder = fuzz.join("fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

fn select(targets: Vec<String>, only: &[String]) -> Result<Vec<String>> {
    if let Some(unknown) = only.iter().find(|name| !targets.contains(name)) {
        bail!("there is no target {unknown:?}; there are {}", targets.join(", "));
    }
    Ok(targets.into_iter().filter(|name| only.is_empty() || only.contains(name)).collect())
}

/// Finds cargo-fuzz, or installs it where it touches nothing but this repository's build folder.
fn tool(root: &Path) -> Result<PathBuf> {
    let found =
        Command::new("cargo-fuzz").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return Ok("cargo-fuzz".into());
    }
    let own = root.join("target/tools/bin/cargo-fuzz");
    if !own.is_file() {
        eprintln!("    cargo-fuzz is missing: installing it into target/tools");
        finish(cargo(root).args([
            "install",
            "cargo-fuzz@0.13.2",
            "--locked",
            "--debug",
            "--root",
            "target/tools",
        ]))?;
    }
    Ok(own)
}

/// The folder of the targets and the tool that runs them.
struct Fuzz {
    folder: PathBuf,
    tool: PathBuf,
}

impl Fuzz {
    fn new(root: &Path) -> Result<Self> {
        Ok(Self { folder: root.join("fuzz"), tool: tool(root)? })
    }

    fn build(&self) -> Result<()> {
        finish(self.command("build"))
    }

    /// Runs a target; what it finds on the way stays out of the committed corpus.
    fn run(&self, target: &str, seconds: u32) -> Result<()> {
        let time = format!("-max_total_time={seconds}");
        let text = self.start(target, &self.found(target)?, &[&format!("corpus/{target}")], &time)?;
        let done = text.lines().rev().find(|line| line.starts_with("Done "));
        eprintln!("    {target}: {}", done.unwrap_or("no runs"));
        Ok(())
    }

    fn minimise(&self, target: &str) -> Result<()> {
        let (new, corpus) = (format!("target/minimised/{target}"), format!("corpus/{target}"));
        let [new_folder, corpus_folder] = [&new, &corpus].map(|name| self.folder.join(name));
        remake(&new_folder)?;
        fs::create_dir_all(&corpus_folder).with_context(|| format!("cannot make fuzz/{corpus}"))?;
        // Which code is reached counts here, not how often: that keeps the corpus to some hundred small files.
        self.start(target, &new, &[&corpus, &self.found(target)?], "-merge=1 -use_counters=0")?;
        remake(&corpus_folder)?;
        let mut kept = 0;
        for entry in fs::read_dir(&new_folder)? {
            let entry = entry?;
            fs::copy(entry.path(), corpus_folder.join(entry.file_name()))?;
            kept += 1;
        }
        eprintln!("    {target}: {kept} inputs");
        Ok(())
    }

    /// Runs a target with the folder it writes to and those it reads; returns what it says.
    fn start(&self, target: &str, writes: &str, reads: &[&str], options: &str) -> Result<String> {
        let mut command = self.command("run");
        command.args([target, writes]).args(reads).arg("--").args(options.split(' '));
        command.arg(format!("-max_len={LONGEST}"));
        let output = command.output().with_context(|| format!("cannot start {}", self.tool.display()))?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            eprintln!("{text}");
            bail!("target {target} failed; an input that breaks it is in fuzz/artifacts/{target}");
        }
        Ok(text)
    }

    /// Where a target puts what it finds.
    fn found(&self, target: &str) -> Result<String> {
        let found = format!("target/corpus/{target}");
        fs::create_dir_all(self.folder.join(&found)).with_context(|| format!("cannot make fuzz/{found}"))?;
        Ok(found)
    }

    /// Without a sanitizer, stable Rust will do, and there is no unsafe code that one could watch.
    fn command(&self, task: &str) -> Command {
        let mut command = Command::new(&self.tool);
        command.current_dir(&self.folder).args(["fuzz", task, "--sanitizer", "none"]);
        command
    }
}

/// Makes a folder that is empty.
fn remake(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// Shows a command and runs it to its end.
fn finish(mut command: impl BorrowMut<Command>) -> Result<()> {
    let command = command.borrow_mut();
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args()).map(|word| word.to_string_lossy());
    let line = words.collect::<Vec<_>>().join(" ");
    eprintln!("    $ {line}");
    let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fuzz() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
    }

    #[test]
    fn every_target_is_built_and_has_a_corpus() {
        let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
        let targets = targets(&fuzz()).unwrap();
        assert!(!targets.is_empty());
        for target in targets {
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")), "{target}");
            assert!(fs::read_dir(fuzz().join("corpus").join(&target)).unwrap().count() > 10, "{target}");
        }
    }

    #[test]
    fn only_known_targets_can_be_chosen() {
        let all = || vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(select(all(), &[]).unwrap(), all());
        assert_eq!(select(all(), &["b".to_owned()]).unwrap(), ["b"]);
        let error = select(all(), &["c".to_owned()]).unwrap_err().to_string();
        assert_eq!(error, "there is no target \"c\"; there are a, b");
    }
}
