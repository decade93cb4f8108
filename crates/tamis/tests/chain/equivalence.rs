//! A pipeline is what an MTA makes of the same filters one after the other: random messages, random edits, both MTAs.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use tamis::chain::Chain;
use tamis::proto::Profile;
use tamis::proto::edit::model::{Field, Message, Model, Path};
use tamis::testing::{Mta, Report};
use tamis::{Actions, Collect, Context, Edit, Event, Filter, Needs, Reply, Stage, Verdict};

/// An edit of one filter.
#[derive(Clone, Debug)]
enum Act {
    Prepend(String, String),
    Append(String, String),
    Replace(usize, String),
    Remove(usize),
    Before(usize, bool, String, String),
    After(usize, bool, String, String),
    RemoveAll(String),
    RawAdd(String, String),
    RawInsert(u32, String, String),
    RawChange(u32, String, String),
    Sender(String, Option<String>),
    AddRecipient(String, Option<String>),
    DeleteRecipient(String),
    Body(String),
    Quarantine(String),
}

/// A filter that edits each message in the same way at its end, and writes down what it saw of it.
#[derive(Clone, Debug)]
struct Script {
    acts: Vec<Act>,
    own_space: bool,
    /// It has the library collect header and body, else it takes them as they come.
    collects: bool,
    /// It may edit the body.
    replaces: bool,
}

struct Scripted {
    script: Script,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    fields: Vec<(Bytes, Bytes)>,
    body: Vec<u8>,
    ended: bool,
}

impl Filter for Scripted {
    type Message = ();

    fn needs(&self) -> Needs {
        let mut actions = Actions::CURRENT & !Actions::MACRO_LISTS & !Actions::REPLACE_BODY;
        actions.set(Actions::REPLACE_BODY, self.script.replaces);
        let needs =
            Needs::new().answer([Stage::Header, Stage::EndOfHeaders, Stage::Body, Stage::EndOfMessage]);
        let needs = needs.require(actions);
        if self.script.own_space { needs.leading_space() } else { needs }
    }

    fn collect(&self) -> Collect {
        if self.script.collects { Collect::nothing().headers().body() } else { Collect::nothing().headers() }
    }

    async fn on(&mut self, cx: &mut Context<'_, ()>, event: Event) -> Reply {
        match event {
            Event::Header(header) => {
                self.seen.lock().unwrap().fields.push((header.name, header.value));
            }
            Event::Body(piece) => self.seen.lock().unwrap().body.extend_from_slice(&piece),
            Event::EndOfMessage => {
                if self.script.collects {
                    let body = cx.body()?.to_bytes(1 << 20).await?;
                    assert_eq!(body, self.seen.lock().unwrap().body, "both ways to see a body show the same");
                }
                let collected: Vec<_> = cx
                    .headers()?
                    .received()
                    .map(|header| (header.name().clone().into_bytes(), header.value().clone().into_bytes()))
                    .collect();
                assert_eq!(
                    collected,
                    self.seen.lock().unwrap().fields,
                    "both ways to see a header show the same"
                );
                self.seen.lock().unwrap().ended = true;
                for act in &self.script.acts {
                    self.act(cx, act);
                }
            }
            _ => {}
        }
        Ok(Verdict::Continue)
    }
}

impl Scripted {
    /// Asks for an edit; one that makes no sense is left out.
    fn act(&self, cx: &mut Context<'_, ()>, act: &Act) {
        let space = if self.script.own_space { " " } else { "" };
        let value = |value: &String| format!("{space}{value}");
        let headers = cx.headers_mut().unwrap();
        let id = |headers: &tamis::message::Headers, at: usize| {
            let ids: Vec<_> = headers.iter().map(|header| header.id()).collect();
            (!ids.is_empty()).then(|| ids[at % ids.len()])
        };
        let _ = match act {
            Act::Prepend(name, text) => headers.prepend(name, value(text)).is_ok(),
            Act::Append(name, text) => headers.append(name, value(text)).is_ok(),
            Act::Replace(at, text) => {
                id(headers, *at).is_some_and(|id| headers.replace(id, value(text)).is_ok())
            }
            Act::Remove(at) => id(headers, *at).is_some_and(|id| headers.remove(id).is_ok()),
            Act::Before(at, exact, name, text) => id(headers, *at).is_some_and(|id| {
                if *exact {
                    headers.insert_before(id.exactly(), name, value(text)).is_ok()
                } else {
                    headers.insert_before(id, name, value(text)).is_ok()
                }
            }),
            Act::After(at, exact, name, text) => id(headers, *at).is_some_and(|id| {
                if *exact {
                    headers.insert_after(id.exactly(), name, value(text)).is_ok()
                } else {
                    headers.insert_after(id, name, value(text)).is_ok()
                }
            }),
            Act::RemoveAll(name) => headers.remove_all(name).is_ok(),
            Act::RawAdd(name, text) => cx.add_header(name.clone(), value(text)).is_ok(),
            Act::RawInsert(index, name, text) => cx.insert_header(*index, name.clone(), value(text)).is_ok(),
            Act::RawChange(index, name, text) if text.is_empty() => {
                cx.delete_header(*index, name.clone()).is_ok()
            }
            Act::RawChange(index, name, text) => cx.change_header(*index, name.clone(), value(text)).is_ok(),
            Act::Sender(address, args) => cx.change_sender(address.clone(), args.as_deref()).is_ok(),
            Act::AddRecipient(address, None) => cx.add_recipient(address.clone()).is_ok(),
            Act::AddRecipient(address, Some(args)) => {
                cx.add_recipient_with_args(address.clone(), args).is_ok()
            }
            Act::DeleteRecipient(address) => cx.delete_recipient(address.clone()).is_ok(),
            Act::Body(text) => cx.replace_body(text.clone()).is_ok(),
            Act::Quarantine(reason) => cx.quarantine(reason.clone()).is_ok(),
        };
    }
}

