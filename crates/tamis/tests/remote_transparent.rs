//! Random filters in random sessions: what a filter sees and what an MTA hears of it is the same whether the filter is
//! asked by the MTA or consulted by another.
//!
//! `PROPTEST_CASES=20000` tries more of them.

mod common;

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::patient;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use tamis::client::{Answer, Client, ClientError, Mail};
use tamis::proto::edit::model::Path;
use tamis::proto::{Command, DataSize, MacroLists, MtaConfig, Offer, Profile, See, Steps};
use tamis::remote::Milter;
use tamis::{
    Actions, Context, Edit, Event, Filter, MacroStage, Needs, Reply, Server, Shutdown, SmtpReply, SocketSpec,
    Stage, Verdict,
};

/// Everything that a filter of these does comes from here and from what it is shown.
#[derive(Clone, Debug)]
struct Script {
    seed: u64,
    needs: Needs,
    /// One verdict in so many is another than continue.
    rarely: u64,
}

/// A filter that writes down what it sees.
struct Random {
    script: Script,
    log: Arc<Mutex<Vec<String>>>,
    actions: Actions,
    count: u64,
}

/// Macros that either MTA sends.
const MACROS: [&str; 14] = [
    "j",
    "v",
    "_",
    "i",
    "daemon_name",
    "if_addr",
    "tls_version",
    "auth_type",
    "mail_addr",
    "mail_host",
    "rcpt_addr",
    "rcpt_mailer",
    "msg_id",
    "client_addr",
];

const STAGES: [MacroStage; 7] = MacroStage::ALL;

impl Random {
    fn chance(&self, what: &str) -> u64 {
        BuildHasherDefault::<DefaultHasher>::default().hash_one((self.script.seed, self.count, what))
    }

    fn note(&self, text: String) {
        self.log.lock().unwrap().push(text);
    }

    fn verdict(&self, stage: Stage) -> Verdict {
        if !self.chance("whether").is_multiple_of(self.script.rarely) {
            return Verdict::Continue;
        }
        match self.chance("which") % 8 {
            0 => Verdict::Accept,
            1 => Verdict::Reject,
            2 => Verdict::Tempfail,
            3 => Verdict::Discard,
            4 if stage == Stage::Body => Verdict::Skip,
            4 => Verdict::shutdown("bye"),
            5 => SmtpReply::multiline(550, "5.7.1", ["100 %", "no %s"]).unwrap().into(),
            6 => SmtpReply::new(452, "", "later").unwrap().into(),
            _ => Verdict::reject("5.1.1", "not here"),
        }
    }

    fn edit(&self, number: u64) -> Edit<Bytes> {
        let (name, index) = (Bytes::from_static(b"Subject"), u32::try_from(number % 3).unwrap());
        let value = match self.chance("value") % 4 {
            0 => Bytes::new(),
            1 => Bytes::from_static(b" spaced\n\tand folded"),
            2 => Bytes::from(vec![b'v'; 40_000]),
            _ => Bytes::from_static(b"value"),
        };
        let address = Bytes::from_static(b"<new@example.com>");
        match self.chance(&format!("edit {number}")) % 9 {
            0 => Edit::AddHeader { name, value },
            1 => Edit::InsertHeader { index, name, value },
            2 => Edit::ChangeHeader { index, name, value },
            3 => Edit::ChangeSender { address, args: (index == 1).then(|| Bytes::from_static(b"ENVID=1")) },
            4 => Edit::AddRecipient { address },
            5 => Edit::AddRecipientWithArgs { address, args: Some(Bytes::from_static(b"NOTIFY=NEVER")) },
            6 => Edit::DeleteRecipient { address: Bytes::from_static(b"<0@example.com>") },
            7 => Edit::Quarantine { reason: Bytes::from_static(b"look") },
            _ => {
                let length = usize::try_from(self.chance("body") % 100_000).unwrap();
                Edit::ReplaceBody(Bytes::from(vec![b'b'; length]))
            }
        }
    }
}

impl Filter for Random {
    type Message = u32;

    fn needs(&self) -> Needs {
        self.script.needs.clone()
    }

    async fn on(&mut self, cx: &mut Context<'_, u32>, event: Event) -> Reply {
        self.count += 1;
        self.actions = cx.actions();
        let shown = |name: &&str| Some(format!(" {name}={}", String::from_utf8_lossy(cx.macro_value(name)?)));
        let macros: String = MACROS.iter().filter_map(shown).collect();
        let event_text = match &event {
            // Where pieces are cut is not what they say.
            Event::Body(piece) => format!("body of {} bytes, {:x?}", piece.len(), piece.last()),
            Event::Header(field) => format!("{:?}: {:?}", field.name, field.value),
            event => format!("{event:?}"),
        };
        *cx.message += 1;
        self.note(format!("{} {} {event_text}{macros}", cx.message, cx.actions()));
        let Some(stage) = event.stage() else { return Ok(Verdict::Continue) };
        if stage == Stage::EndOfMessage {
            for number in 0..self.chance("edits") % 4 {
                let edit = self.edit(number);
                if self.actions.contains(edit.action()) {
                    cx.edit(edit)?;
                }
            }
        }
        match self.script.needs.sees(stage) {
            See::Answer => Ok(self.verdict(stage)),
            _ => Ok(Verdict::Continue),
        }
    }
}

