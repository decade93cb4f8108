//! Handlers of `#[tamis::filter]` over a connection: what they are given, what their returns mean, how long their
//! states live (N5, E1–E10, R2–R5, R9, S4–S7, A12).

mod common;

use std::fmt::Display;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::frames::*;
use common::{Captured, on_failure, patient, serve};
use tamis::handler::{Field, Outcome};
use tamis::message::{Client, Recipient, Sender, Text};
use tamis::proto::command::{Envelope, Header, Kind};
use tamis::proto::{Command, Misuse, Steps};
use tamis::{Actions, BoxError, BoxFilter, Context, Edit, Offer, Reply, SmtpReply, Verdict};

/// What handlers wrote down.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn note(&self, text: impl Display) {
        self.0.lock().unwrap().push(text.to_string());
    }

    /// What was noted since the last time.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Has every handler, half of them asynchronous, and writes down what they are given.
struct Trace {
    notes: Notes,
    seen: u32,
}

/// The state of a message, which writes down its own end.
#[derive(Default)]
struct Message {
    sender: String,
    notes: Option<Notes>,
}

impl Drop for Message {
    fn drop(&mut self) {
        if let Some(notes) = &self.notes {
            notes.note(format_args!("dropped {}", self.sender));
        }
    }
}

type Cx<'a> = Context<'a, Message>;

#[tamis::filter]
impl Trace {
    type Message = Message;

    fn connect(&mut self, client: &Client, cx: &mut Cx<'_>) {
        self.seen += 1;
        let ip = client.ip().unwrap();
        self.notes.note(format_args!(
            "{} {ip} {} at {:?}",
            client.host(),
            client.port().unwrap(),
            cx.stage()
        ));
    }

    async fn helo(&mut self, cx: &mut Cx<'_>, name: &Text) -> Verdict {
        tokio::task::yield_now().await;
        self.seen += 1;
        self.notes.note(format_args!("helo {name:?} at {:?}", cx.stage()));
        Verdict::Continue
    }

    fn mail(&mut self, cx: &mut Cx<'_>, sender: &Sender) -> Result<Verdict, Misuse> {
        cx.message.sender = sender.address().to_string();
        cx.message.notes = Some(self.notes.clone());
        let params = sender.params().to_text();
        self.notes.note(format_args!("mail {} [{params}]", sender.address()));
        Ok(Verdict::Continue)
    }

    async fn rcpt(&mut self, recipient: &Recipient, cx: &mut Cx<'_>) -> Result<Verdict, BoxError> {
        tokio::task::yield_now().await;
        self.notes.note(format_args!("rcpt {} of {}", recipient.address(), cx.message.sender));
        Ok(Verdict::Continue)
    }

    fn data(&mut self) -> Verdict {
        self.notes.note("data");
        Verdict::Continue
    }

    fn header(&mut self, field: &Field) {
        self.notes.note(format_args!("{}={:?} {}", field.name(), field.value(), field.is("SUBJECT")));
    }

    async fn end_of_headers(&mut self, cx: &mut Cx<'_>) {
        tokio::task::yield_now().await;
        self.notes.note(format_args!("end of headers of {}", cx.message.sender));
    }

    fn body(&mut self, piece: &[u8], whole: &Bytes) -> Verdict {
        assert_eq!(piece, whole);
        self.notes.note(format_args!("body {}", piece.escape_ascii()));
        Verdict::Continue
    }

    async fn end_of_message(&mut self, cx: &mut Cx<'_>) -> Verdict {
        tokio::task::yield_now().await;
        self.notes.note(format_args!("end of message of {}", cx.message.sender));
        Verdict::Continue
    }

    fn unknown(&mut self, line: &Text) -> Verdict {
        self.notes.note(format_args!("unknown {line}"));
        Verdict::Continue
    }

    async fn abort(&mut self, cx: &mut Cx<'_>) -> Result<(), BoxError> {
        tokio::task::yield_now().await;
        self.notes.note(format_args!("abort {}", cx.message.sender));
        Ok(())
    }

    fn close(&self) {
        self.notes.note(format_args!("close after {} greetings", self.seen));
    }
}

