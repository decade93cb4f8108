//! Milters that are consulted as members of a chain.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::frames::*;
use common::milter::{FakeMilter, nobody};
use common::{Act, Captured, Mta, Notes, Probe, go, patient, serve, serve_probe, serve_tcp};
use tamis::chain::{Chain, Member, OnFailure};
use tamis::proto::Steps;
use tamis::proto::command::Kind;
use tamis::remote::{BreakerState, Milter, RemoteOptions};
use tamis::{Actions, Event, MacroStage, Needs, SocketSpec, Stage, Verdict};

fn milter(name: &str, socket: SocketSpec) -> Milter {
    Milter::with_options(name, socket, RemoteOptions::new())
}

fn member(milter: &Milter) -> Member {
    Member::new(milter.name(), milter.connection())
}

/// A filter that adds a header field with the fields that it has seen.
fn marker(name: &'static str, needs: Needs) -> (Probe, Notes) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    Probe::new(needs.require(Actions::ADD_HEADERS), move |cx, event| {
        let mut seen = seen.lock().unwrap();
        match event {
            Event::Mail(_) => seen.clear(),
            Event::Header(field) => {
                seen.push(format!("{:?}={:?}", field.name, field.value).replace(['b', '"'], ""));
            }
            Event::EndOfMessage => cx.add_header(name, seen.join(" ")).unwrap(),
            _ => {}
        }
        go()
    })
}

/// The header fields that are added to a message.
async fn added(mta: &mut Mta, frames: impl IntoIterator<Item = Vec<u8>>) -> Vec<String> {
    let mut frames: Vec<_> = frames.into_iter().collect();
    let end = frames.pop().unwrap();
    mta.go(frames).await;
    mta.write(end).await;
    let mut added = Vec::new();
    loop {
        let reply = mta.reply().await;
        match reply.code {
            'h' | 'i' => added.push(String::from_utf8_lossy(&reply.payload).replace('\0', ": ")),
            'c' => return added,
            code => panic!("{code}"),
        }
    }
}

#[tokio::test]
async fn each_milter_of_a_pipeline_sees_what_those_before_it_did() {
    let (first, _first) = marker("X-First", Needs::everything());
    let (second, _second) = marker("X-Second", Needs::everything().leading_space());
    let (here, _here) = marker("X-Here", Needs::everything());
    let unix = serve_probe(patient(), &first);
    let (tcp, address) = serve_tcp(patient(), &second);
    let milters =
        [milter("first", unix.spec()), milter("second", format!("inet:{address}").parse().unwrap())];
    let server = serve(patient(), move |peer| {
        let [first, second] = milters.each_ref().map(member);
        Chain::pipeline().member(first).add("here", here.for_connection(peer.id)).member(second)
    });
    let mut mta = server.mta().await;
    mta.go([connect(), helo("h")]).await;
    for _ in 0..2 {
        // As one of them deals with the space itself, the MTA does not any more.
        let frames =
            [mail("<a@b>"), rcpt("<c@d>"), data(), header("A", " 1"), end_of_headers(), end_of_message()];
        let fields = added(&mut mta, frames).await;
        let expected = [
            "X-First:  A=1: ",
            "X-Here:  A=1 X-First=A=1: ",
            "X-Second: A= 1 X-First= A=1 X-Here= A=1 X-First=A=1: ",
        ];
        assert_eq!(fields, expected);
    }
    mta.quit().await;
    for server in [server, unix, tcp] {
        server.drain().await;
    }
}