/// A step of the MTA's.
#[derive(Clone, Debug)]
enum Act {
    Mail(Box<Mail>),
    Unknown,
    Helo,
    Abort,
}

/// An MTA and what it sends over one connection.
#[derive(Clone, Debug)]
struct Session {
    profile: Profile,
    offer: Offer,
    acts: Vec<Act>,
}

/// What the MTA hears, written out.
async fn play(spec: &SocketSpec, session: &Session) -> Vec<String> {
    let config = MtaConfig::new(session.profile).with_offer(session.offer);
    let mut client = Client::connect(spec, config).await.unwrap();
    let mut heard = vec![format!("{:?}", client.agreement())];
    for act in &session.acts {
        let answer = match act {
            Act::Mail(mail) => match client.send(mail).await {
                Ok(report) => {
                    let steps: Vec<_> =
                        report.steps.iter().map(|step| (step.stage, &step.about, &step.outcome)).collect();
                    let delivered = report.delivered.as_ref().map(|message| Bytes::from(message.to_bytes()));
                    // Where a new body is cut is not what it is.
                    let (mut edits, mut body) = (Vec::new(), Vec::new());
                    for (edit, applied) in report.edits {
                        match edit {
                            Edit::ReplaceBody(piece) => body.extend_from_slice(&piece),
                            edit => edits.push((edit, applied)),
                        }
                    }
                    format!(
                        "{steps:?} {edits:?} {body:?} {:?} {} {delivered:?}",
                        report.refused, report.verdict
                    )
                }
                Err(error) => misuse(&error),
            },
            Act::Unknown => said(client.step(&Command::Unknown(Bytes::from_static(b"WHAT 1")), None).await),
            Act::Helo => said(client.step(&Command::Helo(Bytes::from_static(b"again")), None).await),
            Act::Abort => said(client.step(&Command::<Bytes>::Abort, None).await),
        };
        heard.push(answer);
    }
    client.quit().await.unwrap();
    heard
}

fn said(answer: Result<Answer, ClientError>) -> String {
    match answer {
        Ok(answer) => format!("{:?}", answer.outcome),
        Err(error) => misuse(&error),
    }
}

/// A step that does not follow from the one before is none.
fn misuse(error: &ClientError) -> String {
    assert!(matches!(error, ClientError::Misuse(_)), "{error}");
    error.to_string()
}

type Log = Arc<Mutex<Vec<String>>>;

/// Serves at a path of its own.
async fn served<F: Filter>(
    spec: &SocketSpec,
    make: impl Fn() -> F + Send + Sync + 'static,
    shutdown: Shutdown,
) {
    let listeners = tamis::bind(std::slice::from_ref(spec)).unwrap();
    let server = Server::new(move |_: &tamis::Peer| make()).options(patient());
    server.serve(listeners, shutdown).await.unwrap();
}

async fn compare(script: Script, session: Session) {
    let folder = tempfile::tempdir().unwrap();
    let spec = |name| SocketSpec::Unix(folder.path().join(name));
    let (direct, relay) = (spec("direct"), spec("relay"));
    let shutdown = Shutdown::new();
    let log = Log::default();
    let notes = log.clone();
    let make =
        move || Random { script: script.clone(), log: notes.clone(), actions: Actions::empty(), count: 0 };
    let milter = Milter::new(direct.clone());
    let consults = milter.clone();
    let servers = async {
        tokio::join!(
            served(&direct, make, shutdown.clone()),
            served(&relay, move || consults.connection(), shutdown.clone())
        )
    };
    let client = async {
        let mut both = Vec::new();
        for spec in [&direct, &relay] {
            let heard = play(spec, &session).await;
            common::until(|| log.lock().unwrap().last().is_some_and(|last| last.contains("Close"))).await;
            both.push((heard, std::mem::take(&mut *log.lock().unwrap())));
        }
        shutdown.stop();
        both
    };
    let (_, both) = tokio::join!(servers, client);
    for (direct, relayed) in both[0].0.iter().zip(&both[1].0) {
        assert_eq!(direct, relayed, "heard");
    }
    for (direct, relayed) in both[0].1.iter().zip(&both[1].1) {
        assert_eq!(direct, relayed, "seen");
    }
    let counts = [0, 1].map(|at| (both[at].0.len(), both[at].1.len()));
    assert_eq!(counts[0], counts[1]);
    assert_eq!(milter.breaker().counts().failures, 0);
}