fn trace(notes: &Notes) -> Trace {
    Trace { notes: notes.clone(), seen: 0 }
}

#[tokio::test]
async fn handlers_are_given_what_their_event_carries() {
    for boxed in [false, true] {
        let notes = Notes::default();
        let made = notes.clone();
        let server = if boxed {
            serve(patient(), move |_| BoxFilter::new(trace(&made)))
        } else {
            serve(patient(), move |_| trace(&made))
        };
        let mut mta = server.mta().await;
        mta.write(connect()).await;
        mta.go([helo("a\u{e9}\r")]).await;
        let mut sender = Vec::new();
        let envelope = Envelope::with_args(b"<from@example.com>", ["SIZE=1", "X=a=b"]);
        Command::Mail(envelope).encode(&mut sender);
        mta.go([sender, rcpt("<to@example.com>"), data()]).await;
        mta.write([header("Subject", "folded\n line"), header("X-Empty", ""), end_of_headers()].concat())
            .await;
        mta.go([body(b"one\r\n"), body(b"\0\xff"), end_of_message(), unknown("XYZZY now")]).await;
        mta.quit().await;
        server.drain().await;
        let expected = [
            "client.example 192.0.2.1 49152 at Some(Connect)",
            "helo \"a\u{e9}\\r\" at Some(Helo)",
            "mail <from@example.com> [SIZE=1 X=a=b]",
            "rcpt <to@example.com> of <from@example.com>",
            "data",
            "Subject=\"folded\\n line\" true",
            "X-Empty=\"\" false",
            "end of headers of <from@example.com>",
            r"body one\r\n",
            r"body \x00\xff",
            "end of message of <from@example.com>",
            "dropped <from@example.com>",
            "unknown XYZZY now",
            "close after 2 greetings",
        ];
        assert_eq!(notes.take(), expected);
    }
}

#[tokio::test]
async fn state_of_the_connection_survives_messages_and_that_of_a_message_does_not() {
    let notes = Notes::default();
    let made = notes.clone();
    let server = serve(patient(), move |_| trace(&made));
    let mut mta = server.mta().await;
    mta.write(connect()).await;
    mta.go([helo("before-starttls"), helo("after-starttls")]).await;
    mta.go([mail("<1@example.com>"), rcpt("<to@example.com>")]).await;
    mta.write(abort()).await;
    mta.go([mail("<2@example.com>"), rcpt("<to@example.com>"), data()]).await;
    mta.go([[end_of_headers(), end_of_message()].concat()]).await;
    mta.go([mail("<3@example.com>")]).await;
    // Gone in the middle of a message.
    drop(mta);
    server.drain().await;
    let expected = [
        "client.example 192.0.2.1 49152 at Some(Connect)",
        "helo \"before-starttls\" at Some(Helo)",
        "helo \"after-starttls\" at Some(Helo)",
        "mail <1@example.com> []",
        "rcpt <to@example.com> of <1@example.com>",
        "abort <1@example.com>",
        "dropped <1@example.com>",
        "mail <2@example.com> []",
        "rcpt <to@example.com> of <2@example.com>",
        "data",
        "end of headers of <2@example.com>",
        "end of message of <2@example.com>",
        "dropped <2@example.com>",
        "mail <3@example.com> []",
        "abort <3@example.com>",
        "dropped <3@example.com>",
        "close after 3 greetings",
    ];
    assert_eq!(notes.take(), expected);
}

#[tokio::test]
async fn handlers_are_methods_that_can_be_called() {
    let mut filter = trace(&Notes::default());
    filter.header(&field("Subject", "hello"));
    assert_eq!(filter.unknown(&Text::from("NOOP")), Verdict::Continue);
    assert_eq!(filter.notes.take(), ["Subject=\"hello\" true", "unknown NOOP"]);
}

fn field(name: &'static str, value: &'static str) -> Field {
    Field::from(Header { name: name.into(), value: value.into(), implied_space: true })
}