#[tokio::test]
async fn each_milter_sees_the_macros_and_recipients_that_it_asked_for() {
    let looks = |cx: &common::Cx<'_>, event: &Event| {
        let value = |name| cx.macro_value(name).map(|value| String::from_utf8_lossy(value).into_owned());
        format!("{} i={:?} auth={:?}", event.name(), value("i"), value("auth_authen"))
    };
    let seen = Arc::new(Mutex::new(Vec::new()));
    let probe = |needs: Needs, name: &'static str| {
        let seen = seen.clone();
        Probe::new(needs, move |cx, event| {
            seen.lock().unwrap().push(format!("{name} {}", looks(cx, event)));
            go()
        })
    };
    let lists = Needs::new().answer([Stage::Mail, Stage::Rcpt]).macros(MacroStage::Mail, ["i"]);
    let (one, _one) = probe(lists.clone().rejected_recipients(), "one");
    let (two, _two) = probe(
        Needs::new().answer([Stage::Mail, Stage::Rcpt]).macros(MacroStage::Mail, ["auth_authen"]),
        "two",
    );
    let milters = [serve_probe(patient(), &one), serve_probe(patient(), &two)];
    let names = [milter("one", milters[0].spec()), milter("two", milters[1].spec())];
    let server = serve(patient(), move |_| {
        names.iter().fold(Chain::pipeline(), |chain, milter| chain.member(member(milter)))
    });
    let mut mta = server.mta().await;
    mta.write(macros(Kind::Mail, &[("i", "Q1"), ("{auth_authen}", "me")])).await;
    mta.go([mail("<a@b>")]).await;
    let rejected = [("{rcpt_mailer}", "error"), ("{rcpt_host}", "5.1.1"), ("{rcpt_addr}", "no")];
    mta.write(macros(Kind::Rcpt, &rejected)).await;
    mta.go([rcpt("<bad@b>")]).await;
    mta.write(macros(Kind::Rcpt, &[("{rcpt_mailer}", "smtp")])).await;
    mta.go([rcpt("<good@b>")]).await;
    mta.quit().await;
    let expected = [
        r#"one mail i=Some("Q1") auth=None"#,
        r#"two mail i=None auth=Some("me")"#,
        r#"one rcpt i=Some("Q1") auth=None"#,
        r#"one rcpt i=Some("Q1") auth=None"#,
        r#"two rcpt i=None auth=Some("me")"#,
    ];
    let seen: Vec<_> = seen
        .lock()
        .unwrap()
        .iter()
        .filter(|seen| !seen.contains("abort") && !seen.contains("close"))
        .cloned()
        .collect();
    assert_eq!(seen, expected);
    for server in milters.into_iter().chain([server]) {
        server.drain().await;
    }
}

#[tokio::test]
async fn a_milter_that_cannot_be_reached_costs_its_policy_and_no_other_filter() {
    let folder = tempfile::tempdir().unwrap();
    for (policy, codes) in [
        (OnFailure::Tempfail, "y"),
        (OnFailure::Reject, "y"),
        (OnFailure::Accept, "cccccch c"),
        (OnFailure::Quarantine, "ccccccqhc"),
    ] {
        let log = Captured::new("error");
        let (good, _notes) = marker("X-Good", Needs::everything());
        let dead = milter("dead", nobody(folder.path()));
        let server = serve(patient(), move |peer| {
            let dead = member(&dead).on_failure(policy);
            Chain::pipeline().member(dead).add("good", good.for_connection(peer.id))
        });
        let mut mta = server.mta().await;
        mta.go([connect(), helo("h")]).await;
        for _ in 0..2 {
            let mut got = String::new();
            for frame in message("<a@b>") {
                mta.write(frame).await;
                got.push(mta.reply().await.code);
                while matches!(got.chars().last(), Some('h' | 'q' | 'i')) {
                    got.push(mta.reply().await.code);
                }
                if got.ends_with('y') {
                    break;
                }
            }
            assert_eq!(got, codes.replace(' ', ""), "{policy}");
            mta.write(abort()).await;
        }
        log.expect(&["filter failed: milter dead at negotiation: cannot connect", "filter=\"dead\""]);
        mta.quit().await;
        server.drain().await;
    }
}