fn sees() -> impl Strategy<Value = Vec<See>> {
    vec(prop_oneof![1 => Just(See::Nothing), 1 => Just(See::Watch), 3 => Just(See::Answer)], Stage::ALL.len())
}

fn lists() -> impl Strategy<Value = MacroLists> {
    vec(proptest::option::weighted(0.3, subsequence(MACROS.to_vec(), 0..5)), STAGES.len()).prop_map(|lists| {
        let mut all = MacroLists::default();
        for (stage, list) in STAGES.into_iter().zip(lists) {
            if let Some(list) = list {
                all.want(stage, list);
            }
        }
        all
    })
}

fn needs() -> impl Strategy<Value = Needs> {
    let sizes = select(vec![DataSize::K64, DataSize::K64, DataSize::K256, DataSize::M1]);
    (sees(), 0_u32..0x100, lists(), any::<[bool; 3]>(), sizes).prop_map(
        |(sees, actions, lists, flags, size)| {
            let mut needs =
                Needs::new().allow(Actions::from_bits_retain(actions)).skip(flags[0]).data_size(size);
            for (stage, see) in Stage::ALL.into_iter().zip(sees) {
                needs = match see {
                    See::Nothing => needs,
                    See::Watch => needs.watch([stage]),
                    See::Answer => needs.answer([stage]),
                };
            }
            for stage in STAGES {
                if let Some(names) = lists.get(stage) {
                    needs = needs.macros(stage, names);
                }
            }
            if flags[1] {
                needs = needs.leading_space();
            }
            if flags[2] { needs.rejected_recipients() } else { needs }
        },
    )
}

fn script() -> impl Strategy<Value = Script> {
    (any::<u64>(), needs(), select(vec![3_u64, 8, 20, u64::MAX])).prop_map(|(seed, needs, rarely)| Script {
        seed,
        needs,
        rarely,
    })
}

fn mail() -> impl Strategy<Value = Mail> {
    let field = prop_oneof![
        6 => "[A-Za-z][A-Za-z0-9-]{0,8}: {0,2}[ -~]{0,20}\r\n",
        1 => "X-Fold: [a-z]{1,5}\r\n\t[a-z]{1,5}\r\n",
        1 => Just(format!("X-Long: {}\r\n", "x".repeat(70_000))),
    ];
    let body = prop_oneof![
        2 => Just(String::new()),
        4 => "([ -~]{0,30}\r\n){0,4}",
        1 => (1_usize..200_000).prop_map(|count| "b".repeat(count)),
    ];
    let recipients = vec("[a-z]{1,3}@example\\.(com|org)", 1..4);
    let client = any::<Option<bool>>();
    (vec(field, 0..4), body, recipients, client, any::<bool>()).prop_map(
        |(fields, body, recipients, v6, null)| {
            let sender = if null { "" } else { "from@example.com" };
            let mut mail = Mail::new(sender, &recipients, format!("{}\r\n{body}", fields.concat()));
            mail.sender = Path { args: vec![Bytes::from_static(b"SIZE=100")], ..mail.sender };
            let address: SocketAddr = "[2001:db8::1]:2525".parse().unwrap();
            match v6 {
                None => mail.client = None,
                Some(true) => mail.client = Some(address),
                Some(false) => {}
            }
            mail
        },
    )
}

fn session() -> impl Strategy<Value = Session> {
    let act = prop_oneof![
        4 => mail().prop_map(|mail| Act::Mail(Box::new(mail))),
        1 => Just(Act::Unknown),
        1 => Just(Act::Helo),
        1 => Just(Act::Abort),
    ];
    let offer = prop_oneof![
        4 => Just(Offer::CURRENT),
        1 => Just(Offer { steps: Steps::CURRENT | Steps::PAYLOAD_SIZES, ..Offer::CURRENT }),
        2 => select(vec![2, 3, 4]).prop_map(Offer::of_version),
        1 => (0_u32..0x100).prop_map(|bits| Offer { actions: Actions::from_bits_retain(bits | 1), ..Offer::CURRENT }),
        1 => (0_u32..0x20_0000).prop_map(|bits| Offer { steps: Steps::from_bits_retain(bits | 1), ..Offer::CURRENT }),
    ];
    (select(vec![Profile::Postfix, Profile::Sendmail]), offer, vec(act, 1..4))
        .prop_map(|(profile, offer, acts)| Session { profile, offer, acts })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_filter_that_is_consulted_is_as_one_that_the_mta_asks(script in script(), session in session()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(compare(script, session));
    }
}
