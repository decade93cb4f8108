//! The examples as programs: their length, and the flags, environment variables and exit codes that all share.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

macro_rules! programs {
    ($($name:literal)*) => {
        [$(($name, env!(concat!("CARGO_BIN_EXE_", $name)))),*]
    };
}

const PROGRAMS: [(&str, &str); 9] = programs! {
    "client_header" "footer" "linear" "negotiate" "reject_sender" "slow_lookup" "strip_attachments" "tag_outside"
    "trace"
};

/// An example, with nothing in its environment that it goes by but what it cannot do without.
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("TAMIS_TABLE", "/dev/null").stdin(Stdio::null());
    command
}

fn output(command: &mut Command) -> Output {
    command.output().expect("it was built for this test")
}

#[test]
fn every_example_has_less_than_80_lines_and_a_place_in_the_readme() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder.join("src/bin")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < 80, "{name} has {lines} lines");
        assert!(readme.contains(&format!("(src/bin/{name}.rs)")), "{name} is not in the README");
        names.insert(name);
    }
    assert_eq!(names, PROGRAMS.iter().map(|(name, _)| (*name).to_owned()).collect());
}

#[test]
fn every_example_has_the_same_flags_and_environment_variables() {
    let help_of = |program| {
        let output = output(command(program).arg("--help"));
        assert!(output.status.success());
        let help = String::from_utf8(output.stdout).unwrap();
        help[help.find("      --bind-host").expect("all have it")..].to_owned()
    };
    let common = help_of(PROGRAMS[0].1);
    for text in [
        "--bind-port <PORT>",
        "--listen <SOCKET>",
        "--log-level <LEVELS>",
        "--strict",
        "--version",
        "[env: TAMIS_BIND_HOST=]",
        "[env: TAMIS_BIND_PORT=]",
        "[env: TAMIS_LISTEN=]",
        "[env: TAMIS_LOG_LEVEL=]",
        "[env: TAMIS_STRICT=]",
    ] {
        assert!(common.contains(text), "{text} is missing in:\n{common}");
    }
    for (name, program) in PROGRAMS {
        assert_eq!(help_of(program), common, "{name}");
    }
}

