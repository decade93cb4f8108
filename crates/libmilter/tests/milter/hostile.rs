//! Programs that call what they should not, and when they should not.

use super::common::Filter;

/// Every function that takes a connection.
const CALLS: [&str; 16] = [
    "addheader|n|v",
    "insheader|0|n|v",
    "chgheader|n|1|v",
    "chgfrom|<a@b>|~",
    "addrcpt|<a@b>",
    "addrcpt_par|<a@b>|~",
    "delrcpt|<a@b>",
    "quarantine|x",
    "replacebody|x",
    "progress",
    "setreply|550|5.7.1|x",
    "setmlreply|550|5.7.1|x|y",
    "setpriv|x",
    "setsymlist|3|x",
    "getpriv",
    "getsymval|j",
];

/// Whether a line says that the call came to nothing.
fn failed(line: &str) -> bool {
    line.ends_with(" -1") || line.ends_with("(null)")
}

fn script(callback: &str, how: &str) -> String {
    CALLS.map(|call| format!("{callback}|{how}|{call}\n")).concat()
}

#[test]
fn null_and_wild_pointers_for_a_connection_fail() {
    for (callback, how) in
        [("eom", "null"), ("eom", "wild"), ("before", "null"), ("end", "wild"), ("close", "null")]
    {
        let filter = Filter::new(&script(callback, how));
        let mut mta = filter.connect();
        assert_eq!(mta.run("CHMRTNE"), "ccccccc");
        mta.run("Q");
        mta.closed();
        let log = filter.stop();
        let count = log.iter().filter(|line| failed(line)).count();
        assert_eq!(count, CALLS.len(), "{how} in {callback}: {log:?}");
    }
}

#[test]
fn a_connection_that_is_gone_is_nobody_s_pointer_even_where_another_took_its_place() {
    let filter = Filter::new(&format!("connect|kept|getpriv\nclose|keep\n{}", script("eom", "kept")));
    let mut first = filter.connect();
    first.run("C");
    first.run("Q");
    first.closed();
    let mut second = filter.connect();
    assert_eq!(second.run("CHMRTNE"), "ccccccc");
    second.run("Q");
    second.closed();
    let log = filter.stop();
    let end = log.iter().skip_while(|line| *line != "eom").filter(|line| failed(line)).count();
    assert_eq!(end, CALLS.len(), "{log:?}");
}

#[test]
fn calls_from_another_thread_while_the_callback_waits_are_as_good_as_its_own() {
    let filter = Filter::new(&script("eom", "thread"));
    let mut mta = filter.connect();
    mta.run("CHMRTN");
    mta.send_frame(b'E', b"");
    let letters: String =
        std::iter::from_fn(|| Some(char::from(mta.reply().0)).filter(|letter| *letter != 'c')).collect();
    assert_eq!(letters, "hime+2-qbp".replace(' ', ""));
    drop(mta);
    filter.stop();
}

#[test]
fn calls_between_callbacks_do_no_harm() {
    // What a thread of the program does with a connection while no callback has it.
    let filter = Filter::new(&format!("connect|keep\nunknown|say|other\n{}", script("helo", "kept")));
    let mut first = filter.connect();
    first.run("C");
    let mut second = filter.connect();
    second.send_frame(b'H', b"x\0");
    assert_eq!(second.reply().0, b'c');
    // The first one is as it was, but for what may be set at any time.
    assert_eq!(first.run("MRTNE"), "ccccc");
    drop((first, second));
    let log = filter.stop();
    let edits = log.iter().skip_while(|line| !line.starts_with("helo")).filter(|line| failed(line)).count();
    assert_eq!(edits, 11, "ten modifications, and a macro that is not there: {log:?}");
}

#[test]
fn functions_before_their_time_fail_and_do_no_harm() {
    let filter = Filter::new(
        "before|opensocket|1\nbefore|main\nbefore|setconn|~\nbefore|setconn|\nsetup|setbacklog|0\nsetup|setbacklog|-1\n\
         setup|setbacklog|5\nsetup|version\nsetup|opensocket|1\nsetup|opensocket|256\nsetup|setmaxdatasize|65535",
    );
    let mut mta = filter.connect();
    mta.run("C");
    drop(mta);
    let log = filter.stop();
    assert_eq!(
        log[..11],
        [
            "opensocket -1",
            "main -1",
            "setconn -1",
            "setconn -1",
            "setbacklog -1",
            "setbacklog -1",
            "setbacklog 0",
            "version 1.0.1 0",
            "opensocket 0",
            "opensocket 0",
            "setmaxdatasize 65535",
        ]
    );
}
