//! Modifications.

use super::common::{Filter, Mta};

/// The replies to the end of a message under a script.
fn end_of_message(mta: &mut Mta) -> Vec<(char, Vec<u8>)> {
    mta.run("CHMRTLNB");
    mta.send_frame(b'E', b"");
    let mut replies = Vec::new();
    loop {
        let (code, payload) = mta.reply();
        replies.push((char::from(code), payload));
        if b"carty".contains(&code) {
            return replies;
        }
    }
}

#[test]
fn modifications_leave_in_the_order_of_the_calls() {
    let filter = Filter::new(
        "eom|addheader|X-Added|one\teom\n\
         eom|insheader|0|X-Top|value\n\
         eom|chgheader|Subject|1|new\n\
         eom|chgheader|Old|2|~\n\
         eom|chgfrom|<new@example.org>|RET=HDRS\n\
         eom|chgfrom|<other@example.org>|~\n\
         eom|addrcpt|<extra@example.com>\n\
         eom|addrcpt_par|<par@example.com>|NOTIFY=NEVER\n\
         eom|addrcpt_par|<none@example.com>|~\n\
         eom|delrcpt|<b@example.com>\n\
         eom|progress\n\
         eom|replacebody|new body\n\
         eom|quarantine|held for review\n\
         eom|replacebody|and more\n\
         eom|replacebody|x|0",
    );
    let mut mta = filter.connect();
    let want: Vec<(char, &[u8])> = vec![
        ('h', b"X-Added\0one\teom\0"),
        ('i', b"\0\0\0\0X-Top\0value\0"),
        ('m', b"\0\0\0\x01Subject\0new\0"),
        ('m', b"\0\0\0\x02Old\0\0"),
        ('e', b"<new@example.org>\0RET=HDRS\0"),
        ('e', b"<other@example.org>\0"),
        ('+', b"<extra@example.com>\0"),
        ('2', b"<par@example.com>\0NOTIFY=NEVER\0"),
        ('2', b"<none@example.com>\0"),
        ('-', b"<b@example.com>\0"),
        ('p', b""),
        ('b', b"new body"),
        ('q', b"held for review\0"),
        ('b', b"and more"),
        ('b', b""),
        ('c', b""),
    ];
    let got = end_of_message(&mut mta);
    let got: Vec<_> = got.iter().map(|(code, payload)| (*code, payload.as_slice())).collect();
    assert_eq!(got, want);
}

#[test]
fn text_is_sent_as_the_program_has_it() {
    let filter = Filter::new(
        "eom|addheader|Bad Name|two\r\rlines\neom|addrcpt|a@example.com, b@example.com\neom|addrcpt|<>\n\
         eom|chgfrom|<broken\neom|return|3",
    );
    let mut mta = filter.connect();
    let letters: String = end_of_message(&mut mta).iter().map(|(code, _)| *code).collect();
    assert_eq!(letters, "h++ea");
}

#[test]
fn arguments_that_cannot_be_sent_are_refused_and_nothing_is_sent() {
    let filter = Filter::new(
        "eom|addheader|~|v\neom|addheader||v\neom|addheader|n|~\neom|insheader|-1|n|v\neom|insheader|0||v\n\
         eom|insheader|0|n|~\neom|chgheader||1|v\neom|chgheader|n|-1|v\neom|chgfrom|~|~\neom|chgfrom||~\n\
         eom|addrcpt|~\neom|addrcpt|\neom|delrcpt|~\neom|delrcpt|\neom|addrcpt_par|~|x\neom|addrcpt_par||x\n\
         eom|replacebody|x|-1\neom|replacebody|~|1\neom|quarantine|~\neom|quarantine|",
    );
    let mut mta = filter.connect();
    assert_eq!(end_of_message(&mut mta).len(), 1);
    mta.run("Q");
    mta.closed();
    let log = filter.stop();
    let results: Vec<_> = log.iter().filter(|line| line.ends_with(" -1")).collect();
    assert_eq!(results.len(), 20, "{log:?}");
}

