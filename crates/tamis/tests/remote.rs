//! A milter that is consulted: what it gets, and what becomes of what it says.

mod common;

use std::time::Duration;

use common::frames::*;
use common::milter::{FakeMilter, frame};
use common::{Act, Captured, Notes, Probe, Running, go, patient, serve, serve_probe, serve_tcp};
use tamis::proto::command::Kind;
use tamis::remote::{BreakerState, Milter, RemoteOptions};
use tamis::{Actions, Event, MacroStage, Needs, SocketSpec, Stage, Verdict};

const STAGES_AND_END: &str = "connect helo mail rcpt data header end-of-headers body end-of-message";

/// A server whose filter consults a milter.
fn relay(socket: SocketSpec) -> Running {
    serve_milter(&Milter::with_options("other", socket, RemoteOptions::new()))
}

fn serve_milter(milter: &Milter) -> Running {
    let milter = milter.clone();
    serve(patient(), move |_| milter.connection())
}

/// A probe that is consulted by a server.
fn consulted(probe: &Probe) -> (Running, Running) {
    let milter = serve_probe(patient(), probe);
    let server = relay(milter.spec());
    (milter, server)
}

async fn begin(mta: &mut common::Mta) {
    mta.go([connect(), helo("mail.example")]).await;
}

/// A filter that asks for one of everything.
fn editor() -> (Probe, Notes) {
    let all = Actions::CURRENT - Actions::MACRO_LISTS;
    Probe::new(Needs::everything().require(all), |cx, event| {
        if matches!(event, Event::EndOfMessage) {
            cx.quarantine("look").unwrap();
            cx.change_sender("<new@example.com>", Some("ENVID=x")).unwrap();
            cx.delete_recipient("<to@example.com>").unwrap();
            cx.add_recipient("<a@example.com>").unwrap();
            cx.add_recipient_with_args("<b@example.com>", "NOTIFY=NEVER").unwrap();
            cx.change_header(1, "Subject", "one\n\ttwo").unwrap();
            cx.insert_header(0, "X-Top", "").unwrap();
            cx.add_header("X-Last", "100 %").unwrap();
            cx.replace_body("New.\r\n").unwrap();
        }
        go()
    })
}

#[tokio::test]
async fn every_kind_of_modification_comes_through_as_it_was_asked_for() {
    let (probe, mut notes) = editor();
    let milter = serve_probe(patient(), &probe);
    let (tcp_milter, address) = serve_tcp(patient(), &probe);
    let servers = [relay(milter.spec()), relay(format!("inet:{address}").parse().unwrap())];
    let mut replies = Vec::new();
    for server in [&milter, &servers[0], &servers[1]] {
        let mut mta = server.mta().await;
        begin(&mut mta).await;
        let mut frames = message("<from@example.com>");
        let end = frames.pop().unwrap();
        mta.go(frames).await;
        mta.write(end).await;
        let mut said = vec![mta.reply().await];
        while said.last().unwrap().code != 'c' {
            said.push(mta.reply().await);
        }
        replies.push(said);
        mta.quit().await;
        assert_eq!(notes.ended().await.iter().filter(|note| !note.contains("dropped")).count(), 10);
    }
    assert_eq!(replies[0].iter().map(|frame| frame.code).collect::<String>(), "qe-+2mihbc");
    assert_eq!(replies[0], replies[1]);
    assert_eq!(replies[0], replies[2]);
    for server in servers.into_iter().chain([milter, tcp_milter]) {
        server.drain().await;
    }
}

#[tokio::test]
async fn messages_of_a_connection_share_one_to_the_milter() {
    let (probe, mut notes) = Probe::quiet();
    let (milter, server) = consulted(&probe);
    let mut mta = server.mta().await;
    begin(&mut mta).await;
    for _ in 0..3 {
        mta.go(message("<from@example.com>")).await;
    }
    mta.go([mail("<a@b>"), rcpt("<c@d>")]).await;
    mta.write(abort()).await;
    mta.go(message("<from@example.com>")).await;
    mta.quit().await;
    let seen = notes.ended().await.join(" ").replace("message dropped after ", "| ");
    let once = "mail rcpt data header end-of-headers body end-of-message";
    let once = format!("{once} | {once}");
    let aborted = "mail rcpt abort | mail rcpt abort";
    let expected = format!("connect helo {once} {once} {once} {aborted} {once} close");
    assert_eq!(seen, expected);
    assert_eq!(milter.counters.accepted(), 1);
    server.drain().await;
    milter.drain().await;
}