#[tokio::test]
async fn stages_without_a_handler_go_on_though_the_mta_insists_on_them() {
    struct Ends;
    #[tamis::filter]
    impl Ends {
        fn mail(&mut self) {}
        async fn end_of_message(&mut self) -> Verdict {
            Verdict::Discard
        }
    }
    let server = serve(patient(), |_| Ends);
    let mut mta = server.connect().await;
    let mut offer = Offer::CURRENT;
    // An MTA that can leave out nothing but HELO, and insists on every reply.
    offer.steps = Steps::NO_HELO;
    assert_eq!(mta.ask(offer_of(offer)).await.code, 'O');
    let mut message = message("<>");
    message.insert(0, connect());
    let end = message.pop().unwrap();
    mta.go(message).await;
    assert_eq!(mta.ask(end).await.code, 'd');
    mta.quit().await;
    server.drain().await;
}

/// Fails where it is told to: at helo, which it answers, or at a header, which it never does.
#[derive(Clone, Copy, PartialEq)]
enum Fails {
    Plain,
    Waiting,
    Unanswered,
}

#[derive(Debug, thiserror::Error)]
#[error("the table is away")]
struct Away;

#[tamis::filter]
impl Fails {
    fn data(&mut self) -> Result<Verdict, Away> {
        if *self == Self::Plain { Err(Away) } else { Ok(Verdict::Continue) }
    }

    async fn header(&mut self) -> Result<(), Away> {
        tokio::task::yield_now().await;
        if *self == Self::Unanswered { Err(Away) } else { Ok(()) }
    }

    async fn end_of_headers(&mut self) -> Result<Verdict, BoxError> {
        self.look_up().await?;
        Ok(Verdict::Continue)
    }
}

impl Fails {
    async fn look_up(self) -> Result<(), Away> {
        tokio::task::yield_now().await;
        if self == Self::Waiting { Err(Away) } else { Ok(()) }
    }
}

#[tokio::test]
async fn errors_mean_the_verdict_of_the_policy() {
    let policies = [
        (Verdict::Tempfail, "t"),
        (Verdict::Reject, "r"),
        (Verdict::Accept, "a"),
        (Verdict::Continue, "c"),
        (Verdict::tempfail("4.3.0", "come again"), "y"),
    ];
    for (policy, code) in policies {
        for fails in [Fails::Plain, Fails::Waiting, Fails::Unanswered] {
            let log = Captured::new("info");
            let server = serve(on_failure(policy.clone()), move |_| fails);
            let mut mta = server.mta().await;
            mta.write(macros(Kind::Data, &[("i", "QUEUEID")])).await;
            if fails == Fails::Plain {
                mta.write(data()).await;
            } else {
                mta.go([data()]).await;
                mta.write(header("Subject", "x")).await;
                mta.write(end_of_headers()).await;
            }
            let reply = mta.reply().await;
            assert_eq!(reply.code.to_string(), code, "{policy}");
            if code == "y" {
                assert_eq!(reply.payload, "451 4.3.0 come again\0");
            }
            log.expect(&["ERROR", "connection{id=1}", "the table is away"]);
            mta.quit().await;
            server.drain().await;
        }
    }
}

/// Says what it is asked for by the sender.
struct Says;

/// An outcome of the author's own.
struct Shrug;

impl Outcome for Shrug {
    const REPLIES: bool = true;

    fn into_reply(self) -> Reply {
        Ok(Verdict::Continue)
    }
}

#[tamis::filter]
impl Says {
    fn connect(&mut self) -> Shrug {
        Shrug
    }

    fn mail(&mut self, sender: &Sender) -> Verdict {
        match sender.local_part().as_bytes() {
            b"reject" => Verdict::Reject,
            b"discard" => Verdict::Discard,
            b"skip" => Verdict::Skip,
            _ => Verdict::Continue,
        }
    }

    fn rcpt(&mut self) -> SmtpReply {
        SmtpReply::multiline(550, "5.1.1", ["100% unknown", "sorry"]).unwrap()
    }

    async fn body(&mut self) -> Verdict {
        Verdict::Skip
    }
}

