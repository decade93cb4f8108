//! Edits of filters that did not see each other's.

use std::sync::{Arc, Mutex};

use tamis::chain::{Chain, Record};
use tamis::testing::{Mta, Report};
use tamis::{Actions, Collect, Context, Event, Filter, Needs, Reply, Stage, Verdict};

use crate::support::play;

/// Edits a message at its end.
struct Edits<F>(F);

impl<F: Fn(&mut Context<'_, ()>) -> Reply + Send + 'static> Filter for Edits<F> {
    type Message = ();

    fn needs(&self) -> Needs {
        Needs::new().answer([Stage::EndOfMessage]).require(Actions::CURRENT & !Actions::MACRO_LISTS)
    }

    fn collect(&self) -> Collect {
        Collect::nothing().headers()
    }

    async fn on(&mut self, cx: &mut Context<'_, ()>, event: Event) -> Reply {
        if event == Event::EndOfMessage { (self.0)(cx) } else { Ok(Verdict::Continue) }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it ends filters")]
fn go(_: &mut Context<'_, ()>) -> Reply {
    Ok(Verdict::Continue)
}

/// What two filters make of a message, and what they changed against each other.
fn two(
    mta: Mta,
    one: impl Fn(&mut Context<'_, ()>) -> Reply + Send + 'static,
    two: impl Fn(&mut Context<'_, ()>) -> Reply + Send + 'static,
) -> (Report, Vec<String>) {
    let conflicts = Arc::new(Mutex::new(Vec::new()));
    let notes = conflicts.clone();
    let observer = move |record: &Record| {
        let all = record.conflicts.iter().map(|c| format!("{} {} {}", c.what, c.first, c.second));
        notes.lock().unwrap().extend(all);
    };
    let chain = Chain::parallel().add("one", Edits(one)).add("two", Edits(two)).observer(Arc::new(observer));
    let mta = mta.lenient().message("A: 1\nB: 2\nA: 3\nC: 4\n\nHi!\n");
    let report = play(&mta, chain);
    assert!(report.failures().is_empty(), "{report}");
    let conflicts = conflicts.lock().unwrap().clone();
    (report, conflicts)
}

fn fields(report: &Report) -> Vec<String> {
    let fields = report.message().unwrap().fields().iter();
    let own = ["Received", "Date", "From", "Message-Id", "Message-ID"];
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    fields
        .filter(|field| !own.iter().any(|own| field.name == own.as_bytes()))
        .map(|field| format!("{}:{}", text(&field.name), text(&field.value)))
        .collect()
}

#[test]
fn edits_mean_the_field_that_the_filter_saw() {
    for mta in Mta::both() {
        let (report, conflicts) = two(
            mta,
            |cx| {
                cx.delete_header(1, "A")?;
                cx.insert_header(0, "X-One", "1")?;
                go(cx)
            },
            |cx| {
                // The second one is the same field, whatever became of the first.
                cx.change_header(2, "A", "changed")?;
                let c = cx.headers()?.first("C").unwrap().id();
                cx.headers_mut()?.insert_before(c.exactly(), "X-Two", "2")?;
                go(cx)
            },
        );
        assert_eq!(fields(&report), ["X-One: 1", "B: 2", "A: changed", "X-Two: 2", "C: 4"], "{report}");
        assert!(conflicts.is_empty(), "{conflicts:?}");
    }
}

#[test]
fn of_two_new_bodies_and_senders_the_later_filter_s_counts_and_a_warning_names_both() {
    for mta in Mta::both() {
        let (report, conflicts) = two(
            mta,
            |cx| {
                cx.replace_body("one\r\n")?;
                cx.change_sender("<one@example.com>", None)?;
                go(cx)
            },
            |cx| {
                cx.replace_body("two\r\n")?;
                cx.change_sender("<two@example.com>", None)?;
                go(cx)
            },
        );
        let message = report.message().unwrap();
        assert_eq!(
            (message.body(), &*message.sender().address),
            (b"two\r\n".to_vec(), &b"two@example.com"[..])
        );
        assert_eq!(conflicts, ["sender one two", "body one two"]);
    }
}

#[test]
fn of_two_changes_of_a_field_the_later_filter_s_counts() {
    for mta in Mta::both() {
        let change = |value: &'static str| {
            move |cx: &mut Context<'_, ()>| {
                let b = cx.headers()?.first("B").unwrap().id();
                cx.headers_mut()?.replace(b, value)?;
                go(cx)
            }
        };
        let (report, conflicts) = two(mta.clone(), change("one"), change("two"));
        assert_eq!(fields(&report), ["A: 1", "B: two", "A: 3", "C: 4"]);
        assert_eq!(conflicts, ["header field B one two"]);
        let (_, conflicts) = two(mta.clone(), change("same"), change("same"));
        assert!(conflicts.is_empty());
        let remove = |cx: &mut Context<'_, ()>| {
            cx.headers_mut()?.remove_all("B")?;
            go(cx)
        };
        let (report, _) = two(mta, change("one"), remove);
        assert_eq!(fields(&report), ["A: 1", "A: 3", "C: 4"]);
    }
}

#[test]
fn a_recipient_that_one_removes_and_another_adds_is_as_the_later_one_says() {
    for mta in Mta::both() {
        let add = |cx: &mut Context<'_, ()>| {
            cx.add_recipient("<b@example.org>")?;
            go(cx)
        };
        let remove = |cx: &mut Context<'_, ()>| {
            cx.delete_recipient("<b@example.org>")?;
            go(cx)
        };
        let mta = mta.to("<a@example.org>").to("<b@example.org>");
        let count = |report: &Report| {
            let message = report.message().unwrap();
            message.recipients().iter().filter(|to| to.address == "b@example.org").count()
        };
        assert_eq!(count(&two(mta.clone(), add, remove).0), 0);
        assert_eq!(count(&two(mta, remove, add).0), 1);
    }
}

#[test]
fn a_message_is_held_for_the_reasons_of_all_filters() {
    for mta in Mta::both() {
        let hold = |reason: &'static str| {
            move |cx: &mut Context<'_, ()>| {
                cx.quarantine(reason)?;
                go(cx)
            }
        };
        let (report, _) = two(mta, hold("spam"), hold("virus"));
        assert_eq!(report.message().unwrap().quarantine().unwrap(), "spam; virus");
        assert_eq!(report.edits().len(), 1);
    }
}

#[test]
fn what_a_later_filter_of_a_pipeline_takes_back_is_never_sent() {
    let one = Edits(|cx: &mut Context<'_, ()>| {
        cx.headers_mut()?.append("X-One", "1")?;
        cx.add_recipient("<one@example.com>")?;
        cx.replace_body("one\r\n")?;
        go(cx)
    });
    let two = Edits(|cx: &mut Context<'_, ()>| {
        cx.headers_mut()?.remove_all("X-One")?;
        cx.replace_body("two\r\n")?;
        go(cx)
    });
    let report =
        play(&Mta::postfix().message("A: 1\n\nHi!\n"), Chain::pipeline().add("one", one).add("two", two));
    let names: Vec<_> = report.edits().iter().map(|(edit, _)| edit.name()).collect();
    assert_eq!(names, ["add-recipient", "replace-body"], "{report}");
    assert_eq!(report.message().unwrap().body(), b"two\r\n");
}