#[tokio::test]
async fn a_milter_is_offered_what_the_mta_offers_and_the_mta_is_told_what_it_wants() {
    for milter in FakeMilter::both().await {
        let server = relay(milter.spec());
        let mut mta = server.connect().await;
        let answers = async {
            let mut asked = milter.accept().await;
            let offer = asked.next().await.unwrap();
            assert_eq!(&offer.payload[..], b"\0\0\0\x04\0\0\0\x3f\0\0\x03\x7f");
            asked.write(common::milter::answer(4, 0x11, 0x43)).await;
            asked
        };
        let offer = tamis::proto::Offer {
            version: 4,
            actions: Actions::VERSION_2,
            steps: tamis::proto::Steps::VERSION_4,
        };
        let (mut asked, answer) = tokio::join!(answers, mta.ask(offer_of(offer)));
        assert_eq!(&answer.payload[..], b"\0\0\0\x04\0\0\0\x11\0\0\0\x43");
        mta.quit().await;
        assert_eq!(asked.closed().await, "Q");
        server.drain().await;
    }
}

#[tokio::test]
async fn steps_that_are_not_answered_are_not_waited_for() {
    for milter in FakeMilter::both().await {
        let server = relay(milter.spec());
        let mut mta = server.connect().await;
        // No answers but to the end of message.
        let (mut asked, answer) = tokio::join!(milter.negotiated(0, 0xf_f080), mta.ask(offer()));
        assert_eq!(&answer.payload[8..], b"\0\x0f\xf0\x80");
        let frames = [connect(), helo("h")].into_iter().chain(message("<>"));
        mta.write(frames.collect::<Vec<_>>().concat()).await;
        for code in "CHMRTLNBE".chars() {
            asked.expect(code).await;
        }
        asked.go().await;
        assert_eq!(mta.reply().await.code, 'c');
        mta.quit().await;
        server.drain().await;
    }
}

#[tokio::test]
async fn macros_of_steps_that_the_milter_does_not_get_reach_it_too() {
    let needs = Needs::new().answer([Stage::Header, Stage::EndOfMessage]);
    let (probe, mut notes) = Probe::new(needs, |cx, _| {
        let value = |name| {
            let value = cx.macro_value(name).unwrap_or(b"none");
            format!("{name}={}", String::from_utf8_lossy(value))
        };
        let values = ["j", "tls_version", "mail_addr", "rcpt_addr", "i"].map(value);
        Act::Fail(Box::leak(values.join(" ").into_boxed_str()))
    });
    let log = Captured::new("error");
    let (milter, server) = consulted(&probe);
    let mut mta = server.mta().await;
    let before = [
        macros(Kind::Connect, &[("j", "mta"), ("i", "connect")]),
        macros(Kind::Mail, &[("{mail_addr}", "a@b")]),
        macros(Kind::Rcpt, &[("{rcpt_addr}", "c@d"), ("i", "Q1")]),
        macros(Kind::Header, &[("i", "L1")]),
    ];
    mta.write(before.concat()).await;
    assert_eq!(mta.ask(header("Subject", "x")).await.code, 'y');
    log.expect(&["filter failed: j=mta tls_version=none mail_addr=a@b rcpt_addr=c@d i=L1"]);
    let again = [macros(Kind::Rcpt, &[("{rcpt_addr}", "e@f")]), header("Subject", "y")];
    mta.write(abort()).await;
    assert_eq!(mta.ask(again.concat()).await.code, 'y');
    log.expect(&["filter failed: j=mta tls_version=none mail_addr=a@b rcpt_addr=e@f i=connect"]);
    drop(mta);
    notes.until("close").await;
    server.drain().await;
    milter.drain().await;
}

