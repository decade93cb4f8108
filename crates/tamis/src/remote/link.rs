//! One connection to a milter: what goes out and what comes back, and what is left where nobody waited for it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tamis_proto::frame::{self, MAX_PAYLOAD};
use tamis_proto::{
    Agreement, Command, Edit, Event as Received, MacroLists, MacroTable, Misuse, MtaConfig, MtaEvent,
    MtaSession, Stage, Turn, Verdict,
};
use tokio::time::{Instant, timeout, timeout_at};

use super::RemoteFault;
use super::macros::Forwarded;
use super::wishes::Wishes;
use crate::client::{ClientError, WRITE_TIME, explain};
use crate::filter::Event;
use crate::stream::Stream;
use crate::wire;

/// A connection to a milter, negotiated.
///
/// Every step can be given up in the middle: what the milter still has to say to it is taken off, and not heard,
/// before the next one.
#[derive(Debug)]
pub(super) struct Link {
    milter: Arc<str>,
    stream: Stream,
    session: MtaSession,
    buf: BytesMut,
    macros: Forwarded,
    wanted: MacroLists,
    config: MtaConfig,
    /// The message goes no further, which the milter hears when it is its turn to listen.
    abort_due: bool,
    /// A verdict on more than its step, which came when nobody waited for it any more.
    late: Option<Verdict>,
    /// The verdict after which the milter sits out.
    last_word: Verdict,
}

/// How long the milter may take, and from when on.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    from: Instant,
    limit: Duration,
}

/// What a milter said.
enum Said {
    Negotiated(Agreement),
    Edit(Edit<Bytes>),
    RefusedEdit(&'static str, Misuse),
    Progress,
    Verdict(Verdict),
}

/// Bytes read at once.
const READ: usize = 16 * 1024;

/// Small steps that are not answered leave together, as long as they are not more than this. Something that is
/// answered always follows soon.
const GATHERED: usize = 16 * 1024;

impl Patience {
    /// Up to this limit from now on.
    pub(super) fn new(limit: Duration) -> Self {
        Self { from: Instant::now(), limit }
    }

    fn end(self) -> Option<Instant> {
        self.from.checked_add(self.limit)
    }
}

impl Link {
    /// Makes the offer over a stream that is connected to the milter.
    pub(super) async fn negotiate(
        milter: Arc<str>,
        stream: Stream,
        config: MtaConfig,
    ) -> Result<(Self, Agreement), RemoteFault> {
        let mut session = MtaSession::new(config);
        session.negotiate(now()).expect("it is the first thing said");
        let mut link = Self {
            milter,
            stream,
            session,
            buf: BytesMut::new(),
            macros: Forwarded::default(),
            wanted: MacroLists::default(),
            config,
            abort_due: false,
            late: None,
            last_word: Verdict::Continue,
        };
        let patience = Patience::new(config.timeouts.command);
        link.flush(patience).await?;
        loop {
            if let Said::Negotiated(agreement) = link.receive(patience).await? {
                link.wanted = agreement.macros.clone();
                return Ok((link, agreement));
            }
        }
    }

    /// Takes a step and waits for the verdict, if one is due. Modifications that come before it are noted.
    pub(super) async fn step(
        &mut self,
        event: Event,
        table: &MacroTable,
        begins: bool,
        patience: Patience,
        wishes: &mut Wishes,
    ) -> Result<Verdict, RemoteFault> {
        self.catch_up(patience).await?;
        self.check_quiet().await?;
        if begins {
            self.say_abort()?;
            self.late = None;
        }
        let stage = event.stage().expect("what is no step is not sent as one");
        let due = self.session.steps().answers(stage);
        if self.session.sits_out() {
            return Ok(if due { self.last_word.clone() } else { Verdict::Continue });
        }
        if let Some(verdict) = self.late.take_if(|_| due) {
            return Ok(verdict);
        }
        if self.session.is_settled() && stage.in_message() && stage != Stage::Mail {
            return Ok(Verdict::Continue);
        }
        self.macros.forward(&mut self.session, table, &self.wanted, stage).map_err(
            |misuse| match misuse {
                Misuse::TooLong { length, limit } => RemoteFault::TooLong { what: "macros", length, limit },
                misuse => RemoteFault::Step(misuse),
            },
        )?;
        let Received::Body(mut piece) = event else {
            let turn = self.send(event)?;
            return self.answered(turn, stage, patience, wishes).await;
        };
        // What does not fit a packet goes in several.
        loop {
            let part = piece.split_to(piece.len().min(MAX_PAYLOAD));
            let turn = self.session.send_body(part, now()).map_err(RemoteFault::Step)?;
            let verdict = self.answered(turn, stage, patience, wishes).await?;
            if piece.is_empty() || verdict != Verdict::Continue {
                return Ok(verdict);
            }
        }
    }

