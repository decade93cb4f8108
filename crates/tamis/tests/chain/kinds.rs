//! Filters that ask for different kinds of edits, and so for different actions.

use tamis::chain::Chain;
use tamis::testing::Mta;
use tamis::{Actions, BoxError, Context, Event, Filter, Needs, Reply, Stage, Verdict};

use crate::support::play;

/// Edits a message at its end, with no more actions than that takes.
struct Edits<F>(Actions, F);

impl<F> Filter for Edits<F>
where
    F: Fn(&mut Context<'_, ()>) -> Result<(), BoxError> + Send + 'static,
{
    type Message = ();

    fn needs(&self) -> Needs {
        Needs::new().answer([Stage::EndOfMessage]).require(self.0)
    }

    async fn on(&mut self, cx: &mut Context<'_, ()>, event: Event) -> Reply {
        if event == Event::EndOfMessage {
            (self.1)(cx)?;
        }
        Ok(Verdict::Continue)
    }
}

fn chains() -> [Chain; 2] {
    [Chain::pipeline(), Chain::parallel()]
}

fn mta(mta: Mta) -> Mta {
    mta.lenient().message("A: 1\nB: 2\nA: 3\n\nHi!\n")
}

#[test]
fn edits_of_the_envelope_do_not_disturb_those_of_the_header() {
    for chain in chains() {
        let envelope = |cx: &mut Context<'_, ()>| Ok(cx.change_sender("<new@example.net>", None)?);
        let header = |cx: &mut Context<'_, ()>| {
            cx.delete_header(1, "A")?;
            Ok(cx.insert_header(1, "X-Below", "Received")?)
        };
        let chain = chain
            .add("envelope", Edits(Actions::CHANGE_SENDER, envelope))
            .add("header", Edits(Actions::ADD_HEADERS | Actions::CHANGE_HEADERS, header));
        let report = play(&mta(Mta::postfix()), chain);
        let message = report.message().expect("it is delivered");
        let fields: Vec<&[u8]> = message.fields().iter().map(|field| &*field.name).collect();
        assert_eq!(fields, [&b"Received"[..], b"X-Below", b"B", b"A"], "{report}");
        assert_eq!(message.header("A").as_deref(), Some("3"));
        assert_eq!(&*message.sender().address, b"new@example.net");
    }
}

#[test]
fn a_field_that_is_not_there_can_be_changed_by_filters_that_may_add_none() {
    for mail in Mta::both() {
        let one = |cx: &mut Context<'_, ()>| Ok(cx.change_header(1, "X-New", "one")?);
        let two = |cx: &mut Context<'_, ()>| Ok(cx.change_header(1, "X-New", "two")?);
        let chain = Chain::pipeline()
            .add("one", Edits(Actions::CHANGE_HEADERS, one))
            .add("two", Edits(Actions::CHANGE_HEADERS, two));
        let report = play(&mta(mail), chain);
        let message = report.message().expect("it is delivered");
        assert_eq!(message.header("X-New").as_deref(), Some("two"), "{report}");
    }
}
