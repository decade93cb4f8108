//! Where and when numbers were taken, without which they say little.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;

/// One line: processor, system, compiler, commit, date. What cannot be found out is left out.
pub(crate) fn line(root: &Path) -> String {
    let parts = [
        processor(),
        fs::read_to_string("/proc/sys/kernel/osrelease")
            .ok()
            .map(|release| format!("Linux {}", release.trim())),
        said_by(root, "rustc", &["--version"]),
        said_by(root, "git", &["rev-parse", "--short", "HEAD"]).map(|commit| format!("commit {commit}")),
        said_by(root, "date", &["+%F"]),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn processor() -> Option<String> {
    let count = available_parallelism().ok()?;
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let model = text.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(format!("{count} × {}", model.trim_start_matches([' ', '\t', ':'])))
}

fn said_by(root: &Path, program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).current_dir(root).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| output.status.success() && !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiler_is_named_and_what_does_not_exist_is_left_out() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(line(root).contains("rustc 1."), "{}", line(root));
        assert_eq!(said_by(root, "tamis-no-such-program", &[]), None);
    }
}