    /// Tells the milter that the message goes no further, as soon as it listens.
    pub(super) async fn abort(&mut self) -> Result<(), RemoteFault> {
        self.abort_due = true;
        if self.session.waits_for().is_some() {
            return Ok(());
        }
        self.catch_up(Patience::new(WRITE_TIME)).await
    }

    /// Says good-bye, if the milter listens.
    pub(super) async fn quit(mut self) {
        if self.session.waits_for().is_some() || self.abort().await.is_err() {
            return;
        }
        if self.session.send(&Command::<Bytes>::Quit, None, now()).is_ok() {
            // Whether it hears that makes no difference any more.
            let _ = self.flush(Patience::new(WRITE_TIME)).await;
        }
    }

    /// Whether the milter's word on the message is spoken, or there is none to be spoken yet.
    pub(super) fn is_between_messages(&self) -> bool {
        !self.session.in_message() && self.session.waits_for().is_none()
    }

    /// Has the milter know everything that it should before the next step.
    async fn catch_up(&mut self, patience: Patience) -> Result<(), RemoteFault> {
        while self.session.waits_for().is_some() {
            self.flush(patience).await?;
            if let Said::Verdict(verdict) = self.receive(patience).await?
                && self.session.is_settled()
                && !self.abort_due
            {
                self.late = Some(verdict);
            }
        }
        if self.abort_due {
            self.say_abort()?;
            self.flush(patience).await?;
            self.abort_due = false;
        }
        Ok(())
    }

    /// Ends a message that is open.
    fn say_abort(&mut self) -> Result<(), RemoteFault> {
        self.session.send(&Command::<Bytes>::Abort, None, now()).map(drop).map_err(RemoteFault::Step)
    }

    fn send(&mut self, event: Event) -> Result<Turn, RemoteFault> {
        let command = match event {
            Received::Connect(connect) => Command::Connect(connect),
            Received::Helo(name) => Command::Helo(name),
            Received::Mail(sender) => Command::Mail(sender),
            Received::Rcpt(recipient) => Command::Rcpt(recipient),
            Received::Data => Command::Data,
            Received::Header(header) => Command::Header(header),
            Received::EndOfHeaders => Command::EndOfHeaders,
            Received::EndOfMessage => Command::EndOfMessage(Bytes::new()),
            Received::Unknown(line) => Command::Unknown(line),
            Received::Body(_) | Received::Negotiate(_) | Received::Abort | Received::Close => {
                unreachable!("they are sent otherwise")
            }
        };
        let what = command.kind().name();
        let limit = self.session.data_size().bytes();
        let turn = self.session.send(&command, None, now()).map_err(|misuse| match misuse {
            Misuse::TooLong { length, limit } => RemoteFault::TooLong { what, length, limit },
            misuse => RemoteFault::Step(misuse),
        })?;
        match (turn, &command) {
            (Turn::TooLong, Command::Header(header)) => {
                let length = header.name.len() + header.value.len() + 2;
                Err(RemoteFault::TooLong { what, length, limit })
            }
            _ => Ok(turn),
        }
    }

    /// Waits for the verdict on what was just sent.
    async fn answered(
        &mut self,
        turn: Turn,
        stage: Stage,
        patience: Patience,
        wishes: &mut Wishes,
    ) -> Result<Verdict, RemoteFault> {
        if turn != Turn::Filter {
            let gathers = matches!(stage, Stage::Header | Stage::EndOfHeaders);
            if !gathers || self.session.output().len() >= GATHERED {
                self.flush(patience).await?;
            }
            return Ok(Verdict::Continue);
        }
        self.flush(patience).await?;
        loop {
            match self.receive(patience).await? {
                Said::Verdict(verdict) => return Ok(verdict),
                Said::Edit(edit) => wishes.add(edit).await?,
                Said::RefusedEdit(edit, why) => return Err(RemoteFault::Edit { edit, why }),
                Said::Progress | Said::Negotiated(_) => {}
            }
        }
    }

