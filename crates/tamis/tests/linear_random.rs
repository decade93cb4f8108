//! Random filter functions in random sessions: none hangs or fails by itself, and mail becomes what they want.

use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use tamis::linear::{Linear, Mail, ReadBody};
use tamis::testing::{Mta, Report};
use tamis::{Actions, BoxError, Options, Stage, Verdict};

/// A line of a body, and how it comes.
const LINE: (&str, &str) = ("0123456789abcde\n", "0123456789abcde\r\n");

/// What a function does next. Each one that waits may be given up at once.
#[derive(Clone, Debug)]
enum Act {
    Recipient(bool),
    Refuse,
    Headers(bool),
    HeadersSoFar,
    Chunk(bool),
    Body(bool),
    End(bool),
    AddRecipient,
    SetBody,
    Sleep,
}

/// A function, and what it declares.
#[derive(Clone, Debug)]
struct Script {
    acts: Vec<Act>,
    /// `None` is an error.
    verdict: Option<Verdict>,
    decides: Vec<Stage>,
    body: ReadBody,
    headers: bool,
    own_space: bool,
    in_a_task: bool,
}

/// What the client sends.
#[derive(Clone, Debug)]
struct Sent {
    recipients: usize,
    fields: usize,
    lines: usize,
    /// It gives up before the text.
    reset: bool,
    helo: bool,
}

/// What a function did to a message.
#[derive(Clone, Debug, Default)]
struct Done {
    returned: bool,
    fields: usize,
    added: usize,
    refused: usize,
    body: bool,
}

type AllDone = Arc<Mutex<Vec<Done>>>;

/// Waits, or only looks once.
macro_rules! once {
    ($cancel:expr, $wait:expr) => {
        if *$cancel {
            tokio::select! { biased; came = $wait => came.map(Some), () = ready(()) => Ok(None) }
        } else {
            $wait.await.map(Some)
        }
    };
}

async fn run(
    script: Script,
    mut mail: Mail,
    number: usize,
    all: AllDone,
    texts: Arc<Vec<String>>,
) -> Result<Verdict, BoxError> {
    let note = |change: &dyn Fn(&mut Done)| change(&mut all.lock().unwrap()[number]);
    let value = if script.own_space { " 1" } else { "1" };
    let mut read = Vec::new();
    for (at, act) in script.acts.iter().enumerate() {
        match act {
            Act::Recipient(cancel) => {
                once!(cancel, mail.recipient())?;
            }
            Act::Refuse => {
                let before = mail.envelope().recipients().count();
                let _ = mail.refuse(Verdict::reject("5.1.1", "no"));
                note(&|done| done.refused += before - mail.envelope().recipients().count());
            }
            Act::Headers(cancel) if script.headers => {
                if let Some(headers) = once!(cancel, mail.headers())? {
                    headers.prepend(format!("X-Done-{at}"), value)?;
                    note(&|done| done.fields += 1);
                }
            }
            Act::HeadersSoFar if script.headers => {
                mail.headers_so_far()?.append(format!("X-Done-{at}"), value)?;
                note(&|done| done.fields += 1);
            }
            Act::Chunk(cancel) if script.body == ReadBody::Stream => {
                if let Some(Some(chunk)) = once!(cancel, mail.chunk())? {
                    read.extend_from_slice(&chunk);
                    assert!(texts[number].as_bytes().starts_with(&read), "no piece is lost");
                }
            }
            Act::Body(cancel) if script.body == ReadBody::Collect => {
                if let Some(body) = once!(cancel, mail.body())? {
                    assert!(body.to_bytes(1 << 20).await? == texts[number]);
                }
            }
            Act::End(cancel) => {
                once!(cancel, mail.end())?;
            }
            Act::AddRecipient => {
                mail.add_recipient(format!("<added-{at}@example.org>"))?;
                note(&|done| done.added += 1);
            }
            Act::SetBody => {
                mail.set_body("new\r\n")?;
                note(&|done| done.body = true);
            }
            Act::Sleep => tokio::time::sleep(Duration::from_millis(100)).await,
            _ => {}
        }
    }
    script.verdict.ok_or_else(|| "as it was told".into())
}

fn filter(script: Script, all: AllDone, texts: Arc<Vec<String>>) -> impl tamis::Filter {
    let settings = script.clone();
    let filter = Linear::new(move |mail: Mail| {
        let (script, all, texts) = (script.clone(), all.clone(), texts.clone());
        async move {
            let number = {
                let mut all = all.lock().unwrap();
                all.push(Done::default());
                all.len() - 1
            };
            let in_a_task = script.in_a_task;
            let work = run(script, mail, number, all.clone(), texts);
            let reply = if in_a_task { tokio::spawn(work).await? } else { work.await };
            all.lock().unwrap()[number].returned = true;
            reply
        }
    });
    let actions = Actions::ADD_HEADERS | Actions::ADD_RECIPIENTS | Actions::REPLACE_BODY;
    let filter = settings.decides.iter().fold(filter, |filter, stage| filter.decides(*stage));
    let filter = filter.body(settings.body).require(actions);
    let filter = if settings.headers { filter } else { filter.without_headers() };
    if settings.own_space { filter.leading_space() } else { filter }
}

