//! What is found on a machine: `tamis init`, and `tamis config check --mta postfix`.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use tempfile::TempDir;

use crate::common::run;

/// A folder with a configuration of Postfix, which `postconf` reads.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new(main: &str, chroot: &str) -> Self {
        let machine = Self { folder: tempfile::tempdir().unwrap() };
        let queue = machine.path("queue");
        fs::create_dir_all(format!("{queue}/opendkim")).unwrap();
        fs::write(
            machine.path("main.cf"),
            format!("compatibility_level = 3.6\nqueue_directory = {queue}\nmail_owner = postfix\n{main}"),
        )
        .unwrap();
        let master = format!(
            "smtp inet n - {chroot} - - smtpd\nsubmission inet n - {chroot} - - smtpd\n  -o smtpd_milters=inet:localhost:9\n\
             pickup unix n - y 60 1 pickup\n"
        );
        fs::write(machine.path("master.cf"), master).unwrap();
        machine
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn init(&self) -> String {
        let (main, none) = (self.path(""), self.path("sendmail.cf"));
        fs::write(&none, "").unwrap();
        let ran = run(["init", "--print", "--postfix-config", &main, "--sendmail-cf", &none]);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.stdout
    }

    fn check(&self, config: &str) -> (i32, String) {
        let file = self.path("tamis.toml");
        fs::write(&file, config).unwrap();
        let main = self.path("");
        let ran = run(["config", "check", "--config", &file, "--mta", "postfix", "--mta-config", &main]);
        (ran.code, ran.stderr)
    }
}

#[test]
fn milters_of_postfix_become_filters_in_their_order() {
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listening.local_addr().unwrap().port();
    let machine = Machine::new(
        &format!(
            "smtpd_milters = unix:opendkim/opendkim.sock, inet:127.0.0.1:{port}\nnon_smtpd_milters = unix:opendkim/opendkim.sock\n\
             milter_default_action = accept\n"
        ),
        "y",
    );
    let path = machine.path("queue/opendkim/opendkim.sock");
    let _dkim = UnixListener::bind(&path).unwrap();
    let text = machine.init();
    let parts = [
        "socket = \"inet:8899@127.0.0.1\"".to_owned(),
        "smtpd is in a chroot here".to_owned(),
        "whose milter_default_action is accept".to_owned(),
        "submission/inet in master.cf has milters of its own: inet:localhost:9".to_owned(),
        "type = \"log\"".to_owned(),
        format!(
            "# smtpd_milters = unix:opendkim/opendkim.sock, non_smtpd_milters = unix:opendkim/opendkim.sock\n[[filter]]\n\
             name = \"opendkim\"\ntype = \"milter\"\nsocket = \"unix:{path}\"\non_failure = \"accept\"\n# What it signs should not \
             change behind it.\nsigns = true\n"
        ),
        format!("[[filter]]\nname = \"milter\"\ntype = \"milter\"\nsocket = \"inet:{port}@127.0.0.1\"\n"),
    ];
    let mut rest = &text[..];
    for part in &parts {
        let Some(at) = rest.find(&**part) else {
            panic!("{part:?} is not there, or not in its place:\n{text}")
        };
        rest = &rest[at..];
    }
    // It can be run as it is.
    let file = machine.path("made.toml");
    fs::write(&file, &text).unwrap();
    let ran = run(["config", "check", "--config", &file]);
    assert_eq!((ran.code, &*ran.stderr), (0, ""), "{text}");
}

#[test]
fn milters_that_do_not_listen_are_said_to() {
    let machine = Machine::new("smtpd_milters = unix:opendkim/gone.sock\n", "n");
    let text = machine.init();
    assert!(text.contains("# Nobody listens there now: No such file"), "{text}");
    assert!(text.contains("on_failure = \"tempfail\""), "{text}");
}

