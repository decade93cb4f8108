//! The smfi_ functions of a connection: arguments, and where each may be called (specification §9.4).

use tamis_libmilter_tests::rules::Rule;
use tamis_libmilter_tests::script::{Callback, Script};
use tamis_libmilter_tests::session::{Session, Setup};

use crate::{judged, same};

const ALL: &str = "OCHMRTLNBEUMRAQ";

/// Good and bad arguments of every function.
fn every_call() -> Vec<String> {
    let mut all = Vec::new();
    let mut add = |call: String| all.push(call);
    for name in ["\"X-A\"", "\"\"", "~", "\"a:b\"", "\"a b\"", "\"\\xff\\x0d\\x0a\"", "*70000:\"n\""] {
        for value in ["\"v\"", "\"\"", "~", "\" v\"", "\"a\\x0ab\\x0d\\x0a c\"", "*65600:\"v\""] {
            add(format!("addheader {name} {value}"));
            for index in [-2_147_483_648_i64, -1, 0, 1, 2, 2_147_483_647] {
                add(format!("insheader {index} {name} {value}"));
                add(format!("chgheader {name} {index} {value}"));
            }
        }
    }
    for address in ["\"<a@b>\"", "\"a@b\"", "\"\"", "~", "\"<>\"", "\"a\\x0d\\x0ab\"", "*65600:\"a\""] {
        add(format!("addrcpt {address}"));
        add(format!("delrcpt {address}"));
        for args in ["~", "\"\"", "\"RET=HDRS ENVID=x\"", "*65600:\"x\""] {
            add(format!("chgfrom {address} {args}"));
            add(format!("addrcpt_par {address} {args}"));
        }
    }
    for reason in ["\"why\"", "\"\"", "~", "\"two\\x0alines\"", "*65600:\"y\""] {
        add(format!("quarantine {reason}"));
    }
    for body in [
        "\"\" 0",
        "~ 0",
        "~ 1",
        "~ -1",
        "\"x\" -1",
        "\"body\\x00\\xff\"",
        "*65535:\"b\"",
        "*65536:\"b\"",
        "*200000:\"b\"",
    ] {
        add(format!("replacebody {body}"));
    }
    add("progress".to_owned());
    all
}

/// Good and bad texts of a reply.
fn every_reply() -> Vec<String> {
    let codes = [
        "~",
        "\"\"",
        "\"4\"",
        "\"45\"",
        "\"450\"",
        "\"550\"",
        "\"250\"",
        "\"350\"",
        "\"650\"",
        "\"4500\"",
        "\"4 0\"",
        "\"45a\"",
        "\"4\\xb2\\xb2\"",
        "\" 450\"",
    ];
    let statuses = [
        "~",
        "\"\"",
        "\"4.0.0\"",
        "\"5.7.1\"",
        "\"2.0.0\"",
        "\"3.0.0\"",
        "\"5\"",
        "\"5.\"",
        "\"5.7\"",
        "\"5.7.\"",
        "\"5.7.1.1\"",
        "\"5.777.888\"",
        "\"5.7777.1\"",
        "\"5.7.1111\"",
        "\"5..1\"",
        "\"55.7.1\"",
        "\"5.a.1\"",
        "\"5.7.1 \"",
        "\" 5.7.1\"",
    ];
    let texts = [
        "~",
        "\"\"",
        "\"text\"",
        "\"100%\"",
        "\"%s%n\"",
        "*979:\"x\"",
        "*980:\"x\"",
        "*981:\"x\"",
        "\"a\\x0ab\"",
        "\"a\\x0d\"",
        "\"\\x0a\"",
        "\"\\xff\\x80\\x01\"",
    ];
    let mut all = Vec::new();
    for code in codes {
        for status in statuses {
            for text in texts {
                all.push(format!("setreply {code} {status} {text}"));
                all.push(format!("setmlreply {code} {status} {text} \"second\""));
                all.push(format!("setmlreply {code} {status} \"first\" {text}"));
            }
        }
    }
    for count in [1, 2, 31, 32, 33, 40] {
        all.push(format!("setmlreply \"550\" \"5.7.1\"{}", " \"line\"".repeat(count)));
        all.push(format!("setmlreply \"450\" ~{}", " \"\"".repeat(count)));
    }
    all
}