    /// Waits for the next thing the milter says.
    async fn receive(&mut self, patience: Patience) -> Result<Said, RemoteFault> {
        loop {
            let total = frame::total(&self.buf, self.session.payload_limit());
            let whole = matches!(total, Ok(Some(total)) if total <= self.buf.len());
            if let (Ok(Some(total)), true) = (total, whole) {
                // A piece of a new body stays where it was read to.
                let bytes = self.buf.split_to(total).freeze();
                return self.take(&bytes);
            }
            // The start of a frame may already show that it is none.
            if let Err(error) = self.session.next(&self.buf, now()) {
                return Err(match explain(error, &self.buf) {
                    ClientError::Protocol(error) => self.fault(error),
                    stranger => RemoteFault::Unreachable(stranger),
                });
            }
            self.buf.reserve(READ);
            let (end, limit) = self.limit(patience);
            match timeout_at(end, self.stream.read(&mut self.buf)).await {
                Ok(Ok(0)) => return Err(RemoteFault::Gone),
                Ok(read) => drop(read?),
                Err(_) => return Err(RemoteFault::Timeout(limit)),
            }
        }
    }

    /// Until when to wait for what the milter says next, and how long that is.
    fn limit(&self, patience: Patience) -> (Instant, Duration) {
        let due = self.session.deadline().map_or(patience.from, Instant::from_std);
        if let Some(end) = patience.end().filter(|end| *end < due) {
            return (end, patience.limit);
        }
        let times = &self.config.timeouts;
        let in_content = self.session.waits_for().is_some_and(|stage| {
            matches!(stage, Stage::Header | Stage::EndOfHeaders | Stage::Body | Stage::EndOfMessage)
        });
        (due, if in_content { times.content } else { times.command })
    }

    /// Takes what a whole frame says.
    fn take(&mut self, bytes: &Bytes) -> Result<Said, RemoteFault> {
        if wire::enabled() {
            wire::from_milter(&self.milter, bytes);
        }
        let event = match self.session.next(bytes, now()) {
            Ok((_, event)) => event.expect("a whole frame is an event"),
            Err(error) => {
                return Err(match explain(error, bytes) {
                    ClientError::Protocol(error) => self.fault(error),
                    stranger => RemoteFault::Unreachable(stranger),
                });
            }
        };
        Ok(match event {
            MtaEvent::Edit(Edit::ReplaceBody(piece)) => Said::Edit(Edit::ReplaceBody(bytes.slice_ref(piece))),
            MtaEvent::Edit(edit) => Said::Edit(edit.map(Bytes::copy_from_slice)),
            MtaEvent::RefusedEdit(edit, why) => Said::RefusedEdit(edit.name(), why),
            MtaEvent::Progress => Said::Progress,
            MtaEvent::Negotiated { agreement, .. } => Said::Negotiated(agreement),
            MtaEvent::Verdict { stage, verdict, mended } => {
                if mended {
                    tracing::warn!(milter = %self.milter, %stage, "milter said what is no SMTP reply, {verdict} is meant");
                }
                if self.session.sits_out() {
                    self.last_word = verdict.clone();
                }
                Said::Verdict(verdict)
            }
        })
    }

    /// Makes sure that the milter said nothing while it was not asked, and is there.
    async fn check_quiet(&mut self) -> Result<(), RemoteFault> {
        if self.buf.is_empty() && self.stream.has_input()? {
            self.buf.reserve(READ);
            if self.stream.read(&mut self.buf).await? == 0 {
                return Err(RemoteFault::Gone);
            }
        }
        match self.session.next(&self.buf, now()) {
            Ok(_) => Ok(()),
            Err(error) => {
                if wire::enabled() {
                    wire::from_milter(&self.milter, &self.buf);
                }
                Err(self.fault(error))
            }
        }
    }

    async fn flush(&mut self, patience: Patience) -> Result<(), RemoteFault> {
        let output = self.session.output();
        if output.is_empty() {
            return Ok(());
        }
        if wire::enabled() {
            wire::to_milter(&self.milter, &wire::contents(output));
        }
        let limit = patience.limit;
        let left = patience.end().map_or(WRITE_TIME, |end| end.duration_since(Instant::now()));
        match timeout(left, self.stream.write(output, WRITE_TIME)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                Err(RemoteFault::Timeout(WRITE_TIME))
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(RemoteFault::Timeout(limit)),
        }
    }

    fn fault(&self, error: tamis_proto::Error) -> RemoteFault {
        RemoteFault::of(error, self.config.offer.actions)
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
