//! Milters that fail: what the MTA is told, what the log says, and that nothing goes on with them.

mod common;

use std::time::Duration;

use common::frames::*;
use common::milter::{Asked, FakeMilter, answer, frame, nobody};
use common::{Captured, Mta, Running, on_failure, patient, serve};
use tamis::proto::{Offer, Steps};
use tamis::remote::{BreakerState, Milter, RemoteOptions};
use tamis::{Actions, Options, SocketSpec, Verdict};

fn milter(socket: SocketSpec) -> Milter {
    Milter::with_options("other", socket, RemoteOptions::new())
}

fn serve_milter(options: Options, milter: &Milter) -> Running {
    let milter = milter.clone();
    serve(options, move |_| milter.connection())
}

/// An MTA whose filter consults a milter that answers its offer.
async fn begun(server: &Running, fake: &FakeMilter, actions: u32, steps: u32) -> (Mta, Asked) {
    let mut mta = server.connect().await;
    let (asked, reply) = tokio::join!(fake.negotiated(actions, steps), mta.ask(offer()));
    assert_eq!(reply.code, 'O');
    (mta, asked)
}

/// Steps up to some stage, answered with continue.
async fn both_go(mta: &mut Mta, asked: &mut Asked, codes: &str) {
    for code in codes.chars() {
        let code_text = code.to_string();
        tokio::join!(asked.goes(&code_text), mta.go([step(code)]));
    }
}

fn step(code: char) -> Vec<u8> {
    match code {
        'C' => connect(),
        'H' => helo("h"),
        'M' => mail("<from@example.com>"),
        'R' => rcpt("<to@example.com>"),
        'T' => data(),
        'L' => header("Subject", "hello"),
        'N' => end_of_headers(),
        'B' => body(b"Hi!\r\n"),
        'E' => end_of_message(),
        'U' => unknown("WHAT"),
        _ => unreachable!(),
    }
}

/// Nothing goes on with a milter that failed on this connection; on another it is asked again.
async fn is_lost(
    mut mta: Mta,
    asked: Option<&mut Asked>,
    server: &Running,
    fake: &FakeMilter,
    log: &Captured,
) {
    if let Some(asked) = asked {
        asked.closed().await;
    }
    mta.write(abort()).await;
    for _ in 0..2 {
        assert_eq!(mta.ask(mail("<next@example.com>")).await.code, 'y');
        log.expect(&["ERROR", "stage=mail", "milter other at"]);
    }
    mta.quit().await;
    let (mut mta, mut asked) = begun(server, fake, 0, 0).await;
    both_go(&mut mta, &mut asked, "CHMRTLNBE").await;
    mta.quit().await;
    assert_eq!(asked.closed().await, "Q");
}

/// What a milter says instead of something that it may, at which step, and what it is told to have done.
struct Fault {
    actions: u32,
    steps: u32,
    /// Steps that go well.
    before: &'static str,
    at: char,
    says: Vec<u8>,
    log: &'static str,
}

async fn fails(fault: &Fault) {
    for fake in FakeMilter::both().await {
        let log = Captured::new("warn");
        let milter = milter(fake.spec());
        let server = serve_milter(patient(), &milter);
        let (mut mta, mut asked) = begun(&server, &fake, fault.actions, fault.steps).await;
        both_go(&mut mta, &mut asked, fault.before).await;
        let goes_wrong = async {
            asked.expect(fault.at).await;
            asked.write(&fault.says).await;
        };
        let ((), reply) = tokio::join!(goes_wrong, mta.ask(step(fault.at)));
        assert_eq!(reply.code, 'y', "{}", fault.log);
        log.expect(&["ERROR", "filter failed: milter other at ", fault.log]);
        assert_eq!(milter.breaker().failures_in_a_row(), 1);
        is_lost(mta, Some(&mut asked), &server, &fake, &log).await;
        assert_eq!(milter.breaker().failures_in_a_row(), 0);
        server.drain().await;
    }
}

#[tokio::test]
async fn replies_that_are_none_fail_the_milter_for_the_connection() {
    for (says, log) in [
        (frame('?', b""), "at rcpt: it broke the protocol: filter: no such code (code 0x3f), state rcpt"),
        (vec![0, 0, 0, 0], "at rcpt: it broke the protocol: filter: frame of length 0"),
        (
            vec![0xff; 5],
            "at rcpt: it broke the protocol: filter: frame of 4294967294 bytes exceeds the limit",
        ),
        (frame('y', b"what?\0"), "at rcpt: it broke the protocol: filter: text is not an SMTP reply"),
        (frame('c', b"\0"), "at rcpt: it broke the protocol: filter: payload where none belongs in continue"),
        (frame('h', b"no NUL"), "at rcpt: it broke the protocol: filter: string without its final NUL"),
    ] {
        fails(&Fault { actions: 1, steps: 0, before: "CHM", at: 'R', says, log }).await;
    }
}