#[test]
fn every_example_says_its_version() {
    for (name, program) in PROGRAMS {
        let output = output(command(program).arg("--version"));
        let expected = format!("{name} {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!((output.status.code(), String::from_utf8(output.stdout).unwrap()), (Some(0), expected));
    }
}

/// An example that runs; killed if it still does in the end.
struct Running {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    /// What it has logged until it listened.
    text: String,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it was built for this test");
        let log = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut running = Self { child, log, text: String::new() };
        while !running.text.contains("listening on") {
            let read = running.log.read_line(&mut running.text).unwrap();
            assert!(read > 0, "it has ended: {}", running.text);
        }
        running
    }

    /// Where it says that it listens, as one has to tell Postfix.
    fn address(&self) -> &str {
        self.text.trim_end().rsplit_once("smtpd_milters = ").expect("it is said").1
    }

    /// Asks it to end, and returns its exit code and what else it has logged.
    fn terminate(mut self) -> (Option<i32>, String) {
        let kill = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(kill.expect("kill exists").success());
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_example_listens_where_flags_or_the_environment_say_and_ends_by_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let unix = format!("unix:{}", folder.path().join("socket").display());
    for (name, program) in PROGRAMS {
        let on_port = |running: &Running| {
            let port: u16 = running.address().strip_prefix("inet:127.0.0.2:").unwrap().parse().unwrap();
            assert_ne!(port, 0, "{name}");
        };
        on_port(&Running::start(command(program).args(["--bind-host", "127.0.0.2", "--bind-port", "0"])));
        on_port(&Running::start(
            command(program).env("TAMIS_BIND_HOST", "127.0.0.2").env("TAMIS_BIND_PORT", "0"),
        ));
        for command in
            [command(program).env("TAMIS_LISTEN", &unix), command(program).args(["--listen", &unix])]
        {
            let running = Running::start(command);
            assert_eq!(running.address(), unix, "{name}");
            let (code, log) = running.terminate();
            assert_eq!(code, Some(0), "{name}");
            assert!(log.contains("SIGTERM: stopping when the messages in work are finished"), "{log}");
        }
    }
}

#[test]
fn every_example_knows_a_level_from_a_slip() {
    for (name, program) in PROGRAMS {
        let mut command = command(program);
        let misspelt = output(command.args(["--log-level", "loud"]));
        assert_eq!(misspelt.status.code(), Some(2), "{name}");
        assert!(String::from_utf8(misspelt.stderr).unwrap().contains("\"loud\" is not a level"), "{name}");
    }
}

/// All have the same code for it.
fn trace() -> Command {
    command(PROGRAMS.into_iter().find(|(name, _)| *name == "trace").expect("it is there").1)
}

#[test]
fn the_log_has_the_levels_that_flag_or_environment_say() {
    let socket = "inet:0@127.0.0.3";
    // Something to warn of, and something to fail of behind it.
    let fails = || {
        let mut command = trace();
        command.args(["--bind-host", "192.0.2.1"]).env("TAMIS_LISTEN", socket);
        command
    };
    for (level, warns) in [("warn", true), ("error", false), ("tokio=info,off", false)] {
        for command in [fails().args(["--log-level", level]), fails().env("TAMIS_LOG_LEVEL", level)] {
            let text = String::from_utf8(output(command).stderr).unwrap();
            assert_eq!(text.contains("--bind-host wins"), warns, "{level}: {text}");
        }
    }
}

#[test]
fn hosts_of_ip_version_6_need_no_brackets() {
    for host in ["::1", "[::1]"] {
        let running = Running::start(trace().args(["--bind-host", host, "--bind-port", "0"]));
        assert!(running.address().starts_with("inet:[::1]:"), "{}", running.address());
    }
}

#[test]
fn listen_and_host_or_port_on_the_command_line_are_wrong_usage() {
    for other in ["--bind-port=8899", "--bind-host=127.0.0.1"] {
        let output = output(trace().args(["--listen", "inet:0@127.0.0.1", other]));
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8(output.stderr).unwrap();
        let name = other.split('=').next().unwrap();
        let said = format!("error: --listen and {name} both say where to listen: leave one of them out\n");
        assert_eq!(text, said);
    }
}

#[test]
fn listen_wins_over_host_and_port_and_the_command_line_over_the_environment() {
    let socket = "inet:0@127.0.0.3";
    let both = Running::start(trace().env("TAMIS_LISTEN", socket).env("TAMIS_BIND_HOST", "127.0.0.4"));
    assert!(both.address().starts_with("inet:127.0.0.3:"), "{}", both.text);
    assert!(both.text.contains("TAMIS_LISTEN wins: TAMIS_BIND_HOST is ignored"), "{}", both.text);
    let flag = Running::start(trace().args(["--listen", socket]).env("TAMIS_BIND_PORT", "1"));
    assert!(flag.address().starts_with("inet:127.0.0.3:"), "{}", flag.text);
    assert!(flag.text.contains("--listen wins: TAMIS_BIND_PORT is ignored"), "{}", flag.text);
    let flag = Running::start(trace().args(["--bind-port", "0"]).env("TAMIS_LISTEN", socket));
    assert!(flag.address().starts_with("inet:127.0.0.1:"), "{}", flag.text);
    assert!(flag.text.contains("--bind-port wins: TAMIS_LISTEN is ignored"), "{}", flag.text);
}

#[test]
fn a_start_that_fails_says_why() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let in_use = output(trace().args(["--bind-port", &port]));
    let text = String::from_utf8(in_use.stderr).unwrap();
    assert_eq!(in_use.status.code(), Some(1), "{text}");
    assert!(text.starts_with("trace: ") && text.contains(&port), "{text}");
    let misspelt = output(trace().args(["--listen", "inet:70000"]));
    let text = String::from_utf8(misspelt.stderr).unwrap();
    assert_eq!(misspelt.status.code(), Some(1), "{text}");
    assert!(text.starts_with("trace: cannot listen on \"inet:70000\": "), "{text}");
}
