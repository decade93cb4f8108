//! What callbacks return, and the replies that are set for it.

use super::common::Filter;

/// The reply to MAIL under a script.
fn mail_reply(script: &str) -> (u8, String) {
    let filter = Filter::new(script);
    let mut mta = filter.connect();
    mta.run("CH");
    let (code, text) = mta.ask(b'M', b"<a@example.com>\0");
    (code, String::from_utf8(text).unwrap())
}

#[test]
fn each_status_has_its_letter() {
    for (status, letter) in [(0, 'c'), (1, 'r'), (2, 'd'), (3, 'a'), (4, 't'), (8, 's')] {
        let filter = Filter::new(&format!("body|return|{status}"));
        let mut mta = filter.connect();
        mta.run("CHMRTN");
        assert_eq!(mta.run("B"), letter.to_string(), "status {status}");
    }
}

#[test]
fn every_command_is_answered_whatever_a_callback_returns() {
    for (status, letter) in [(7, "c"), (5, "t"), (6, "t"), (10, "t"), (20, "t"), (-1, "t"), (99, "t")] {
        let filter = Filter::new(&format!("rcpt|return|{status}"));
        let mut mta = filter.connect();
        assert_eq!(mta.run("CHMR"), format!("ccc{letter}"), "status {status}");
    }
    let filter = Filter::new("eom|return|7");
    assert_eq!(filter.connect().run("CHMRTNE"), "ccccccc");
}

#[test]
fn replies_go_out_as_they_were_set() {
    let set = |arguments: &str, status: i32| {
        mail_reply(&format!("mail|setreply|{arguments}\nmail|return|{status}"))
    };
    assert_eq!(set("550|5.7.1|No thanks", 1), (b'y', "550 5.7.1 No thanks\0".into()));
    assert_eq!(set("421|4.7.0|bye", 4), (b'y', "421 4.7.0 bye\0".into()));
    assert_eq!(set("550|~|~", 1), (b'y', "550 \0".into()));
    assert_eq!(set("550|~|just text 100%", 1), (b'y', "550 just text 100%\0".into()));
    assert_eq!(set("550|5.7.1|~", 1), (b'y', "550 5.7.1\0".into()));
    // The class of the enhanced code need not be that of the code.
    assert_eq!(set("550|2.0.0|well", 1), (b'y', "550 2.0.0 well\0".into()));
    // Of the other class than the status: not used.
    assert_eq!(set("450|4.7.1|later", 1).0, b'r');
    assert_eq!(set("550|5.7.1|no", 4).0, b't');
    assert_eq!(set("550|5.7.1|no", 0).0, b'c');
}

#[test]
fn replies_that_are_none_are_refused() {
    let too_much = "x".repeat(981);
    let script = [
        "250|~|~",
        "55|~|~",
        "5500|~|~",
        "5x0|~|~",
        "~|5.7.1|x",
        "650|~|~",
        "550|5.7|x",
        "550|5.7.1234|x",
        "550|6.7.1|x",
        "550|5.7.1.1|x",
        "550|x|x",
        "550|.7.1|x",
        "550|5..1|x",
    ]
    .map(|arguments| format!("mail|setreply|{arguments}\n"))
    .concat();
    let filter = Filter::new(&format!("{script}mail|setreply|550|5.7.1|{too_much}\nmail|return|1"));
    let mut mta = filter.connect();
    assert_eq!(mta.run("CHMQ"), "ccr");
    mta.closed();
    let log = filter.stop();
    let results: Vec<_> = log.iter().filter(|line| line.starts_with("setreply")).collect();
    assert_eq!(results, ["setreply -1"; 14]);
}

#[test]
fn replies_of_many_lines_take_as_many_arguments_as_there_are() {
    let set = |arguments: &str| mail_reply(&format!("mail|setmlreply|{arguments}\nmail|return|1"));
    assert_eq!(
        set("550|5.7.1|Line one|Line two 100%%|Line three"),
        (b'y', "550-5.7.1 Line one\r\n550-5.7.1 Line two 100%%\r\n550 5.7.1 Line three\0".into())
    );
    assert_eq!(set("550|~|only"), (b'y', "550 5.0.0 only\0".into()));
    assert_eq!(set("550|5.7.1"), (b'y', "550 5.7.1\0".into()), "no line is no dash");
    let lines: Vec<String> = (1..=32).map(|n| format!("line {n}")).collect();
    let want: Vec<String> =
        (1..=32).map(|n| format!("550{}5.7.1 line {n}", if n < 32 { '-' } else { ' ' })).collect();
    assert_eq!(set(&format!("550|5.7.1|{}", lines.join("|"))), (b'y', want.join("\r\n") + "\0"));
    assert_eq!(set(&format!("550|5.7.1|{}|33", lines.join("|"))).0, b'r', "33 lines are too many");
    assert_eq!(set(&format!("550|5.7.1|{}", "x".repeat(981))).0, b'r');
}

#[test]
fn a_reply_that_was_not_used_waits_for_the_next_message() {
    let filter = Filter::new("connect|setreply|550|5.7.1|late\nrcpt|return|1");
    let mut mta = filter.connect();
    assert_eq!(mta.run("CHM"), "ccc");
    mta.run("A");
    assert_eq!(mta.run("M"), "c");
    assert_eq!(mta.ask(b'R', b"<b@c>\0"), (b'y', b"550 5.7.1 late\0".to_vec()));
    assert_eq!(mta.ask(b'R', b"<b@c>\0").0, b'r', "and it is used once");
}

#[test]
fn after_a_refused_message_the_next_one_begins_without_an_abort() {
    let filter = Filter::new("data|return|1");
    let mut mta = filter.connect();
    assert_eq!(mta.run("CHMRTMRTAMRQ"), "cc".to_owned() + "ccrccrcc");
    mta.closed();
    let log = filter.stop();
    assert_eq!(log.iter().filter(|line| *line == "abort").count(), 1, "the last one is open: {log:?}");
}

#[test]
fn a_refused_recipient_leaves_the_message_open() {
    for status in [1, 2, 4] {
        let filter = Filter::new(&format!("rcpt|return|{status}"));
        let mut mta = filter.connect();
        mta.run("CHMRR");
        mta.run("AQ");
        mta.closed();
        let log = filter.stop();
        assert!(log.contains(&"abort".to_owned()), "status {status}: {log:?}");
    }
}

#[test]
fn a_421_for_a_recipient_leaves_the_message_open_too() {
    let filter = Filter::new("rcpt|setreply|421|4.7.0|bye\nrcpt|return|4");
    let mut mta = filter.connect();
    assert_eq!(mta.run("CHMR"), "cccy");
    mta.run("AQ");
    mta.closed();
    assert!(filter.stop().contains(&"abort".to_owned()));
}