fn session(mta: Mta, sent: &[Sent]) -> (Mta, Vec<String>) {
    let mut options = Options::default();
    options.body.memory = 50_000;
    let mut mta = mta.options(options);
    let mut texts = Vec::new();
    for (number, message) in sent.iter().enumerate() {
        if message.helo {
            mta = mta.helo("again.example");
        }
        mta = mta.from(format!("<from-{number}@example.net>"));
        for to in 0..message.recipients {
            mta = mta.to(format!("<to-{to}@example.org>"));
        }
        let fields: Vec<_> = (0..message.fields).map(|field| format!("X-{field}: {field}\n")).collect();
        mta = if message.reset {
            mta.reset()
        } else {
            mta.message(format!("{}\n{}", fields.concat(), LINE.0.repeat(message.lines)))
        };
        texts.push(LINE.1.repeat(message.lines));
    }
    (mta, texts)
}

fn check(report: &Report, script: &Script, sent: &[Sent], all: &[Done], texts: &[String]) {
    let failed = all.iter().filter(|done| done.returned && script.verdict.is_none()).count();
    assert_eq!(report.failures().len(), failed, "{report}");
    assert_eq!(report.messages().len(), sent.len(), "{report}");
    // The client may have left before a function was at messages that it gave up.
    assert!(sent[all.len()..].iter().all(|sent| sent.reset), "{report}");
    for (number, (message, done)) in report.messages().into_iter().zip(all).enumerate() {
        let sent = &sent[number];
        let passes = matches!(script.verdict, Some(Verdict::Continue | Verdict::Accept));
        let Some(delivered) = message.message() else {
            assert!(sent.reset || !passes || done.refused == sent.recipients, "{report}");
            continue;
        };
        assert!(!sent.reset && passes && done.returned, "{report}");
        assert_eq!(delivered.recipients().len(), sent.recipients - done.refused + done.added, "{report}");
        // The MTA's own one is there too.
        assert_eq!(delivered.fields().len(), 1 + sent.fields + done.fields, "{report}");
        assert!(delivered.body() == if done.body { b"new\r\n" } else { texts[number].as_bytes() });
    }
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        3 => any::<bool>().prop_map(Act::Recipient),
        2 => Just(Act::Refuse),
        1 => any::<bool>().prop_map(Act::Headers),
        1 => Just(Act::HeadersSoFar),
        2 => any::<bool>().prop_map(Act::Chunk),
        1 => any::<bool>().prop_map(Act::Body),
        1 => any::<bool>().prop_map(Act::End),
        1 => Just(Act::AddRecipient),
        1 => Just(Act::SetBody),
        1 => Just(Act::Sleep),
    ];
    vec(act, 0..8)
}

fn scripts() -> impl Strategy<Value = Script> {
    let verdicts = select(vec![
        Some(Verdict::Continue),
        Some(Verdict::Continue),
        Some(Verdict::Accept),
        Some(Verdict::Accept),
        Some(Verdict::Reject),
        Some(Verdict::Discard),
        Some(Verdict::tempfail("4.7.1", "later")),
        None,
    ]);
    let stages = vec![Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Header, Stage::EndOfHeaders, Stage::Body];
    let bodies = select(vec![ReadBody::No, ReadBody::Stream, ReadBody::Collect]);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (acts(), verdicts, subsequence(stages, 0..=6), bodies, flags).prop_map(
        |(acts, verdict, decides, body, (headers, own_space, in_a_task))| Script {
            acts,
            verdict,
            decides,
            body,
            headers,
            own_space,
            in_a_task,
        },
    )
}

fn messages() -> impl Strategy<Value = Vec<Sent>> {
    let reset = prop::bool::weighted(0.2);
    let lines = prop_oneof![0_usize..3, 1_000..15_000_usize];
    let message = (1_usize..4, 1_usize..4, lines, reset, any::<bool>());
    let message = message.prop_map(|(recipients, fields, lines, reset, helo)| Sent {
        recipients,
        fields,
        lines,
        reset,
        helo,
    });
    vec(message, 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mail_becomes_what_a_function_wants(script in scripts(), sent in messages()) {
        for mta in Mta::both() {
            let (mta, texts) = session(mta, &sent);
            let (all, texts) = (AllDone::default(), Arc::new(texts));
            let filter = filter(script.clone(), all.clone(), texts.clone());
            let report = mta.run_blocking(|_| filter).unwrap();
            check(&report, &script, &sent, &all.lock().unwrap(), &texts);
        }
    }
}