fn at_each_callback(calls: &[String]) -> impl Iterator<Item = Session> {
    Callback::ALL.into_iter().map(move |callback| {
        let everything = Script::default().with_everything();
        let script = calls.iter().fold(everything, |script, call| script.calls(callback, 1, call.as_str()));
        Session::new(script).letters(ALL)
    })
}

/// Those that are sent wherever they are called are not among them.
#[test]
fn every_edit_at_every_callback() {
    let calls: Vec<String> = every_call().into_iter().filter(|call| call != "progress").collect();
    same(&Setup::default(), at_each_callback(&calls));
}

#[test]
fn progress_at_every_callback() {
    let counts = judged(&Setup::default(), at_each_callback(&["progress".to_owned()]));
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [(Rule::ProgressElsewhere, Callback::ALL.len() - 1)]);
}

#[test]
fn every_edit_without_its_context() {
    let calls: Vec<String> = every_call().into_iter().map(|call| format!("null-{call}")).collect();
    same(&Setup::default(), at_each_callback(&calls));
}

#[test]
fn every_edit_without_the_action_being_agreed_on() {
    let calls: Vec<String> = every_call().into_iter().filter(|call| !call.contains('*')).collect();
    let sessions = (0..9).map(|bit| {
        let actions = 0x1ff & !(1 << bit);
        let script = Script::default().calls(Callback::Negotiate, 0, format!("out 0 {actions:#x}"));
        let script = calls.iter().fold(script, |script, call| script.calls(Callback::Eom, 1, call.as_str()));
        Session::new(script).letters(ALL)
    });
    same(&Setup::default(), sessions);
}

#[test]
fn every_reply_that_can_be_set() {
    let replies = every_reply();
    // All in a row, each used.
    let sessions = replies.chunks(40).map(|some| {
        let script = some.iter().zip(1..).fold(Script::default().with_everything(), |script, (call, nth)| {
            // The last one that was taken is there until it is used.
            let status = if nth % 2 == 0 { 1 } else { 4 };
            script.calls(Callback::Mail, nth, call.as_str()).returns(Callback::Mail, nth, status)
        });
        Session::new(script).letters("OCH").letters(&"M".repeat(some.len() + 2))
    });
    let counts = judged(&Setup::default(), sessions);
    assert!(counts.keys().all(|rule| *rule == Rule::NoLines), "{counts:?}");
}

#[test]
fn replies_at_every_callback_and_without_context() {
    let mut calls: Vec<String> =
        every_reply().into_iter().step_by(37).filter(|call| !call.contains("ml")).collect();
    let without: Vec<String> = calls.iter().map(|call| format!("null-{call}")).collect();
    calls.extend(without);
    same(&Setup::default(), at_each_callback(&calls));
}

#[test]
fn macros_are_looked_up_by_exact_names() {
    let names = [
        "i",
        "{i}",
        "{mail_addr}",
        "mail_addr",
        "{",
        "}",
        "{}",
        "i}",
        "{i",
        "",
        "ii",
        "{ii}",
        "I",
        "{Mail_addr}",
    ];
    let mut calls: Vec<String> = names.iter().map(|name| format!("getsymval \"{name}\"")).collect();
    calls.push("getsymval ~".to_owned());
    let without: Vec<String> = calls.iter().map(|call| format!("null-{call}")).collect();
    calls.extend(without);
    let lists: [&[u8]; 8] = [
        b"Mi\0id\0{mail_addr}\0a@b\0",
        b"M{i}\0braced\0",
        b"Mi\0\0",
        b"M{\0x\0}\0y\0{}\0z\0",
        b"M\0empty\0",
        b"Mi\0one\0i\0two\0",
        b"Mi}\0x\0{i\0y\0",
        b"Mmail_addr\0plain\0ii\0w\0{ii}\0v\0",
    ];
    let sessions = lists.into_iter().map(|list| {
        let script = Script::default().with_everything();
        let script = calls.iter().fold(script, |script, call| script.calls(Callback::Mail, 0, call.as_str()));
        Session::new(script).letters("OCH").sending([(b'D', list)]).letters("MRTLNBEM")
    });
    same(&Setup::default(), sessions);
}

