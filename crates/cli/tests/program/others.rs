//! The small commands, and help.

use crate::common::run;

#[test]
fn the_version_is_shown() {
    assert_eq!(run(["--version"]).stdout, concat!("tamis ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn help_documents_exit_codes_and_gives_examples() {
    let help = run(["serve", "--help"]).stdout;
    for part in ["70  broke down while running", "Examples:\n", "TAMIS_ADD_HEADER", "inet:8899@127.0.0.1"] {
        assert!(help.contains(part), "{part:?} in {help}");
    }
    let (options, limits) = help.split_once("\nLimits:\n").expect("limits have a heading of their own");
    assert!(limits.contains("--max-recipients <NUMBER>") && limits.contains("[env: TAMIS_MAX_RECIPIENTS=]"));
    assert!(options.contains("--log-format") && !options.contains("--max-"), "{help}");
    let help = run(["send", "--help"]).stdout;
    for part in ["11  it is refused for now", "Examples:\n", "recipient@example.com"] {
        assert!(help.contains(part), "{part:?} in {help}");
    }
    let help = run(["bench", "--help"]).stdout;
    for part in
        ["20   there were errors", "Examples:\n", "latency counts from then", "\nLoad:\n", "\nMessage:\n"]
    {
        assert!(help.contains(part), "{part:?} in {help}");
    }
    let (options, load) = help.split_once("\nLoad:\n").expect("the load has a heading of its own");
    assert!(options.contains("--expect <WHAT>") && !options.contains("--connections"), "{help}");
    assert!(load.contains("--connections <NUMBER>") && !load.contains("--check\n"), "{help}");
    assert_eq!(run([]).code, 2);
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = run(["completions", shell]);
        for option in ["append-text", "max-recipients", "server-pid"] {
            assert!(ran.code == 0 && ran.stdout.contains(option), "{shell}: {ran:?}");
        }
    }
    assert_eq!(run(["completions", "tcsh"]).code, 2);
}

#[test]
fn manual_pages_are_printed_or_written() {
    let ran = run(["man"]);
    assert!(ran.code == 0 && ran.stdout.contains(".TH tamis 1"), "{ran:?}");
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(["man", dir.path().to_str().unwrap()]).code, 0);
    for page in ["tamis.1", "tamis-serve.1", "tamis-send.1", "tamis-bench.1"] {
        assert!(dir.path().join(page).exists(), "{page}");
    }
    let page = std::fs::read_to_string(dir.path().join("tamis-serve.1")).unwrap();
    assert!(page.contains(".SH LIMITS\n") && page.contains("max\\-recipients"), "{page}");
    let ran = run(["man", "/does/not/exist"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.starts_with("tamis: cannot write manual pages to /does/not/exist: "), "{ran:?}");
}
