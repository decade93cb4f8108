//! Panics while something of a filter is dropped stay with its connection.

mod common;

use std::time::Duration;

use common::frames::*;
use common::{Act, Captured, Probe, go, patient, serve, serve_boxed, serve_probe, until};
use tamis::{Context, Event, Filter, Needs, Reply, Verdict};

#[tokio::test]
async fn panic_of_a_dropped_message_is_a_failure_of_the_filter() {
    for boxed in [false, true] {
        let log = Captured::new("info");
        let (probe, _notes) = Probe::new(Needs::everything(), |cx, event| {
            cx.message.panics_in_drop = matches!(event, Event::Data);
            match event {
                Event::Data => Act::Say(Verdict::Reject),
                _ => go(),
            }
        });
        let server = if boxed { serve_boxed(patient(), &probe) } else { serve_probe(patient(), &probe) };
        let mut mta = server.mta().await;
        mta.go([connect(), helo("h"), mail("<>"), rcpt("<a@b>")]).await;
        // The verdict still gets to the MTA.
        assert_eq!(mta.ask(data()).await.code, 'r');
        log.expect(&["ERROR", "connection{id=1}", "dropping a message"]);
        // Such a filter is not to be called again.
        mta.write(abort()).await;
        assert_eq!(mta.ask(mail("<>")).await.code, 'y');
        mta.quit().await;
        server.drain().await;
    }
}

#[tokio::test]
async fn panic_of_a_cancelled_handler_ends_its_connection_alone() {
    let log = Captured::new("info");
    let (probe, _notes) = Probe::new(Needs::everything(), |_, event| match event {
        Event::Helo(name) if name == "bad" => Act::HangAndPanic("dropping a handler"),
        _ => go(),
    });
    let mut options = patient();
    options.stage_time = Duration::from_millis(20);
    let server = serve_probe(options, &probe);
    let mut good = server.mta().await;
    let mut bad = server.mta().await;
    bad.go([connect()]).await;
    bad.write(helo("bad")).await;
    bad.closed().await;
    good.go([connect(), helo("good")]).await;
    good.go(message("<>")).await;
    good.quit().await;
    until(|| server.counters.open() == 0).await;
    log.expect(&["ERROR", "connection{id=2}", "dropping a handler"]);
    server.drain().await;
}

#[tokio::test]
async fn panic_of_a_dropped_filter_is_logged_and_harms_nobody() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("dropping a filter");
        }
    }
    impl Filter for Bad {
        type Message = ();
        fn needs(&self) -> Needs {
            Needs::everything()
        }
        async fn on(&mut self, _: &mut Context<'_, ()>, _: Event) -> Reply {
            Ok(Verdict::Continue)
        }
    }
    let log = Captured::new("info");
    let server = serve(patient(), |_| Bad);
    let mut other = server.mta().await;
    let mut mta = server.mta().await;
    mta.go([connect(), helo("h")]).await;
    mta.quit().await;
    until(|| server.counters.open() == 1).await;
    log.expect(&["ERROR", "connection{id=2}", "dropping a filter"]);
    other.go([connect()]).await;
    other.quit().await;
    server.drain().await;
}
