//! Macros: what a lookup finds, and how long what it gives is good.

use super::common::Filter;

#[test]
fn lookups_find_the_latest_stage_first_and_nothing_of_later_ones() {
    let ask = "getsymval|i\nX|getsymval|{i}\nX|getsymval|j\nX|getsymval|{j}\nX|getsymval|{long}\nX|getsymval|long\nX|getsymval|\nX|getsymval|~";
    let script = ["mail", "eom"].map(|call| format!("X|{ask}\n").replace("X|", &format!("{call}|"))).concat();
    let filter = Filter::new(&script);
    let mut mta = filter.connect();
    mta.send_frame(b'D', b"Cj\0mta.example\0{long}\0first\0");
    mta.run("CH");
    mta.send_frame(b'D', b"Mi\0QUEUE\0{long}\0second\0");
    mta.run("MRT");
    // Of these, libmilter keeps nothing.
    mta.send_frame(b'D', b"L{long}\0of a header\0");
    mta.run("LN");
    mta.send_frame(b'D', b"Ei\0END\0");
    mta.run("E");
    mta.run("Q");
    mta.closed();
    let log = filter.stop();
    let found: Vec<_> = log.iter().filter_map(|line| line.strip_prefix("getsymval ")).collect();
    let at_mail = [
        "i QUEUE",
        "{i} QUEUE",
        "j mta.example",
        "{j} mta.example",
        "{long} second",
        "long (null)",
        " (null)",
        "~ (null)",
    ];
    let at_end = [
        "i END",
        "{i} END",
        "j mta.example",
        "{j} mta.example",
        "{long} second",
        "long (null)",
        " (null)",
        "~ (null)",
    ];
    assert_eq!(found, [at_mail, at_end].concat());
}

#[test]
fn macros_of_a_message_are_gone_at_the_next_one() {
    let filter = Filter::new("mail|getsymval|{e}\nmail|getsymval|{m}\neom|getsymval|{e}");
    let mut mta = filter.connect();
    mta.run("CH");
    mta.send_frame(b'D', b"M{m}\0one\0");
    mta.run("MRTN");
    mta.send_frame(b'D', b"E{e}\0end\0");
    mta.run("EMRTN");
    mta.run("E");
    drop(mta);
    let log = filter.stop();
    let found: Vec<_> = log.iter().filter_map(|line| line.strip_prefix("getsymval ")).collect();
    assert_eq!(found, ["{e} (null)", "{m} one", "{e} end", "{e} (null)", "{m} one", "{e} (null)"]);
}

#[test]
fn a_value_stays_where_it_is_while_its_stage_has_it() {
    let filter = Filter::new("connect|keepsymval|j\neom|saysymval\nmail|getsymval|i\nrcpt|getsymval|i");
    let mut mta = filter.connect();
    mta.send_frame(b'D', b"Cj\0mta.example.net\0");
    mta.run("C");
    for number in 0..200 {
        let long = "x".repeat(number * 7);
        for code in *b"HMRTNE" {
            mta.send_frame(b'D', format!("{}i\0{number}{long}\0", char::from(code)).as_bytes());
            mta.run(std::str::from_utf8(&[code]).unwrap());
        }
    }
    drop(mta);
    let log = filter.stop();
    assert_eq!(log.iter().filter(|line| *line == "kept mta.example.net").count(), 200);
}

#[test]
fn a_cut_off_list_has_no_value_for_its_last_name() {
    let filter = Filter::new("mail|getsymval|a\nmail|getsymval|b\nmail|getsymval|c");
    let mut mta = filter.connect();
    mta.run("CH");
    mta.send_frame(b'D', b"Ma\x001\0b\0");
    mta.run("M");
    mta.send_frame(b'D', b"Ma\x002\0c\0unterminated");
    mta.run("M");
    drop(mta);
    let log = filter.stop();
    let found: Vec<_> = log.iter().filter_map(|line| line.strip_prefix("getsymval ")).collect();
    assert_eq!(found, ["a 1", "b (null)", "c (null)", "a 2", "b (null)", "c (null)"]);
}
