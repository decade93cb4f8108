//! What was captured from Sendmail's libmilter (specification §11), to the byte, on both.

use tamis_libmilter_tests::judge::Pair;
use tamis_libmilter_tests::script::{Callback, Script, status};
use tamis_libmilter_tests::session::{Session, frame};

/// Both answer with exactly these frames.
fn answered(session: &Session, replies: &[Vec<u8>]) {
    let both = Pair::start(&session.setup).run(session);
    assert_eq!(both.stock, both.ours, "{}", both.difference());
    assert_eq!(both.ours.replies, replies.concat(), "{session}{}", both.ours);
}

#[test]
fn a_complete_session_with_modifications() {
    let eom = [
        "addheader \"X-Added\" \"one\\x0a\\x09two\"",
        "insheader 0 \"X-First\" \"top\"",
        "chgheader \"Subject\" 1 \"changed\"",
        "chgheader \"X-Remove\" 1 ~",
        "chgfrom \"<new@example.org>\" ~",
        "chgfrom \"<new2@example.org>\" \"RET=HDRS ENVID=abc\"",
        "addrcpt \"<extra@example.org>\"",
        "addrcpt_par \"<par@example.org>\" \"NOTIFY=NEVER\"",
        "addrcpt_par \"<par2@example.org>\" ~",
        "delrcpt \"<rcpt@example.com>\"",
        "replacebody \"New body\\x0d\\x0a\"",
        "replacebody \"\"",
        "replacebody *70000:\"z\"",
        "progress",
        "quarantine \"held for review\"",
    ];
    let script = Script::default()
        .calls(Callback::Negotiate, 1, "setsymlist 5 \"{msg_id} i\"")
        .calls(Callback::Negotiate, 1, "setsymlist 1 \"\"")
        .calls(Callback::Negotiate, 1, "setsymlist 2 \"i {mail_addr}\"")
        .returns(Callback::Negotiate, 1, status::ALL_OPTS);
    let script = eom.into_iter().fold(script, |script, call| script.calls(Callback::Eom, 1, call));
    let session = Session::new(script).letters("O").sending([
        (b'D', &b"Cj\0mta.example.net\0{daemon_name}\0smtpd\0"[..]),
        (b'C', b"client.example.com\x004\x30\x39192.0.2.1\0"),
        (b'H', b"client.example.com\0"),
        (b'D', b"Mi\0QID123\0{mail_addr}\0sender@example.com\0"),
        (b'M', b"<sender@example.com>\0SIZE=1000\0BODY=8BITMIME\0"),
        (b'R', b"<rcpt@example.com>\0"),
        (b'T', b""),
        (b'L', b"Subject\0Hello\n world\0"),
        (b'N', b""),
        (b'B', b"Hi there\r\n"),
        (b'D', b"E{x}\0at eom\0"),
        (b'E', b""),
        (b'Q', b""),
    ]);
    let go_on = || frame(b'c', b"");
    let mut replies = vec![frame(
        b'O',
        b"\0\0\0\x06\0\0\x01\xff\0\0\x04\0\0\0\0\x01\0\0\0\0\x02i {mail_addr}\0\0\0\0\x05{msg_id} i\0",
    )];
    replies.extend((0..8).map(|_| go_on()));
    replies.extend([
        frame(b'h', b"X-Added\0one\n\ttwo\0"),
        frame(b'i', b"\0\0\0\0X-First\0top\0"),
        frame(b'm', b"\0\0\0\x01Subject\0changed\0"),
        frame(b'm', b"\0\0\0\x01X-Remove\0\0"),
        frame(b'e', b"<new@example.org>\0"),
        frame(b'e', b"<new2@example.org>\0RET=HDRS ENVID=abc\0"),
        frame(b'+', b"<extra@example.org>\0"),
        frame(b'2', b"<par@example.org>\0NOTIFY=NEVER\0"),
        frame(b'2', b"<par2@example.org>\0"),
        frame(b'-', b"<rcpt@example.com>\0"),
        frame(b'b', b"New body\r\n"),
        frame(b'b', b""),
        frame(b'b', &vec![b'z'; 65_535]),
        frame(b'b', &[b'z'; 4_465]),
        frame(b'p', b""),
        frame(b'q', b"held for review\0"),
        go_on(),
    ]);
    answered(&session, &replies);
}

#[test]
fn replies_have_their_captured_form() {
    let forms: [(&str, i32, &[u8]); 5] = [
        ("setreply \"550\" \"5.7.1\" \"No thanks\"", status::REJECT, b"550 5.7.1 No thanks\0"),
        ("setreply \"421\" \"4.7.0\" \"bye\"", status::TEMPFAIL, b"421 4.7.0 bye\0"),
        ("setreply \"550\" ~ ~", status::REJECT, b"550 \0"),
        (
            "setmlreply \"550\" \"5.7.1\" \"Line one\" \"Line two 100%%\" \"Line three\"",
            status::REJECT,
            b"550-5.7.1 Line one\r\n550-5.7.1 Line two 100%%\r\n550 5.7.1 Line three\0",
        ),
        ("setmlreply \"451\" ~ \"only\"", status::TEMPFAIL, b"451 4.0.0 only\0"),
    ];
    for (call, status, text) in forms {
        let script = Script::default().with_everything().calls(Callback::Mail, 1, call).returns(
            Callback::Mail,
            1,
            status,
        );
        let session = Session::new(script).letters("OCHM");
        let start = frame(b'O', b"\0\0\0\x06\0\0\x01\xff\0\0\x04\0");
        let go_on = frame(b'c', b"");
        answered(&session, &[start, go_on.clone(), go_on, frame(b'y', text)]);
    }
}