#[test]
fn milters_of_sendmail_become_filters_with_what_their_flags_say() {
    let machine = Machine::new("", "n");
    let file = machine.path("own.cf");
    fs::write(
        &file,
        "O InputMailFilters=av,dkim\nXdkim, S=local:/run/none/dkim, F=T\nXav, S=inet:1@127.0.0.1, F=R\nXunused, S=inet:2@h\n",
    )
    .unwrap();
    let ran = run(["init", "--print", "--postfix-config", &machine.path(""), "--sendmail-cf", &file]);
    let text = ran.stdout;
    let av = text
        .find("name = \"av\"\ntype = \"milter\"\nsocket = \"inet:1@127.0.0.1\"\non_failure = \"reject\"")
        .unwrap();
    let dkim = text
        .find(
            "name = \"dkim\"\ntype = \"milter\"\nsocket = \"unix:/run/none/dkim\"\non_failure = \"tempfail\"",
        )
        .unwrap();
    assert!(av < dkim && !text.contains("unused"), "{text}");
}

#[test]
fn a_configuration_that_is_there_is_left_alone() {
    let machine = Machine::new("", "n");
    let (main, file) = (machine.path(""), machine.path("etc/tamis.toml"));
    let args = ["init", "--postfix-config", &main, "--config", &file];
    let ran = run(args);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("tamis.toml: written; "), "{ran:?}");
    fs::write(&file, "# mine\n").unwrap();
    let ran = run(args);
    assert_eq!((ran.code, ran.stderr.contains("is there already")), (1, true), "{ran:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "# mine\n");
    assert_eq!(run(args.into_iter().chain(["--force"])).code, 0);
    assert!(fs::read_to_string(&file).unwrap().contains("[[listener]]"));
}

#[test]
fn what_does_not_fit_postfix_is_told_with_what_to_write() {
    let machine = Machine::new(
        "smtpd_milters = inet:localhost:8891\nmilter_command_timeout = 5s\nmilter_content_timeout = 4m\nmilter_default_action = accept\n\
         milter_protocol = 2\nmilter_mail_macros = i\n",
        "y",
    );
    let (code, said) = machine.check(
        "[[listener]]\nsocket = \"unix:/run/tamis/milter.sock\"\n\n[[filter]]\ntype = \"milter\"\nsocket = \"inet:1@localhost\"\n\
         when = { authenticated = true }\n",
    );
    assert_eq!(code, 0, "{said}");
    let queue = machine.path("queue");
    for part in [
        "Postfix gives up on the filter after 5s (milter_command_timeout), and this is 8s",
        "Postfix gives up on the filter after 4m (milter_content_timeout), and this is 270s",
        "tamis.toml:2:10: warning: Postfix' smtpd runs in a chroot and cannot reach this path",
        &format!("\"unix:{queue}/tamis/milter.sock\""),
        "Postfix connects as postfix, who may not write to this socket: add `group = \"postfix\"`",
        "main.cf: smtpd_milters: warning: does not name this daemon",
        "master.cf: submission/inet: warning: smtpd_milters of this service is its own",
        "main.cf: milter_default_action: warning: mail passes unfiltered when this daemon is not there",
        "main.cf: milter_protocol: warning: version 2 cannot do what filters may need",
        "\"milter\" needs the macro {auth_authen}, which no list has",
    ] {
        assert!(said.contains(part), "{part:?} in {said}");
    }
}

#[test]
fn what_fits_postfix_is_nothing_to_speak_of() {
    let machine = Machine::new(
        "smtpd_milters = unix:tamis/s\nnon_smtpd_milters = unix:tamis/s\nmilter_default_action = tempfail\n",
        "y",
    );
    fs::write(machine.path("master.cf"), "smtp inet n - y - - smtpd\nsubmission inet n - n - - smtpd\n")
        .unwrap();
    let queue = machine.path("queue");
    let (code, said) =
        machine.check(&format!("[[listener]]\nsocket = \"unix:{queue}/tamis/s\"\ngroup = \"postfix\"\n"));
    assert_eq!((code, &*said), (0, ""), "{said}");
}

#[test]
fn a_postfix_that_is_not_there_is_told() {
    let ran = run([
        "config",
        "check",
        "--config",
        "/dev/null",
        "--mta",
        "postfix",
        "--mta-config",
        "/no/such/folder",
    ]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("postconf cannot say") || ran.stderr.contains("no postconf"), "{ran:?}");
}