#[test]
fn modifications_are_possible_at_the_end_of_a_message_only() {
    let calls =
        ["connect", "helo", "mail", "rcpt", "data", "header", "eoh", "body", "unknown", "abort", "close"];
    let script: String =
        calls.map(|call| format!("{call}|addheader|n|v\n{call}|progress\n{call}|quarantine|x\n")).concat();
    let filter = Filter::new(&script);
    let mut mta = filter.connect();
    assert_eq!(mta.run("UCHMRTLNBE"), "c".repeat(10));
    assert_eq!(mta.run("MR"), "cc");
    mta.run("Q");
    mta.closed();
    let log = filter.stop();
    assert!(
        !log.iter()
            .any(|line| line.starts_with("addheader 0") || line.ends_with("ss 0") || line.ends_with("ne 0")),
        "{log:?}"
    );
    assert_eq!(log.iter().filter(|line| line.ends_with(" -1")).count(), 3 * 13);
}

#[test]
fn modifications_that_were_not_negotiated_are_refused() {
    let filter = Filter::new(
        "actions|1\nnegotiate|return|0\neom|addheader|n|v\neom|chgheader|n|1|v\neom|replacebody|x\neom|addrcpt|<a@b>\n\
         eom|addrcpt_par|<a@b>|~\neom|delrcpt|<a@b>\neom|chgfrom|<a@b>|~\neom|quarantine|x",
    );
    let mut mta = filter.connect();
    let letters: String = end_of_message(&mut mta).iter().map(|(code, _)| *code).collect();
    assert_eq!(letters, "hc");
}

#[test]
fn a_body_is_sent_in_packets_of_65535_bytes() {
    let filter = Filter::new("eom|replacebody_size|140000\neom|replacebody_size|65535");
    let mut mta = filter.connect();
    let lengths: Vec<_> =
        end_of_message(&mut mta).iter().map(|(code, payload)| (*code, payload.len())).collect();
    assert_eq!(lengths, [('b', 65535), ('b', 65535), ('b', 8930), ('b', 65535), ('c', 0)]);
}

#[test]
fn what_is_larger_than_a_packet_is_refused_unless_the_program_sets_another_size() {
    let filter = Filter::new("eom|addheader_size|65532\neom|addheader_size|65533");
    let lengths: Vec<_> =
        end_of_message(&mut filter.connect()).iter().map(|(_, payload)| payload.len()).collect();
    assert_eq!(lengths, [65535, 0]);
    let filter =
        Filter::new("setup|setmaxdatasize|100000\neom|addheader_size|99997\neom|addheader_size|99998");
    let mut mta = filter.connect();
    let lengths: Vec<_> = end_of_message(&mut mta).iter().map(|(_, payload)| payload.len()).collect();
    assert_eq!(lengths, [100_000, 0]);
    // It holds for what is received, too.
    mta.run("MR");
    assert_eq!(mta.ask(b'L', &[&b"n\0"[..], &vec![b'v'; 99_997], b"\0"].concat()).0, b'c');
    mta.send_frame(b'L', &[&b"n\0"[..], &vec![b'v'; 99_998], b"\0"].concat());
    mta.closed();
}

#[test]
fn progress_is_written_at_once() {
    let filter = Filter::new("eom|addheader|n|v\neom|progress\neom|usleep|200000\neom|say|woke");
    let mut mta = filter.connect();
    mta.run("CHMRTN");
    mta.send_frame(b'E', b"");
    assert_eq!(mta.reply().0, b'h');
    assert_eq!(mta.reply().0, b'p');
    drop(mta);
    let mut filter = filter;
    filter.wait_for("woke");
}

#[test]
fn a_body_larger_than_all_buffers_waits_for_the_mta() {
    let filter = Filter::new("eom|replacebody_size|30000000");
    let mut mta = filter.connect();
    let total: usize = end_of_message(&mut mta).iter().map(|(_, payload)| payload.len()).sum();
    assert_eq!(total, 30_000_000);
}

#[test]
fn calls_fail_once_the_mta_is_known_to_be_gone() {
    let filter = Filter::new(
        "eom|usleep|100000\neom|progress\neom|progress\neom|addheader|n|v\neom|replacebody|x\neom|progress\n\
         close|say|closed",
    );
    let mut mta = filter.connect();
    mta.run("CHMRTN");
    mta.send_frame(b'E', b"");
    drop(mta);
    let mut filter = filter;
    filter.wait_for("closed");
    let log = filter.stop();
    let after: Vec<_> = log.iter().skip_while(|line| *line != "eom").skip(1).take(5).collect();
    assert_eq!(&after[1..], ["progress -1", "addheader -1", "replacebody -1", "progress -1"], "{log:?}");
}
