//! The library under valgrind: nothing is read or written that is not there, and nothing is lost.

use super::common::{Filter, Run};
use super::random::{self, Dice};

/// Runs a filter under valgrind.
fn checked(script: &str, env: &[(&str, &str)]) -> Filter {
    let valgrind = [
        "valgrind",
        "--quiet",
        "--error-exitcode=99",
        "--leak-check=full",
        "--show-leak-kinds=definite,indirect",
        "--errors-for-leak-kinds=definite,indirect",
        "--num-callers=30",
        "--fair-sched=yes",
    ];
    let there = std::process::Command::new("valgrind").arg("--version").output();
    assert!(there.is_ok(), "valgrind is not installed: `cargo xtask setup` does that");
    Filter::run(&Run { script, env, under: &valgrind, ..Run::default() })
}

#[test]
#[ignore = "needs valgrind: cargo xtask test --only libmilter"]
fn random_sessions_are_clean_under_memcheck() {
    let filter = checked(random::SCRIPT, &[]);
    random::play(&filter, &mut Dice::new(7), random::sessions(60));
    filter.stop();
}

#[test]
#[ignore = "needs valgrind: cargo xtask test --only libmilter"]
fn hostile_calls_are_clean_under_memcheck() {
    let calls = [
        "addheader|n|v",
        "insheader|0|n|v",
        "chgheader|n|1|~",
        "chgfrom|<a@b>|~",
        "addrcpt|<a@b>",
        "addrcpt_par|<a@b>|x",
        "delrcpt|<a@b>",
        "quarantine|x",
        "replacebody_size|150000",
        "progress",
        "setreply|550|5.7.1|x",
        "setmlreply|550|5.7.1|x|y",
        "setpriv|x",
        "setsymlist|3|x",
        "getpriv",
        "getsymval|j",
        "addheader|~|~",
        "addrcpt|~",
        "setreply|~|~|~",
        "setmlreply|~|~",
        "getsymval|~",
        "replacebody|~|5",
        "quarantine|~",
        "setsymlist|99|~",
    ];
    let mut script = String::from("setup|setmaxdatasize|200000\nclose|keep\nclose|setpriv|~\n");
    for call in calls {
        for (callback, how) in
            [("connect", "null|"), ("helo", "wild|"), ("mail", "kept|"), ("eom", "thread|"), ("eom", "")]
        {
            script.extend([callback, "|", how, call, "\n"]);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let trace = format!("file:{}", folder.path().join("trace").display());
    let metrics = format!("file:{}", folder.path().join("metrics").display());
    let filter =
        checked(&script, &[("TAMIS_LIBMILTER_TRACE", &trace), ("TAMIS_LIBMILTER_METRICS", &metrics)]);
    for _ in 0..3 {
        let mut mta = filter.connect();
        mta.send_frame(b'D', b"Cj\0mta\0odd");
        assert_eq!(mta.run("CHMRTLNB"), "c".repeat(8));
        mta.send_frame(b'E', b"last");
        while mta.reply().0 != b'c' {}
        mta.send_bytes(b"\0\0\0\x05M<a@b");
        mta.closed();
    }
    filter.stop();
}