/// A message, and what is sent with it.
#[derive(Clone, Debug)]
struct Mail {
    fields: Vec<(String, String)>,
    body: String,
    recipients: Vec<String>,
}

const SENDER: &str = "from@example.net";

impl Mail {
    fn fields(&self) -> Vec<Field> {
        self.fields.iter().map(|(name, value)| Field::new(name, format!(" {value}"))).collect()
    }

    /// The message as the MTA has it, with a `Received` of its own.
    fn model(&self, profile: Profile) -> Model {
        let mut headers = vec![Field::new("Received", " by the MTA")];
        headers.extend(self.fields());
        let message = Message {
            sender: Path::new(SENDER),
            recipients: self.recipients.iter().map(Path::new).collect(),
            headers,
            body: self.body.clone().into_bytes().into(),
            quarantine: None,
        };
        let templates =
            ["Resent-Date", "Date", "Resent-From", "From", "Full-Name", "Resent-Message-Id", "Message-Id"];
        Model::new(profile, message).own_fields(1).blank_defaults(templates)
    }
}

/// Shows a message to a filter and says what the filter asks for.
fn play<F: Filter>(profile: Profile, recipients: &[String], text: Vec<u8>, filter: F) -> Report {
    let mta = match profile {
        Profile::Postfix => Mta::postfix(),
        Profile::Sendmail => Mta::sendmail(),
    };
    let mta = recipients.iter().fold(mta.from(format!("<{SENDER}>")), |mta, to| mta.to(format!("<{to}>")));
    mta.lenient().message(text).run_blocking(|_| filter).unwrap_or_else(|error| panic!("{error}"))
}

fn text(fields: &[Field], body: &[u8]) -> Vec<u8> {
    let message = Message { headers: fields.to_vec(), body: body.to_vec().into(), ..Message::default() };
    message.to_bytes()
}

fn apply(model: &mut Model, report: &Report) {
    model.next_filter(report.agreement().unwrap().leading_space());
    for (edit, _) in report.edits() {
        model.apply(edit).unwrap();
    }
}

fn check(mail: &Mail, scripts: &[Script]) {
    for profile in [Profile::Postfix, Profile::Sendmail] {
        // One after the other, each with a connection of its own.
        let mut model = mail.model(profile);
        let mut alone = Vec::new();
        let mut reasons = Vec::new();
        let mut failed = false;
        for script in scripts {
            let shown: Vec<Field> = model.shown().cloned().collect();
            let seen = Arc::default();
            let filter = Scripted { script: script.clone(), seen: Arc::clone(&seen) };
            let report = play(profile, &mail.recipients, text(&shown, &model.body().to_vec()), filter);
            alone.push(seen.lock().unwrap().clone());
            if !report.failures().is_empty() {
                failed = true;
                break;
            }
            apply(&mut model, &report);
            model.next_filter(false);
            let reason = report.edits().iter().rev().find_map(|(edit, _)| match edit {
                Edit::Quarantine { reason } => Some(reason.clone()),
                _ => None,
            });
            reasons.extend(reason);
        }
        let mut wanted = model.finish();

        // All in one chain.
        let seen: Vec<Arc<Mutex<Seen>>> = scripts.iter().map(|_| Arc::default()).collect();
        let chain =
            scripts.iter().zip(&seen).enumerate().fold(Chain::pipeline(), |chain, (at, (script, seen))| {
                chain.add(format!("filter {at}"), Scripted { script: script.clone(), seen: seen.clone() })
            });
        let report = play(profile, &mail.recipients, text(&mail.fields(), mail.body.as_bytes()), chain);
        if failed {
            assert_eq!(
                report.verdict(),
                &Verdict::tempfail("4.7.1", "Service unavailable - try again later")
            );
            assert!(report.message().is_none());
            return;
        }
        assert!(report.failures().is_empty(), "{report}");
        let seen: Vec<Seen> = seen.iter().map(|seen| seen.lock().unwrap().clone()).collect();
        for (at, ((seen, alone), script)) in seen.iter().zip(&alone).zip(scripts).enumerate() {
            let same = |fields: &[(Bytes, Bytes)]| -> Vec<(Bytes, Bytes)> { fields.to_vec() };
            assert_eq!(
                same(&seen.fields),
                same(&alone.fields),
                "header that filter {at} saw, {profile:?} {script:?}"
            );
            assert_eq!(
                seen.body.escape_ascii().to_string(),
                alone.body.escape_ascii().to_string(),
                "body that filter {at} saw, {profile:?}"
            );
        }
        let mut model = mail.model(profile);
        apply(&mut model, &report);
        let mut made = model.finish();
        let reason = (!reasons.is_empty()).then(|| reasons.join(&b"; "[..]));
        let most = if profile == Profile::Postfix { 100 } else { usize::MAX };
        assert_eq!(
            made.quarantine.take().map(|reason| reason.to_vec()),
            reason.map(|reason| reason[..reason.len().min(most)].to_vec())
        );
        wanted.quarantine = None;
        assert_eq!(made, wanted, "{profile:?}\n{report}");
    }
}