#[tokio::test]
async fn a_milter_with_lists_gets_the_macros_that_it_named() {
    let needs = Needs::everything().macros(MacroStage::Mail, ["i", "mail_addr"]);
    let (probe, mut notes) = Probe::quiet();
    let (probe, milter_notes) = (probe, &mut notes);
    let probe = probe.with_negotiate(move |_| Ok(needs.clone()));
    let milter = serve_probe(patient(), &probe);
    let options =
        RemoteOptions::new().macros(MacroStage::Helo, ["tls_version"]).macros(MacroStage::Mail, ["x"]);
    let server = serve_milter(&Milter::with_options("m", milter.spec(), options));
    let mut mta = server.connect().await;
    let answer = mta.negotiate().await;
    // The milter's own list, and the one that stands in where it has none.
    assert_eq!(&answer[12..], b"\0\0\0\x01{tls_version}\0\0\0\0\x02i {mail_addr}\0");
    mta.quit().await;
    milter_notes.until("close").await;
    server.drain().await;
    milter.drain().await;
}

#[tokio::test]
async fn a_body_larger_than_memory_is_replaced_by_one() {
    const PIECES: usize = 100;
    let needs = Needs::everything().require(Actions::REPLACE_BODY);
    let (probe, _notes) = Probe::new(needs, |cx, event| {
        if matches!(event, Event::EndOfMessage) {
            (0..PIECES)
                .for_each(|n| cx.replace_body(vec![b'a' + u8::try_from(n % 26).unwrap(); 60_000]).unwrap());
        }
        go()
    });
    let (milter, server) = consulted(&probe);
    let mut mta = server.mta().await;
    begin(&mut mta).await;
    mta.go([mail("<>"), rcpt("<a@b>"), data(), end_of_headers()]).await;
    mta.go((0..PIECES).map(|_| body(&vec![b'x'; 65_535]))).await;
    mta.write(end_of_message()).await;
    let mut new = Vec::new();
    loop {
        let frame = mta.reply().await;
        match frame.code {
            'b' => new.extend_from_slice(&frame.payload),
            'c' => break,
            code => panic!("{code}"),
        }
    }
    assert_eq!(new.len(), PIECES * 60_000);
    assert!(
        new.chunks(60_000)
            .enumerate()
            .all(|(n, piece)| piece.iter().all(|byte| usize::from(byte - b'a') == n % 26))
    );
    mta.quit().await;
    server.drain().await;
    milter.drain().await;
}

#[tokio::test]
async fn pieces_of_a_body_that_do_not_fit_a_packet_are_split() {
    let milter = FakeMilter::unix();
    let server = relay(milter.spec());
    let mut mta = server.connect().await;
    let (mut asked, _) = tokio::join!(milter.negotiated(0, 0), mta.ask(offer()));
    let milter = async {
        asked.goes("CHMRTN").await;
        let mut lengths = Vec::new();
        loop {
            let frame = asked.command().await;
            asked.go().await;
            match frame.code {
                'B' => lengths.push(frame.payload.len()),
                'E' => return lengths,
                code => panic!("{code}"),
            }
        }
    };
    let frames = [connect(), helo("h"), mail("<>"), rcpt("<a@b>"), data(), end_of_headers()];
    let frames = frames.into_iter().chain([body(&vec![b'x'; 150_000]), end_of_message()]);
    let (lengths, ()) = tokio::join!(milter, mta.go(frames));
    assert_eq!(lengths, [65_535, 65_535, 18_930]);
    drop(mta);
    server.drain().await;
}

#[tokio::test]
async fn a_header_field_that_does_not_fit_its_packet_fails_the_message_and_names_the_milter() {
    let log = Captured::new("error");
    let (probe, mut notes) = Probe::quiet();
    let (milter, server) = consulted(&probe);
    let mut mta = server.mta().await;
    begin(&mut mta).await;
    mta.go([mail("<>"), rcpt("<a@b>"), data(), header("Subject", "x")]).await;
    assert_eq!(mta.ask(header("X-Long", &"x".repeat(70_000))).await.code, 'y');
    log.expect(&[
        "filter failed: milter other at header: header of 70008 bytes exceeds its packet size of 65535",
    ]);
    // The next message finds it well, and the aborted one over.
    mta.go(message("<>")).await;
    mta.quit().await;
    let seen = notes.ended().await.join(" ");
    assert!(seen.contains("header abort"), "{seen}");
    server.drain().await;
    milter.drain().await;
}