#[tokio::test]
async fn replies_that_the_stage_does_not_know_fail_it() {
    for (before, at, says, log) in [
        ("CH", 'M', frame('s', b""), "at mail: it broke the protocol: filter: not allowed now in skip"),
        (
            "CHMRTL",
            'N',
            frame('p', b""),
            "at end-of-headers: it broke the protocol: filter: not allowed now in progress",
        ),
        (
            "CHM",
            'R',
            frame('h', b"X\0y\0"),
            "at rcpt: it broke the protocol: filter: not allowed now in add-header",
        ),
        (
            "CHMRTLNB",
            'E',
            frame('s', b""),
            "at end-of-message: it broke the protocol: filter: not allowed now in skip",
        ),
        ("CHM", 'R', answer(6, 0, 0), "at rcpt: it broke the protocol: filter: not allowed now in negotiate"),
        ("CHM", 'R', frame('4', b""), "at rcpt: it broke the protocol: filter: not allowed now in shutdown"),
    ] {
        fails(&Fault { actions: 1, steps: 0, before, at, says, log }).await;
    }
}

#[tokio::test]
async fn what_was_not_negotiated_fails_it() {
    for (before, at, says, log) in [
        (
            "CHMRTLNB",
            'E',
            frame('+', b"<a@b>\0"),
            "at end-of-message: it broke the protocol: filter: reply was not negotiated in add-recipient",
        ),
        ("CHMRTLNB", 'E', frame('b', b"x"), "filter: reply was not negotiated in replace-body"),
        (
            "CHMRTLN",
            'B',
            frame('s', b""),
            "at body: it broke the protocol: filter: reply was not negotiated in skip",
        ),
    ] {
        fails(&Fault { actions: 1, steps: 0, before, at, says, log }).await;
    }
}

#[tokio::test]
async fn a_milter_that_closes_in_the_middle_of_a_message_is_gone() {
    for fake in FakeMilter::both().await {
        // Before its answer, in the middle of it, and while nobody waits for one.
        for (says, at) in [(Some(&b""[..]), "rcpt"), (Some(b"\0\0\0"), "rcpt"), (None, "data")] {
            let log = Captured::new("warn");
            let server = serve_milter(patient(), &milter(fake.spec()));
            let (mut mta, mut asked) = begun(&server, &fake, 0, 0).await;
            both_go(&mut mta, &mut asked, "CHM").await;
            if let Some(says) = says {
                let closes = async {
                    asked.expect('R').await;
                    asked.write(says).await;
                    drop(asked);
                };
                let ((), reply) = tokio::join!(closes, mta.ask(step('R')));
                assert_eq!(reply.code, 'y');
            } else {
                both_go(&mut mta, &mut asked, "R").await;
                drop(asked);
                assert_eq!(mta.ask(step('T')).await.code, 'y');
            }
            log.expect(&["filter failed: milter other at", at, ": it closed the connection"]);
            is_lost(mta, None, &server, &fake, &log).await;
            log.expect(&[&format!(
                "at mail: not asked any more on this connection, as it failed at {at}: it closed"
            )]);
            server.drain().await;
        }
    }
}

#[tokio::test]
async fn an_answer_where_none_was_agreed_on_is_no_answer_to_the_next_step() {
    for fake in FakeMilter::both().await {
        let log = Captured::new("warn");
        let server = serve_milter(patient(), &milter(fake.spec()));
        let (mut mta, mut asked) = begun(&server, &fake, 0, Steps::NO_REPLY_MAIL.bits()).await;
        both_go(&mut mta, &mut asked, "CH").await;
        mta.write(step('M')).await;
        asked.expect('M').await;
        asked.write(frame('a', b"")).await;
        assert_eq!(mta.ask(step('R')).await.code, 'y');
        log.expect(&["filter failed: milter other at rcpt: it answers although no answer is due"]);
        // Where it is not answered, a failure is told at the next step.
        mta.write(abort()).await;
        mta.write(step('M')).await;
        assert_eq!(mta.ask(step('R')).await.code, 'y');
        asked.closed().await;
        drop(mta);
        server.drain().await;
    }
}