#[tokio::test]
async fn verdicts_and_replies_of_handlers_are_what_the_mta_is_told() {
    let log = Captured::new("info");
    let server = serve(on_failure(Verdict::Tempfail), |_| Says);
    let mut mta = server.mta().await;
    mta.go([connect()]).await;
    for (sender, code) in [("<reject@b>", 'r'), ("<discard@b>", 'd')] {
        assert_eq!(mta.ask(mail(sender)).await.code, code);
        mta.write(abort()).await;
    }
    mta.go([mail("<from@b>")]).await;
    let reply = mta.ask(rcpt("<to@b>")).await;
    assert_eq!(reply.payload, "550-5.1.1 100%% unknown\r\n550 5.1.1 sorry\0");
    assert_eq!(mta.ask(body(b"a\r\n")).await.code, 's');
    mta.write(abort()).await;
    // A verdict that the stage does not know is a failure.
    assert_eq!(mta.ask(mail("<skip@b>")).await.code, 't');
    log.expect(&["ERROR", "verdict skip does not exist at stage mail"]);
    mta.quit().await;
    server.drain().await;
}

/// Wants to know of recipients that the MTA rejects, and of spaces.
struct Strict(Notes);

#[tamis::filter(rejected_recipients, leading_space)]
impl Strict {
    fn rcpt(&mut self, recipient: &Recipient) {
        let rejection = recipient.rejection().map(|rejection| rejection.status.to_string());
        self.0.note(format_args!("{recipient} {rejection:?}"));
    }

    fn header(&mut self, field: &Field) -> Verdict {
        self.0.note(format_args!("{:?}", field.value()));
        Verdict::Continue
    }
}

#[tokio::test]
async fn rejected_recipients_and_leading_space_come_where_they_are_asked_for() {
    let notes = Notes::default();
    let made = notes.clone();
    let server = serve(patient(), move |_| Strict(made.clone()));
    let mut mta = server.mta().await;
    mta.write(rcpt("<good@example.com>")).await;
    let why = [("{rcpt_mailer}", "error"), ("{rcpt_host}", "5.1.1"), ("{rcpt_addr}", "User unknown")];
    mta.write([macros(Kind::Rcpt, &why), rcpt("<bad@example.com>")].concat()).await;
    mta.go([header("Subject", "  two spaces")]).await;
    mta.quit().await;
    server.drain().await;
    let seen = ["<good@example.com> None", "<bad@example.com> Some(\"5.1.1\")", "\"  two spaces\""];
    assert_eq!(notes.take(), seen);
}

/// Edits where it may and where it may not; all that it is told goes to the notes.
struct Edits(Notes);

#[tamis::filter(require(add_headers))]
impl Edits {
    fn helo(&mut self, cx: &mut Context<'_, ()>) {
        self.0.note(cx.add_header("X-Early", "1").unwrap_err());
    }

    fn rcpt(&mut self, cx: &mut Context<'_, ()>) -> Result<(), Misuse> {
        cx.add_header("X-Kept", "1")
    }

    async fn end_of_headers(&mut self, cx: &mut Context<'_, ()>) {
        assert_eq!(cx.quarantine("held"), Err(Misuse::DisabledAction(Actions::QUARANTINE)));
        self.0.note(cx.change_sender("<>", None).unwrap_err());
    }

    fn end_of_message(&mut self, cx: &mut Context<'_, ()>) -> Result<(), Misuse> {
        assert!(matches!(cx.edits(), [Edit::AddHeader { .. }]));
        cx.add_header("X-Late", "1")
    }
}

#[tokio::test]
async fn edits_leave_at_end_of_message_and_those_not_declared_never_do() {
    let notes = Notes::default();
    let made = notes.clone();
    let server = serve(patient(), move |_| Edits(made.clone()));
    let mut mta = server.mta().await;
    mta.write([helo("h"), rcpt("<to@b>"), end_of_headers()].concat()).await;
    // Nothing before, and continue though the handler returns nothing.
    mta.write(end_of_message()).await;
    let replies = [mta.reply().await, mta.reply().await, mta.reply().await];
    assert_eq!(replies.each_ref().map(|reply| reply.code), ['h', 'h', 'c']);
    assert_eq!(replies[0].payload, "X-Kept\x001\0");
    assert_eq!(replies[1].payload, "X-Late\x001\0");
    mta.quit().await;
    server.drain().await;
    let told = [
        "only possible at end of message",
        "action change-sender was not negotiated: declare it in the filter's needs",
    ];
    assert_eq!(notes.take(), told);
}