#[test]
fn macros_live_as_long_as_their_stage() {
    // Each list has a macro of its own, and one that all have.
    let list = |code: u8, value: &str| {
        let code = char::from(code);
        format!("{code}x\0{value}\0{{daemon_name}}\0{code}\0").into_bytes()
    };
    let stages = b"CHMRTLNBEU";
    let mut sessions = Vec::new();
    for skipped in stages {
        let mut session = Session::new(Script::default().with_everything()).letters("O");
        for round in ["one", "two"] {
            for code in stages {
                let sent = (round == "one") != (code == skipped);
                if *code == b'C' && round == "two" {
                    continue;
                }
                // An unknown command only where the stock library goes on behind it.
                let code = if *code == b'U' { b'A' } else { *code };
                if sent {
                    let payload = list(code, round);
                    session = session.sending([(b'D', &payload[..])]);
                }
                session = session.letters(&char::from(code).to_string());
            }
        }
        sessions.push(session.letters("MRM"));
    }
    same(&Setup::default(), sessions);
}

#[test]
fn the_private_pointer_stays_until_the_end() {
    let script = Callback::ALL.into_iter().fold(Script::default().with_everything(), |script, callback| {
        script
            .calls(callback, 0, "getpriv")
            .calls(callback, 1, "setpriv 7")
            .calls(callback, 1, "null-setpriv 9")
            .calls(callback, 1, "null-getpriv")
    });
    let script = script.calls(Callback::Eom, 1, "setpriv 0");
    same(
        &Setup::default(),
        ["OCHMRTLNBEAMRQ", "OCHMRTLNBEKCHMR"].map(|all| Session::new(script.clone()).letters(all)),
    );
}

#[test]
fn macro_lists_can_be_set_once_for_each_stage() {
    let mut sessions = Vec::new();
    for offered in [0x1ff_u32, 0xff] {
        for list in ["\"i {mail_addr}\"", "\"\"", "~", "\"a,b c\"", "*70000:\"x\""] {
            // Lists that are not sent are never too long.
            if offered == 0xff && list.starts_with('*') {
                continue;
            }
            let mut script = Script::default();
            for stage in [-1, 0, 1, 2, 3, 4, 5, 6, 7, 100, 2] {
                script = script.calls(Callback::Negotiate, 1, format!("setsymlist {stage} {list}"));
            }
            script = script.calls(Callback::Negotiate, 1, format!("null-setsymlist 0 {list}"));
            let offer = [6, offered, 0x1f_ffff].map(u32::to_be_bytes).concat();
            sessions.push(Session::new(script).sending([(b'O', &offer[..])]).letters("CHMR"));
        }
    }
    let counts = judged(&Setup::default(), sessions);
    let expected = [Rule::NoContext, Rule::ListsNotOffered];
    assert!(counts.keys().all(|rule| expected.contains(rule)), "{counts:?}");
}

#[test]
fn macro_lists_set_elsewhere_change_nothing() {
    same(
        &Setup::default(),
        at_each_callback(&["setsymlist 2 \"i\"".to_owned(), "setsymlist 2 \"i\"".to_owned()]),
    );
}

#[test]
fn the_data_size_bounds_what_is_read_and_what_is_sent() {
    for size in [0, 1, 40, 100, 65_534, 65_536, 1_048_575] {
        let setup = Setup::default().option(format!("datasize={size}"));
        let script = every_call()
            .into_iter()
            .fold(Script::default().with_everything(), |script, call| script.calls(Callback::Eom, 1, call));
        let mut sessions = vec![Session::new(script.clone()).letters(ALL)];
        for length in [size.max(1) - 1, size, size + 1] {
            let body = vec![b'x'; length];
            sessions.push(
                Session::new(script.clone()).letters("OCHMRTLN").sending([(b'B', &body[..])]).letters("E"),
            );
        }
        same(&setup, sessions);
    }
}

#[test]
fn arguments_may_be_overwritten() {
    let script = Callback::ALL
        .into_iter()
        .filter(|callback| *callback != Callback::Unknown)
        .fold(Script::default().with_everything(), |script, callback| script.calls(callback, 0, "scribble"));
    same(&Setup::default(), [Session::new(script).letters("OCHMRRTLLNBBEMRTLNBE")]);
}