#[tokio::test]
async fn more_than_one_answer_is_one_too_many() {
    for fake in FakeMilter::both().await {
        let log = Captured::new("warn");
        let server = serve_milter(patient(), &milter(fake.spec()));
        let (mut mta, mut asked) = begun(&server, &fake, 0, 0).await;
        both_go(&mut mta, &mut asked, "CH").await;
        let twice = async {
            asked.expect('M').await;
            asked.write([frame('c', b""), frame('r', b"")].concat()).await;
        };
        tokio::join!(twice, mta.go([step('M')]));
        assert_eq!(mta.ask(step('R')).await.code, 'y');
        log.expect(&["filter failed: milter other at rcpt: it answers although no answer is due"]);
        is_lost(mta, Some(&mut asked), &server, &fake, &log).await;
        server.drain().await;
    }
}

#[tokio::test]
async fn a_milter_that_cannot_be_negotiated_with_answers_at_mail_and_never_at_connect() {
    let folder = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = [nobody(folder.path()), format!("inet:{free}").parse().unwrap()];
    for socket in nobody {
        for (policy, code) in [
            (Options::default().on_failure, 'y'),
            (Verdict::Reject, 'r'),
            (Verdict::Accept, 'a'),
            (Verdict::Continue, 'c'),
        ] {
            let log = Captured::new("warn");
            let server = serve_milter(on_failure(policy), &milter(socket.clone()));
            let mut mta = server.mta().await;
            log.expect(&[
                "WARN",
                "milter other at negotiation: cannot connect to",
                &socket.to_string(),
                "; it is not asked on this connection",
            ]);
            // Also for an MTA that sends them although they are not wanted.
            mta.go([connect(), helo("h")]).await;
            for _ in 0..2 {
                assert_eq!(mta.ask(step('M')).await.code, code);
            }
            log.expect(&[
                "ERROR",
                "stage=mail",
                "filter failed: milter other at negotiation: cannot connect",
            ]);
            mta.quit().await;
            server.drain().await;
        }
    }
}

/// What a milter makes of an offer, and what is wrong with that.
async fn refuses_to_negotiate(offered: Offer, says: Option<Vec<u8>>, words: &str) {
    for fake in FakeMilter::both().await {
        let log = Captured::new("warn");
        let milter = milter(fake.spec());
        let server = serve_milter(patient(), &milter);
        let mut mta = server.connect().await;
        let answers = async {
            let mut asked = fake.accept().await;
            assert_eq!(asked.next().await.unwrap().code, 'O');
            match &says {
                Some(says) => {
                    asked.write(says).await;
                    assert_eq!(asked.closed().await, "");
                }
                None => drop(asked),
            }
        };
        let ((), reply) = tokio::join!(answers, mta.ask(offer_of(offered)));
        assert_eq!(reply.code, 'O');
        assert_eq!(mta.ask(step('M')).await.code, 'y');
        log.expect(&["ERROR", "stage=mail", &format!("milter other at negotiation: {words}")]);
        mta.quit().await;
        server.drain().await;
    }
}

#[tokio::test]
async fn answers_to_the_offer_that_are_none_are_named() {
    for (says, words) in [
        (None, "it closed the connection"),
        (Some(frame('c', b"")), "it broke the protocol: filter: not allowed now in continue"),
        (Some(frame('O', b"\0\0\0\x06\0")), "it broke the protocol: filter: payload is cut off in negotiate"),
        (Some(answer(7, 0, 0)), "it broke the protocol: filter: protocol version 7 is not served"),
        (Some(answer(1, 0, 0)), "it broke the protocol: filter: protocol version 1 is not served"),
        (Some(answer(6, 0, 0x4000_0000)), "it broke the protocol: filter: steps 0x40000000 were not offered"),
        (Some(b"220 mail.example ESMTP\r\n".to_vec()), "this is an SMTP server, not a milter: "),
    ] {
        refuses_to_negotiate(Offer::CURRENT, says, words).await;
    }
}

#[tokio::test]
async fn actions_that_the_mta_lacks_are_named() {
    let offered = Offer { actions: Actions::ADD_HEADERS | Actions::QUARANTINE, ..Offer::CURRENT };
    let says = answer(6, 0x43, 0);
    let words = "it needs replace-body|change-sender, but add-headers|quarantine is all that is offered";
    refuses_to_negotiate(offered, Some(says), words).await;
}

