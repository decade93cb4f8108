//! Starts that fail.

use std::net::TcpListener;

use crate::common::{Serve, file, run, tamis};

/// Runs `tamis serve`, which must fail, and returns what it says.
fn fails(code: i32, args: &[&str]) -> String {
    let ran = run(["serve"].into_iter().chain(args.iter().copied()));
    assert_eq!(ran.code, code, "{ran:?}");
    assert_eq!(ran.stdout, "");
    ran.stderr
}

#[test]
fn a_socket_in_use_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = format!("inet:{}@127.0.0.1", taken.local_addr().unwrap().port());
    let text = format!("tamis: cannot listen on {socket}: it is in use by another process\n");
    assert_eq!(fails(1, &["--listen", &socket]), text);
    let dir = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", dir.path().join("s").display());
    let _serve = Serve::spawn(tamis(["serve", "--listen", &socket]));
    assert!(fails(1, &["--listen", &socket]).contains("in use by another process"));
}

#[test]
fn bad_sockets_are_said() {
    assert!(fails(1, &["--listen=8899"]).starts_with("tamis: cannot listen on \"8899\": "));
    assert!(fails(1, &["--listen=inet:70000@127.0.0.1"]).contains("70000"));
    let file = file(b"");
    let text = fails(1, &["--listen", &format!("unix:{}", file.name())]);
    assert!(text.contains("not a socket"), "{text}");
    let text = fails(1, &["--listen", &format!("unix:{}/none/s", file.dir.path().display())]);
    assert!(text.contains("No such file or directory"), "{text}");
}

#[test]
fn bad_header_fields_are_said() {
    let text = fails(1, &["--add-header=X-Tamis"]);
    assert_eq!(text, "tamis: cannot add header field \"X-Tamis\": there is no colon; write 'NAME: VALUE'\n");
    assert!(fails(1, &["--add-header=X Y: z"]).contains("header name has a space at byte 1"));
    assert!(fails(1, &["--add-header=X: {i"]).contains("no closing brace"));
}

#[test]
fn bad_texts_to_append_are_said() {
    let text = fails(1, &["--append-text=/does/not/exist"]);
    assert_eq!(text, "tamis: cannot read /does/not/exist: No such file or directory (os error 2)\n");
    assert!(fails(1, &["--append-text", file(b"\xff").name()]).contains("it is not UTF-8"));
    assert!(fails(1, &["--append-text", file(b"").name()]).contains("it is empty"));
}

#[test]
fn wrong_usage_is_exit_code_2() {
    assert!(fails(2, &["--log-level=inof"]).contains("\"inof\" is not a level"));
    assert!(fails(2, &["--log-level=tamis=loud"]).contains("--log-level"));
    assert!(fails(2, &["--socket-mode=999"]).contains("three octal digits"));
    assert!(fails(2, &["--on-failure=panic"]).contains("tempfail, reject, accept"));
    assert!(fails(2, &["--log-format=xml"]).contains("text, json"));
    assert!(fails(2, &["--lisen=x"]).contains("--listen"));
}

#[test]
fn users_groups_and_networks_that_do_not_exist_are_said() {
    assert!(fails(2, &["--allow-uid=no-such-user"]).contains("there is no user \"no-such-user\""));
    assert!(fails(2, &["--socket-group=no-such-group"]).contains("there is no group \"no-such-group\""));
    assert!(fails(2, &["--allow-network=192.0.2.0/33"]).contains("such as 192.0.2.0/24"));
}

#[test]
fn bad_limits_are_said_with_the_option_and_what_it_takes() {
    for (option, value, expected) in [
        ("--idle-time", "soon", "a number of seconds"),
        ("--handshake-time", "0", "such as 2h"),
        ("--frame-time", "1d", "such as 2h"),
        ("--write-time", "1.5", "such as 2h"),
        ("--max-connections", "0", "1 at the least"),
        ("--max-headers", "1K", "in digits"),
        ("--max-recipients", "many", "in digits"),
        ("--max-buffers", "1T", "such as 64K"),
        ("--max-header-bytes", "-1", "such as 64K"),
        ("--max-payload", "1K", "65535 bytes, so that is the least"),
    ] {
        let said = fails(2, &[&format!("{option}={value}")]);
        assert!(said.contains(&format!("invalid value '{value}' for '{option} <")), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}