fn name() -> impl Strategy<Value = String> {
    select(vec!["A", "a", "B", "Subject", "SUBJECT", "Date", "From", "Received", "X-1"])
        .prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = String> {
    select(vec!["1", "2", "three", "folded\n\tvalue", "x y", "\u{e9}"]).prop_map(str::to_owned)
}

fn address() -> impl Strategy<Value = String> {
    select(vec![
        "a@example.org",
        "A@example.org",
        "b@example.org",
        "<b@example.org>",
        "<c@example.org>",
        "c@EXAMPLE.org",
    ])
    .prop_map(str::to_owned)
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let args =
        || option::of(select(vec!["NOTIFY=NEVER", "ORCPT=rfc822;a@example.org"]).prop_map(str::to_owned));
    let sender_args =
        || option::of(select(vec!["RET=HDRS", "ENVID=1", "RET=FULL ENVID=2"]).prop_map(str::to_owned));
    let text = || prop_oneof![Just(String::new()), value()];
    let act = prop_oneof![
        (name(), value()).prop_map(|(name, value)| Act::Prepend(name, value)),
        (name(), value()).prop_map(|(name, value)| Act::Append(name, value)),
        (0_usize..6, value()).prop_map(|(at, value)| Act::Replace(at, value)),
        (0_usize..6).prop_map(Act::Remove),
        (0_usize..6, any::<bool>(), name(), value())
            .prop_map(|(at, exact, name, value)| Act::Before(at, exact, name, value)),
        (0_usize..6, any::<bool>(), name(), value())
            .prop_map(|(at, exact, name, value)| Act::After(at, exact, name, value)),
        name().prop_map(Act::RemoveAll),
        (name(), value()).prop_map(|(name, value)| Act::RawAdd(name, value)),
        (prop_oneof![0_u32..12, Just(1_000)], name(), value())
            .prop_map(|(index, name, value)| Act::RawInsert(index, name, value)),
        (0_u32..4, name(), text()).prop_map(|(index, name, value)| Act::RawChange(index, name, value)),
        (address(), sender_args()).prop_map(|(address, args)| Act::Sender(address, args)),
        (address(), args()).prop_map(|(address, args)| Act::AddRecipient(address, args)),
        address().prop_map(Act::DeleteRecipient),
        select(vec!["", "new\r\n", "bare\nline", "two\r\n", "cr\rin\r"])
            .prop_map(|text| Act::Body(text.to_owned())),
        select(vec!["spam", "virus"]).prop_map(|reason| Act::Quarantine(reason.to_owned())),
    ];
    vec(act, 0..7)
}

fn scripts() -> impl Strategy<Value = Vec<Script>> {
    let script = (acts(), prop::bool::weighted(0.3), any::<bool>(), prop::bool::weighted(0.7));
    let script = script.prop_map(|(acts, own_space, collects, replaces)| Script {
        acts,
        own_space,
        collects,
        replaces,
    });
    vec(script, 2..4)
}

fn mails() -> impl Strategy<Value = Mail> {
    let fields = vec((name(), value()), 0..6);
    let body = select(vec!["", "Hi!\r\n", "one\r\ntwo\r\n"]).prop_map(str::to_owned);
    let recipients =
        select(vec![vec!["a@example.org"], vec!["a@example.org", "b@example.org"], vec!["B@example.org"]]);
    (fields, body, recipients).prop_map(|(fields, body, recipients)| Mail {
        fields,
        body,
        recipients: recipients.into_iter().map(str::to_owned).collect(),
    })
}

proptest! {
    // `PROPTEST_CASES` asks for more.
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: std::env::var("PROPTEST_CASES").map_or(96, |cases| cases.parse().unwrap_or(96)),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_pipeline_is_what_an_mta_makes_of_its_filters_one_after_the_other(mail in mails(), scripts in scripts()) {
        check(&mail, &scripts);
    }
}