#[tokio::test]
async fn missing_actions_of_one_mta_do_not_keep_others_from_the_milter() {
    let fake = FakeMilter::unix();
    let milter = milter(fake.spec());
    let server = serve_milter(patient(), &milter);
    for _ in 0..6 {
        let mut mta = server.connect().await;
        let offered = Offer { actions: Actions::ADD_HEADERS, ..Offer::CURRENT };
        tokio::join!(fake.negotiated(2, 0), mta.ask(offer_of(offered)));
        mta.quit().await;
    }
    assert_eq!(milter.breaker().state(), BreakerState::Closed);
    let (mta, _asked) = begun(&server, &fake, 2, 0).await;
    drop(mta);
    server.drain().await;
}

#[tokio::test]
async fn a_milter_of_version_2_gets_no_steps_that_it_does_not_know() {
    for fake in FakeMilter::both().await {
        let server = serve_milter(patient(), &milter(fake.spec()));
        let mut mta = server.connect().await;
        let negotiates = async {
            let mut asked = fake.accept().await;
            asked.negotiate(2, 0x1, 0).await;
            asked
        };
        let (mut asked, reply) = tokio::join!(negotiates, mta.ask(offer()));
        // The MTA hears that neither DATA nor unknown commands are wanted.
        assert_eq!(&reply.payload[..], b"\0\0\0\x06\0\0\0\x01\0\0\x03\0");
        both_go(&mut mta, &mut asked, "CHMR").await;
        // It may send them all the same, and is answered.
        mta.go([step('U'), step('T')]).await;
        both_go(&mut mta, &mut asked, "LNB").await;
        let edits = async {
            asked.expect('E').await;
            asked.write([frame('h', b"X-A\0b\0"), frame('c', b"")].concat()).await;
        };
        let asks = async {
            mta.write(step('E')).await;
            assert_eq!(mta.codes(2).await, "hc");
        };
        tokio::join!(edits, asks);
        mta.quit().await;
        assert_eq!(asked.closed().await, "Q");
        server.drain().await;
    }
}

#[tokio::test]
async fn a_modification_that_cannot_be_done_fails_its_message_alone() {
    for (edit, words) in [
        (frame('h', b"X Y\0z\0"), "add-header, which it asks for, cannot be done: header name has"),
        (frame('+', b"<a@b>,<c@d>\0"), "add-recipient, which it asks for, cannot be done: "),
    ] {
        for fake in FakeMilter::both().await {
            let log = Captured::new("warn");
            let server = serve_milter(patient(), &milter(fake.spec()));
            let (mut mta, mut asked) = begun(&server, &fake, 0x1f, 0).await;
            both_go(&mut mta, &mut asked, "CHMRTLNB").await;
            let edits = async {
                asked.expect('E').await;
                asked.write([&edit[..], &frame('h', b"X-A\0b\0"), &frame('c', b"")].concat()).await;
            };
            let ((), reply) = tokio::join!(edits, mta.ask(step('E')));
            assert_eq!(reply.code, 'y');
            log.expect(&["filter failed: milter other at end-of-message", words]);
            both_go(&mut mta, &mut asked, "MRTLNBE").await;
            mta.quit().await;
            server.drain().await;
        }
    }
}

#[tokio::test]
async fn modifications_without_end_are_not_kept() {
    let log = Captured::new("warn");
    let fake = FakeMilter::unix();
    let mut options = RemoteOptions::new();
    options.edits = 100_000;
    let server = serve_milter(patient(), &Milter::with_options("other", fake.spec(), options));
    let (mut mta, mut asked) = begun(&server, &fake, 0x1, 0).await;
    both_go(&mut mta, &mut asked, "CHMRTLNB").await;
    let edits = async {
        asked.expect('E').await;
        asked.write(frame('h', b"X-A\0b\0").repeat(2_000)).await;
        asked.go().await;
    };
    let ((), reply) = tokio::join!(edits, mta.ask(step('E')));
    assert_eq!(reply.code, 'y');
    log.expect(&[
        "milter other at end-of-message: modifications that it asks for exceed the limit of 100000 bytes",
    ]);
    both_go(&mut mta, &mut asked, "MRTLNBE").await;
    mta.quit().await;
    server.drain().await;
}

/// Options of a server whose handlers have this much time at most.
fn hurried(seconds: u64) -> Options {
    let mut options = patient();
    options.stage_time = Duration::from_secs(seconds);
    options.end_of_message_time = Duration::from_secs(seconds);
    options
}

