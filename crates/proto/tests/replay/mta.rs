//! Plays the filter to an [`MtaSession`], and an MTA that sends the commands of the file.

use std::time::{Duration, Instant};

use tamis_proto::command::Macros;
use tamis_proto::{Command, Edit, Error, MtaConfig, MtaEvent, MtaSession, Rules, Steps, Turn, Verdict};

use super::{Described, Feed, drain, frame};
use crate::common::fixture::{Side, Step, What};

/// One thing that happens to the session.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// It is told to send this command.
    Send(Vec<u8>),
    /// The filter sends this.
    Receive(Vec<u8>),
    /// The filter closes the connection.
    Eof,
    /// Time passes.
    Wait(Duration),
}

impl Op {
    /// What happens in the steps of a file, with the filter's bytes in a row taken together.
    pub(crate) fn of(steps: &[Step]) -> Vec<Self> {
        let mut ops: Vec<Self> = Vec::new();
        for step in steps {
            match &step.what {
                What::Bytes { from: Side::Mta, bytes } => ops.push(Self::Send(bytes.clone())),
                What::Bytes { bytes, .. } => match ops.last_mut() {
                    Some(Self::Receive(before)) => before.extend_from_slice(bytes),
                    _ => ops.push(Self::Receive(bytes.clone())),
                },
                What::Event { .. } => {}
                What::Eof(_) => ops.push(Self::Eof),
                What::Wait(time) => ops.push(Self::Wait(*time)),
            }
        }
        ops
    }
}

/// A session while it is played.
#[derive(Debug)]
pub(crate) struct Player {
    pub(crate) session: MtaSession,
    feed: Feed,
    now: Instant,
    steps: Steps,
    /// Bytes of the filter, and how many were used.
    received: Vec<u8>,
    used: usize,
    /// What it reported.
    pub(crate) events: Vec<Described>,
    /// The edits among it that it refused.
    pub(crate) refused: Vec<String>,
    /// Verdicts that stand in for replies which were none.
    pub(crate) mended: usize,
}

impl Player {
    pub(crate) fn new(config: MtaConfig, feed: Feed) -> Self {
        Self {
            session: MtaSession::new(config),
            feed,
            now: Instant::now(),
            steps: Steps::empty(),
            received: Vec::new(),
            used: 0,
            events: Vec::new(),
            refused: Vec::new(),
            mended: 0,
        }
    }

    /// Forgets what was reported so far; from here on the bytes come in this way.
    pub(crate) fn begin(&mut self, feed: Feed) {
        assert_eq!(self.used, self.received.len(), "everything was used");
        self.received.clear();
        self.used = 0;
        self.events.clear();
        self.feed = feed;
    }

    pub(crate) fn play(&mut self, ops: &[Op]) -> Result<(), Error> {
        for op in ops {
            match op {
                Op::Send(bytes) => self.send(bytes),
                Op::Receive(bytes) => self.receive(bytes)?,
                Op::Eof => self.session.eof(&self.received[self.used..])?,
                Op::Wait(time) => {
                    self.now += *time;
                    self.session.check_time(self.now)?;
                }
            }
        }
        Ok(())
    }

    /// Sends the command that the bytes are; just these have to come out.
    fn send(&mut self, bytes: &[u8]) {
        let written = self.command(bytes, None);
        assert_eq!(written, bytes, "the command");
    }

    /// Sends a command with its macros and returns what came out.
    pub(crate) fn command(&mut self, bytes: &[u8], macros: Option<&Macros<Vec<u8>>>) -> Vec<u8> {
        let mut command = Command::decode(frame(bytes), Rules::tamis()).expect("a good command");
        if let Command::Header(header) = &mut command {
            header.implied_space = !self.steps.contains(Steps::LEADING_SPACE);
        }
        if let Command::Negotiate(_) = command {
            self.session.negotiate(self.now).expect("the offer can be made");
        } else {
            self.turn(&command, macros);
        }
        self.written()
    }

    pub(crate) fn turn<B: AsRef<[u8]>>(
        &mut self,
        command: &Command<B>,
        macros: Option<&Macros<Vec<u8>>>,
    ) -> Turn {
        let kind = command.kind();
        match self.session.send(command, macros, self.now) {
            Ok(turn) => turn,
            Err(misuse) => panic!("{kind}: {misuse}"),
        }
    }

    pub(crate) fn written(&mut self) -> Vec<u8> {
        let mut written = Vec::new();
        drain(self.session.output(), &mut written);
        written
    }

    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let start = self.received.len();
        self.received.extend_from_slice(bytes);
        for fed in self.feed.cuts(start, self.received.len()) {
            while let (used, Some(event)) = self.session.next(&self.received[self.used..fed], self.now)? {
                self.used += used;
                if let MtaEvent::Negotiated { agreement, .. } = &event {
                    self.steps = agreement.steps;
                }
                match &event {
                    MtaEvent::RefusedEdit(edit, _) => self.refused.push(edit.name().to_owned()),
                    event => {
                        self.mended += usize::from(matches!(event, MtaEvent::Verdict { mended: true, .. }));
                        self.events.push(describe(event));
                    }
                }
            }
        }
        Ok(())
    }
}

/// An event of the MTA's session as the files write it.
pub(crate) fn describe(event: &MtaEvent<'_>) -> Described {
    match event {
        MtaEvent::Negotiated { agreement, .. } => {
            let (actions, steps) = (agreement.actions.bits(), agreement.steps.bits());
            let terms = format!("version={} actions={actions:#x} steps={steps:#x}", agreement.version);
            ("negotiated".to_owned(), vec![terms.into()])
        }
        MtaEvent::Edit(edit) | MtaEvent::RefusedEdit(edit, _) => (edit.name().to_owned(), strings(edit)),
        MtaEvent::Progress => ("progress".to_owned(), Vec::new()),
        MtaEvent::Verdict { verdict: Verdict::Reply(reply), .. } => {
            ("reply".to_owned(), vec![reply.to_string().into()])
        }
        MtaEvent::Verdict { verdict, .. } => (verdict.name().to_owned(), Vec::new()),
    }
}

/// The strings of a modification.
fn strings(edit: &Edit<&[u8]>) -> Vec<Vec<u8>> {
    let strings: Vec<&[u8]> = match edit {
        Edit::AddHeader { name, value }
        | Edit::InsertHeader { name, value, .. }
        | Edit::ChangeHeader { name, value, .. } => vec![name, value],
        Edit::ChangeSender { address, args } | Edit::AddRecipientWithArgs { address, args } => {
            std::iter::once(*address).chain(*args).collect()
        }
        Edit::AddRecipient { address } | Edit::DeleteRecipient { address } => vec![address],
        Edit::ReplaceBody(bytes) => vec![bytes],
        Edit::Quarantine { reason } => vec![reason],
    };
    strings.into_iter().map(<[u8]>::to_vec).collect()
}