#[tokio::test]
async fn a_milter_that_goes_away_is_out_of_the_connection() {
    for fake in FakeMilter::both().await {
        let log = Captured::new("error");
        let (good, mut notes) = Probe::quiet();
        let gone = milter("gone", fake.spec());
        let shared = gone.clone();
        let server = serve(patient(), move |peer| {
            Chain::pipeline().member(member(&shared)).add("good", good.for_connection(peer.id))
        });
        let mut mta = server.connect().await;
        let (mut asked, _) = tokio::join!(fake.negotiated(0, 0), mta.ask(offer()));
        tokio::join!(asked.goes("CH"), mta.go([connect(), helo("h")]));
        drop(asked);
        for _ in 0..2 {
            assert_eq!(mta.ask(mail("<a@b>")).await.code, 'y');
            mta.write(abort()).await;
        }
        // It is not asked again, and said to have failed once.
        assert_eq!(log.count("milter gone at mail: it closed the connection"), 1);
        assert_eq!((gone.breaker().counts().attempts, gone.breaker().failures_in_a_row()), (1, 1));
        mta.quit().await;
        assert_eq!(notes.ended().await, ["connect", "helo", "close"]);
        server.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_milter_that_is_cancelled_by_the_verdict_of_another_goes_on_with_the_next_message() {
    let fake = FakeMilter::unix();
    let slow = milter("slow", fake.spec());
    let shared = slow.clone();
    let (quick, _notes) = Probe::new(Needs::everything(), |_, event| match event {
        Event::Mail(sender) if &sender.address[..] == b"<bad@b>" => {
            Act::After(Duration::from_secs(1), Verdict::Reject)
        }
        _ => go(),
    });
    let server = serve(patient(), move |peer| {
        Chain::parallel().member(member(&shared)).add("quick", quick.for_connection(peer.id))
    });
    let mut mta = server.connect().await;
    let (mut asked, _) = tokio::join!(fake.negotiated(0, 0), mta.ask(offer()));
    tokio::join!(asked.goes("CH"), mta.go([connect(), helo("h")]));
    assert_eq!(mta.ask(mail("<bad@b>")).await.code, 'r');
    mta.write(abort()).await;
    let late = async {
        asked.expect('M').await;
        asked.go().await;
        asked.expect('A').await;
        asked.goes("MRTLNBE").await;
    };
    tokio::join!(late, mta.go(message("<good@b>")));
    assert_eq!((slow.breaker().state(), slow.breaker().counts().failures), (BreakerState::Closed, 0));
    mta.quit().await;
    assert_eq!(asked.closed().await, "Q");
    server.drain().await;
}

#[tokio::test]
async fn a_milter_of_small_packets_fails_on_a_field_that_another_takes() {
    let log = Captured::new("error");
    let (large, _large) = marker("X-Large", Needs::everything().data_size(tamis::DataSize::M1));
    let (small, _small) = marker("X-Small", Needs::everything());
    let servers = [serve_probe(patient(), &large), serve_probe(patient(), &small)];
    let milters = [milter("large", servers[0].spec()), milter("small", servers[1].spec())];
    let server = serve(patient(), move |_| {
        let [large, small] = milters.each_ref().map(member);
        Chain::parallel().member(large).member(small.on_failure(OnFailure::Accept))
    });
    let mut mta = server.connect().await;
    let offer =
        tamis::proto::Offer { steps: Steps::CURRENT | Steps::PAYLOAD_SIZES, ..tamis::proto::Offer::CURRENT };
    assert_eq!(mta.ask(offer_of(offer)).await.code, 'O');
    mta.go([connect(), helo("h")]).await;
    let value = "x".repeat(100_000);
    let frames =
        [mail("<a@b>"), rcpt("<c@d>"), data(), header("Long", &value), end_of_headers(), end_of_message()];
    let fields = added(&mut mta, frames).await;
    assert_eq!(fields.len(), 1, "only one of them has seen it");
    assert!(fields[0].starts_with("X-Large: Long=xxx"));
    log.expect(&[
        "filter=\"small\"",
        "milter small at header: header of 100006 bytes exceeds its packet size of 65535",
    ]);
    // It is out of this message alone.
    assert_eq!(added(&mut mta, message("<a@b>")).await.len(), 2);
    mta.quit().await;
    for server in servers.into_iter().chain([server]) {
        server.drain().await;
    }
}

#[tokio::test]
async fn a_chain_of_milters_is_a_milter_to_another_chain() {
    let (inner, _notes) = marker("X-Inner", Needs::everything());
    let first = serve_probe(patient(), &inner);
    let one = milter("one", first.spec());
    let second = serve(patient(), move |_| Chain::pipeline().member(member(&one)));
    let two = milter("two", second.spec());
    let third =
        serve(patient(), move |_| Chain::parallel().add("nested", Chain::pipeline().member(member(&two))));
    let mut mta = third.mta().await;
    mta.go([connect(), helo("h")]).await;
    assert_eq!(added(&mut mta, message("<a@b>")).await, ["X-Inner: Suject=hello: "]);
    mta.quit().await;
    for server in [third, second, first] {
        server.drain().await;
    }
}