#[tokio::test(start_paused = true)]
async fn a_slow_milter_fails_within_its_own_time_or_the_stages() {
    for (server_time, before, at, words) in [
        (60, "CHM", 'R', "at rcpt: no answer within 2s"),
        (60, "CHMRTLN", 'B', "at body: no answer within 3s"),
        (60, "CHMRTLNB", 'E', "at end-of-message: no answer within 3s"),
        (1, "CHM", 'R', "at rcpt: no answer within 1s"),
        (1, "CHMRTLNB", 'E', "at end-of-message: no answer within 1s"),
        // Its own time is up first, although both are the same.
        (2, "", 'C', "at connect: no answer within 2s"),
    ] {
        let log = Captured::new("warn");
        let fake = FakeMilter::unix();
        let mut options = RemoteOptions::new();
        options.command_time = Duration::from_secs(2);
        options.content_time = Duration::from_secs(3);
        let milter = Milter::with_options("other", fake.spec(), options);
        let server = serve_milter(hurried(server_time), &milter);
        let (mut mta, mut asked) = begun(&server, &fake, 0, 0).await;
        both_go(&mut mta, &mut asked, before).await;
        assert_eq!(mta.ask(step(at)).await.code, 'y');
        asked.expect(at).await;
        log.expect(&["filter failed: milter other", words]);
        is_lost(mta, Some(&mut asked), &server, &fake, &log).await;
        server.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn progress_does_not_give_a_milter_more_than_the_stages_time() {
    let log = Captured::new("warn");
    let fake = FakeMilter::unix();
    let server = serve_milter(hurried(5), &milter(fake.spec()));
    let (mut mta, mut asked) = begun(&server, &fake, 0, 0).await;
    both_go(&mut mta, &mut asked, "CHMRTLNB").await;
    let works = async {
        asked.expect('E').await;
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            asked.write(frame('p', b"")).await;
        }
    };
    let ((), reply) = tokio::join!(works, mta.ask(step('E')));
    assert_eq!(reply.code, 'y');
    log.expect(&["filter failed: milter other at end-of-message: no answer within 5s"]);
    drop(mta);
    server.drain().await;
}

#[tokio::test]
async fn a_milter_that_does_not_negotiate_is_not_waited_for_long() {
    for fake in FakeMilter::both().await {
        let log = Captured::new("warn");
        let mut options = RemoteOptions::new();
        options.negotiation_time = Duration::from_millis(100);
        let server = serve_milter(patient(), &Milter::with_options("other", fake.spec(), options));
        let mut mta = server.mta().await;
        assert_eq!(mta.ask(step('M')).await.code, 'y');
        log.expect(&["filter failed: milter other at negotiation: no answer within 100ms"]);
        mta.quit().await;
        server.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_milter_that_fails_again_and_again_is_left_alone_and_tried_again() {
    let log = Captured::new("info");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nobody.sock");
    let mut options = RemoteOptions::new();
    options.breaker.failures = 3;
    options.breaker.jitter = 0.0;
    let milter = Milter::with_options("other", SocketSpec::Unix(path.clone()), options);
    let server = serve_milter(patient(), &milter);
    let fails = async || {
        let mut mta = server.mta().await;
        assert_eq!(mta.ask(step('M')).await.code, 'y');
        mta.quit().await;
    };
    for _ in 0..3 {
        fails().await;
    }
    assert_eq!(milter.breaker().state(), BreakerState::Open(Duration::from_secs(1)));
    log.expect(&["WARN", "milter=other", "milter is left alone for 1s: cannot connect"]);
    fails().await;
    log.expect(&["filter failed: milter other at negotiation: not asked after 3 failures in a row"]);
    let counts = milter.breaker().counts();
    assert_eq!((counts.attempts, counts.failures, counts.refused, counts.opened), (3, 3, 1, 1));

    // It comes up, and is found when the time is over.
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let fake = FakeMilter::Unix(listener, folder);
    fails().await;
    tokio::time::advance(Duration::from_secs(1)).await;
    let (mut mta, mut asked) = begun(&server, &fake, 0, 0).await;
    log.expect(&["INFO", "milter=other", "milter is back"]);
    both_go(&mut mta, &mut asked, "CHMRTLNBE").await;
    assert_eq!((milter.breaker().state(), milter.breaker().failures_in_a_row()), (BreakerState::Closed, 0));
    mta.quit().await;
    server.drain().await;
}
