use tamis::chain::Chain;
use tamis::remote::BreakerState;
use tamis::testing::Mta;
use tamis::{Context, Event, Filter, Needs, Reply, Shutdown, Stage, Verdict};

use crate::testing::{build, misread, plan, texts};

/// The milter at the other end: refuses one sender.
struct Picky;

impl Filter for Picky {
    type Message = ();

    fn needs(&self) -> Needs {
        Needs::new().answer([Stage::Mail])
    }

    async fn on(&mut self, _: &mut Context<'_, ()>, event: Event) -> Reply {
        let Event::Mail(sender) = event else { return Ok(Verdict::Continue) };
        let bad = sender.address.starts_with(b"<bad@");
        Ok(if bad { Verdict::reject("5.7.1", "not from you") } else { Verdict::Continue })
    }
}

fn from(sender: &str) -> Mta {
    Mta::postfix().from(sender).to("<bob@example.org>").message("Subject: x\n\nx\n")
}

#[tokio::test]
async fn the_milter_is_asked_as_the_mta_would() {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", folder.path().join("milter.sock").display());
    let listeners = tamis::bind(&[socket.parse().unwrap()]).unwrap();
    let shutdown = Shutdown::new();
    let server = tokio::spawn(tamis::serve(listeners, |_peer| Picky, shutdown.clone()));

    let (plan, remarks) = build("milter", "socket = 'unix:milter.sock'", folder.path());
    assert!(remarks.is_empty(), "{remarks:?}");
    let plan = plan.unwrap();
    for (sender, reply) in
        [("<bad@example.com>", "550 5.7.1 not from you"), ("<joe@example.com>", "250 2.0.0 Ok")]
    {
        let chain = Chain::pipeline().member(plan.member("picky"));
        let report = from(sender).run(|_| chain).await.unwrap();
        assert!(report.reply().starts_with(reply), "{}", report.reply());
    }
    assert_eq!(plan.milter().unwrap().breaker().counts().attempts, 2);
    assert!(!plan.nature.signs && plan.nature.edits_header);
    shutdown.stop();
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_milter_that_is_down_is_left_alone_which_its_plan_shows() {
    let folder = tempfile::tempdir().unwrap();
    let text = "socket = 'unix:none.sock'\nbreaker = { failures = 2, back_off = '1h', max_back_off = '1h' }";
    let plan = build("milter", text, folder.path()).0.unwrap();
    let breaker = plan.milter().unwrap().breaker();
    for _ in 0..3 {
        let chain = Chain::pipeline().member(plan.member("down"));
        let report = from("<joe@example.com>").run(|_| chain).await.unwrap();
        assert_eq!(report.reply(), "451 4.7.1 Service unavailable - try again later");
    }
    assert!(matches!(breaker.state(), BreakerState::Open(_)));
    let counts = breaker.counts();
    assert_eq!((counts.attempts, counts.failures, counts.refused, counts.opened), (2, 2, 1, 1));
}

#[test]
fn all_settings_can_be_given() {
    let plan = plan(
        "milter",
        "socket = 'inet:127.0.0.1:8891'
         connect_timeout = '1s'
         negotiation_timeout = '2s'
         command_timeout = '3s'
         content_timeout = '4m'
         max_edits = '64K'
         signs = true
         edits_body = true
         macros = { connect = ['j', '{daemon_name}'], end_of_message = ['i'] }
         [breaker]
         failures = 0",
    );
    assert_eq!(plan.milter().unwrap().name(), "inet:8891@127.0.0.1");
    assert!(plan.nature.signs && plan.nature.edits_body);
}

#[test]
fn mistakes_say_what_to_write() {
    for (text, said) in [
        ("socket = 'inet:8891'", "socket: \"inet:8891\" says no host to connect to: write it, such as"),
        ("socket = 'inet:x'", "socket: "),
        ("socket = '/x'\nmacros = { mail = ['i', 'a b'] }", "macros.mail[1]: \"a b\" is no name of a macro"),
        ("socket = '/x'\nnegotiation_timeout = '10s'", "negotiation_timeout: Sendmail gives up after 10 s"),
    ] {
        let remarks = texts(&build("milter", text, "/etc/tamis").1);
        assert!(remarks.len() == 1 && remarks[0].starts_with(said), "{text}: {remarks:?}");
    }
    assert!(misread("milter", "").contains("missing field `socket`"));
    assert!(misread("milter", "socket = '/x'\nconnect_timeout = '5'").contains("is no time"));
    assert!(misread("milter", "sockets = '/x'").contains("unknown field `sockets`"));
}