#[tokio::test]
async fn a_new_client_on_the_same_connection_is_a_new_session_for_the_milter() {
    let (probe, mut notes) = Probe::quiet();
    let (milter, server) = consulted(&probe);
    let mut mta = server.mta().await;
    begin(&mut mta).await;
    mta.go(message("<>")).await;
    mta.write(quit_new_connection()).await;
    begin(&mut mta).await;
    mta.go(message("<>")).await;
    mta.quit().await;
    for _ in 0..2 {
        let seen = notes.ended().await;
        let seen: Vec<_> =
            seen.iter().filter(|note| !note.starts_with("message")).map(String::as_str).collect();
        assert_eq!(seen.join(" "), format!("{STAGES_AND_END} close"));
    }
    assert_eq!((milter.counters.accepted(), server.counters.accepted()), (2, 1));
    server.drain().await;
    milter.drain().await;
}

#[tokio::test(start_paused = true)]
async fn progress_gives_a_milter_more_time() {
    let mut options = RemoteOptions::new();
    options.content_time = Duration::from_millis(1_500);
    let milter = FakeMilter::unix();
    let server = serve_milter(&Milter::with_options("slow", milter.spec(), options));
    let mut mta = server.connect().await;
    let (mut asked, _) = tokio::join!(milter.negotiated(1, 0), mta.ask(offer()));
    let works = async {
        asked.goes("CHMRTLNB").await;
        asked.expect('E').await;
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            asked.write(frame('p', b"")).await;
        }
        asked.write(frame('h', b"X-A\0b\0")).await;
        asked.go().await;
    };
    let asks = async {
        begin(&mut mta).await;
        let mut frames = message("<>");
        let end = frames.pop().unwrap();
        mta.go(frames).await;
        mta.write(end).await;
        assert_eq!(mta.codes(2).await, "hc");
    };
    tokio::join!(works, asks);
    drop(mta);
    server.drain().await;
}

#[tokio::test]
async fn verdicts_of_all_kinds_come_through() {
    let verdicts = [
        (Stage::Helo, Verdict::Tempfail, 't'),
        (Stage::Mail, Verdict::Reject, 'r'),
        (Stage::Rcpt, Verdict::reject("5.1.1", "50 % unknown\nreally"), 'y'),
        (Stage::Data, Verdict::Discard, 'd'),
        (Stage::Header, Verdict::Accept, 'a'),
        (Stage::Body, Verdict::Skip, 's'),
        (Stage::EndOfMessage, Verdict::Accept, 'a'),
        (Stage::Unknown, Verdict::Reject, 'r'),
    ];
    for (stage, verdict, code) in verdicts {
        let (probe, _notes) = Probe::new(Needs::everything(), move |_, event| {
            Act::Say(if event.stage() == Some(stage) { verdict.clone() } else { Verdict::Continue })
        });
        let (milter, server) = consulted(&probe);
        let (mut direct, mut mta) = (milter.mta().await, server.mta().await);
        let all = [connect(), helo("h"), unknown("WHAT 100 %")].into_iter().chain(message("<>"));
        for frame in all {
            let (there, here) = (direct.ask(&frame).await, mta.ask(&frame).await);
            assert_eq!(there, here);
            if here.code == code {
                break;
            }
            assert_eq!(here.code, 'c');
        }
        drop((mta, direct));
        server.drain().await;
        milter.drain().await;
    }
}

#[tokio::test]
async fn a_connection_that_went_well_leaves_the_breaker_closed() {
    let (probe, _notes) = Probe::quiet();
    let target = serve_probe(patient(), &probe);
    let milter = Milter::new(target.spec());
    let server = serve_milter(&milter);
    server.mta().await.quit().await;
    assert_eq!(milter.breaker().state(), BreakerState::Closed);
    assert_eq!((milter.breaker().counts().attempts, milter.breaker().counts().failures), (1, 0));
    assert_eq!(milter.name(), target.spec().to_string());
    server.drain().await;
    target.drain().await;
}
