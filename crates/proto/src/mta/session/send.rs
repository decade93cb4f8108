//! What the MTA says: which command may follow, and what of it the filter gets.

use std::borrow::Cow;
use std::time::Instant;

use bytes::Bytes;

use super::{Agreed, Edits, MtaSession, Phase, Turn, Waits};
use crate::codec;
use crate::command::{Command, Header, Kind, Macros};
use crate::edit::model::Profile;
use crate::error::Misuse;
use crate::negotiate::Steps;
use crate::stage::Stage;

impl MtaSession {
    /// Goes one step on in the SMTP session, with the macros that belong to the step.
    ///
    /// # Errors
    ///
    /// When a reply is due, the step does not follow from the one before, its text has a NUL or it exceeds
    /// the packet size. Nothing is sent then.
    pub fn send<B: AsRef<[u8]>>(
        &mut self,
        command: &Command<B>,
        macros: Option<&Macros<Vec<u8>>>,
        now: Instant,
    ) -> Result<Turn, Misuse> {
        let kind = command.kind();
        self.check_turn(kind.name())?;
        let Some(stage) = kind.stage() else { return self.send_bare(kind) };
        let next = self.phase_after(stage).ok_or(Misuse::OutOfOrder(kind.name()))?;
        let left_out = self.leaves_out(stage, next);
        let turn = self.wire().put(command, macros, left_out, self.output.frames())?;
        self.pass_on(stage, next, turn, now);
        Ok(turn)
    }

    /// Sends a piece of the body without copying it; as [`send`](Self::send) otherwise.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_body(&mut self, piece: Bytes, now: Instant) -> Result<Turn, Misuse> {
        let kind = Kind::Body;
        self.check_turn(kind.name())?;
        let next = self.phase_after(Stage::Body).ok_or(Misuse::OutOfOrder(kind.name()))?;
        let left_out = self.leaves_out(Stage::Body, next);
        let wire = self.wire();
        let size = wire.check(&Command::Body(&piece))?;
        let turn = wire.begin(kind, Stage::Body, size, None, left_out, self.output.frames())?;
        if matches!(turn, Turn::Filter | Turn::Mta) {
            self.output.frames().extend_from_slice(&codec::head(kind.code(), piece.len()));
            self.output.push(piece);
        }
        self.pass_on(Stage::Body, next, turn, now);
        Ok(turn)
    }

    /// Goes on after a command: the filter's turn, or the MTA's again.
    fn pass_on(&mut self, stage: Stage, next: Phase, turn: Turn, now: Instant) {
        self.enter(stage, next, turn != Turn::Unwanted);
        if turn == Turn::Filter {
            self.edits = Edits::default();
            self.waits = Some(Waits { stage: Some(stage), since: now, alive: now });
        }
    }

    /// Whether it is the MTA's turn.
    pub(super) fn check_turn(&self, what: &'static str) -> Result<(), Misuse> {
        if self.phase == Phase::Closed {
            return Err(Misuse::Ended);
        }
        if self.waits.is_some() || self.phase == Phase::Fresh {
            return Err(Misuse::OutOfOrder(what));
        }
        Ok(())
    }

    /// Whether a step is not for this filter any more: its verdict is known, or it has seen enough of the body.
    pub(super) fn leaves_out(&self, stage: Stage, next: Phase) -> bool {
        // Whether a command still belongs to a settled message is known to the session in front.
        let settled = next == Phase::Settled && (stage.in_message() || !self.config.relays);
        let over = self.phase == next && (settled || next == Phase::SitsOut);
        over || (stage == Stage::Body && self.skips_body)
    }

    /// Sends macros by themselves, for a step that the filter does not get or ahead of one that it does.
    ///
    /// # Errors
    ///
    /// When a reply is due, or they exceed the packet size. Nothing is sent then.
    pub fn send_macros(&mut self, macros: &Macros<Vec<u8>>) -> Result<(), Misuse> {
        self.check_turn(Kind::Macros.name())?;
        self.wire().put_macros(macros.code, macros, self.output.frames())
    }

    pub(super) fn enter(&mut self, stage: Stage, next: Phase, wanted: bool) {
        match stage {
            Stage::Mail => {
                (self.recipients, self.refused) = (0, 0);
                (self.skips_body, self.discarded) = (false, false);
            }
            Stage::Rcpt => self.recipients += 1,
            // Postfix reports an EHLO inside a message before it aborts the message. A filter that sees it ends
            // the message by itself, one that does not still waits for the abort.
            Stage::Helo if self.in_message() && !wanted => return,
            _ => {}
        }
        self.phase = next;
    }

    pub(super) fn send_bare(&mut self, kind: Kind) -> Result<Turn, Misuse> {
        match kind {
            Kind::Abort => {
                let says = self.says_abort();
                self.abort();
                if !says {
                    return Ok(Turn::Unwanted);
                }
                Command::<&[u8]>::Abort.encode(self.output.frames());
                Ok(Turn::Mta)
            }
            Kind::Quit => {
                // After a verdict at connect and helo Postfix closes without it (spec §3.2).
                let silent = self.leaves_silently && self.config.profile == Profile::Postfix;
                self.phase = Phase::Closed;
                if silent {
                    return Ok(Turn::Unwanted);
                }
                Command::<&[u8]>::Quit.encode(self.output.frames());
                Ok(Turn::Mta)
            }
            // No known MTA says quit-new-connection, and most filters do not understand it (spec §2.13).
            _ => Err(Misuse::OutOfOrder(kind.name())),
        }
    }

    /// Postfix says it after every message, Sendmail only inside one or where one was discarded (spec §2.12, §3.2).
    pub(super) fn says_abort(&self) -> bool {
        match self.config.profile {
            Profile::Postfix => self.phase != Phase::SitsOut,
            Profile::Sendmail => self.in_message() || self.phase == Phase::Settled && self.discarded,
        }
    }

    pub(super) fn abort(&mut self) {
        if self.in_message() || matches!(self.phase, Phase::Ended | Phase::Settled) {
            self.phase = Phase::Greeted;
        }
    }

    /// How commands look on the wire of this session.
    pub(super) fn wire(&self) -> Wire {
        Wire { agreed: self.agreed, profile: self.config.profile }
    }

    /// Where a stage leads from here; `None` if it does not follow.
    pub(super) fn phase_after(&self, stage: Stage) -> Option<Phase> {
        use Phase::{
            Body, Connected, Data, EndOfHeaders, Ended, Greeted, Headers, Mail, Negotiated, Rcpt, Settled,
            SitsOut,
        };
        if self.config.relays {
            return Some(self.relayed_phase_after(stage));
        }
        let nobody_left = self.recipients > 0 && self.recipients == self.refused;
        Some(match (self.phase, stage) {
            (SitsOut, _) => SitsOut,
            // Never between DATA and the end of the message (spec §2.7): libmilter would abort the message.
            (Data | Headers | EndOfHeaders | Body, Stage::Unknown) => return None,
            (phase, Stage::Unknown) => phase,
            (Negotiated, Stage::Connect) => Connected,
            (Negotiated | Connected | Greeted | Mail | Rcpt | Ended | Settled, Stage::Helo) => Greeted,
            (Negotiated | Connected | Greeted | Ended | Settled, Stage::Mail) => Mail,
            (Settled, _) if stage.in_message() => Settled,
            (Mail | Rcpt, Stage::Rcpt) => Rcpt,
            (Rcpt, _) if nobody_left => return None,
            (Rcpt, Stage::Data) => Data,
            (Rcpt | Data | Headers, Stage::Header) => Headers,
            (Rcpt | Data | Headers, Stage::EndOfHeaders) => EndOfHeaders,
            (EndOfHeaders | Body, Stage::Body) => Body,
            (EndOfHeaders | Body, Stage::EndOfMessage) => Ended,
            _ => return None,
        })
    }

    /// Where a stage leads that may follow whatever was before.
    fn relayed_phase_after(&self, stage: Stage) -> Phase {
        match (self.phase, stage) {
            (Phase::SitsOut, _) => Phase::SitsOut,
            (phase, Stage::Unknown) => phase,
            (Phase::Settled, stage) if stage.in_message() && stage != Stage::Mail => Phase::Settled,
            (_, Stage::Connect) => Phase::Connected,
            (_, Stage::Helo) => Phase::Greeted,
            (_, Stage::Mail) => Phase::Mail,
            (_, Stage::Rcpt) => Phase::Rcpt,
            (_, Stage::Data) => Phase::Data,
            (_, Stage::Header) => Phase::Headers,
            (_, Stage::EndOfHeaders) => Phase::EndOfHeaders,
            (_, Stage::Body) => Phase::Body,
            (_, Stage::EndOfMessage) => Phase::Ended,
        }
    }
}

/// What decides how a command looks on the wire, whatever came before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wire {
    agreed: Agreed,
    profile: Profile,
}

impl Wire {
    /// Writes a command with its macros, as far as the filter gets them, and says whose turn it is then.
    pub(super) fn put<B: AsRef<[u8]>>(
        self,
        command: &Command<B>,
        macros: Option<&Macros<Vec<u8>>>,
        left_out: bool,
        out: &mut Vec<u8>,
    ) -> Result<Turn, Misuse> {
        let kind = command.kind();
        let stage = kind.stage().expect("commands with a payload of their own have a stage");
        let turn = self.begin(kind, stage, self.check(command)?, macros, left_out, out)?;
        if matches!(turn, Turn::Filter | Turn::Mta) {
            match command {
                Command::Header(header) => {
                    let (name, value) = (header.name.as_ref(), self.value(header));
                    Command::Header(Header { name, value: &value, implied_space: false }).encode(out);
                }
                command => command.encode(out),
            }
        }
        Ok(turn)
    }

    /// Says whether the filter gets a command of this size, and writes the macros that come before it.
    fn begin(
        self,
        kind: Kind,
        stage: Stage,
        size: usize,
        macros: Option<&Macros<Vec<u8>>>,
        left_out: bool,
        out: &mut Vec<u8>,
    ) -> Result<Turn, Misuse> {
        let skipped = left_out || self.agreed.version < kind.since();
        let wanted = !skipped && self.agreed.steps.sends(stage);
        let limit = self.agreed.data_size.bytes();
        let too_long = wanted && size > limit;
        if too_long && stage != Stage::Header {
            return Err(Misuse::TooLong { length: size, limit });
        }
        let with_macros = !skipped && !too_long && (wanted || self.macros_without_command(stage));
        if let Some(macros) = macros.filter(|_| with_macros) {
            self.put_macros(kind.code(), macros, out)?;
        }
        Ok(match wanted {
            false => Turn::Unwanted,
            true if too_long => Turn::TooLong,
            true if self.agreed.steps.answers(stage) => Turn::Filter,
            true => Turn::Mta,
        })
    }

    fn put_macros(self, code: u8, macros: &Macros<Vec<u8>>, out: &mut Vec<u8>) -> Result<(), Misuse> {
        let (length, limit) = (macros.list.len() + 1, self.agreed.data_size.bytes());
        if length > limit {
            return Err(Misuse::TooLong { length, limit });
        }
        Command::Macros(Macros { code, list: &macros.list[..] }).encode(out);
        Ok(())
    }

    /// The space after a header's colon is part of the value only where that was agreed on (spec §2.8).
    fn value<B: AsRef<[u8]>>(self, header: &Header<B>) -> Cow<'_, [u8]> {
        if self.agreed.steps.contains(Steps::LEADING_SPACE) {
            return header.spaced_value();
        }
        match header.value.as_ref() {
            [b' ', rest @ ..] if !header.implied_space => Cow::Borrowed(rest),
            value => Cow::Borrowed(value),
        }
    }

    /// Postfix and Sendmail send macros of envelope stages even when the filter does not want the stage
    /// (spec §2.14).
    fn macros_without_command(self, stage: Stage) -> bool {
        match stage {
            Stage::Connect | Stage::Helo | Stage::Mail | Stage::Rcpt => true,
            Stage::Data | Stage::Unknown => self.profile == Profile::Postfix,
            _ => false,
        }
    }

    /// Size of the payload, if the command can be sent at all.
    fn check<B: AsRef<[u8]>>(self, command: &Command<B>) -> Result<usize, Misuse> {
        let nul = |text: &B| memchr::memchr(0, text.as_ref()).is_some();
        let (bad, size) = match command {
            Command::Helo(text) | Command::Unknown(text) => (nul(text), text.as_ref().len() + 1),
            // Names of abstract sockets begin with a NUL, for which the protocol has no place.
            Command::Connect(connect) => {
                let bad = nul(&connect.host) || memchr::memchr(0, connect.address()).is_some();
                (bad, connect.payload_len())
            }
            Command::Mail(path) | Command::Rcpt(path) => (nul(&path.address), path.payload_len()),
            Command::Header(header) => {
                let (name, value) = (header.name.as_ref(), self.value(header));
                (nul(&header.name) || nul(&header.value) || name.is_empty(), name.len() + value.len() + 2)
            }
            // MTAs put the last bytes into a packet of their own; libmilter answers twice otherwise.
            Command::EndOfMessage(bytes) => (!bytes.as_ref().is_empty(), 0),
            Command::Body(bytes) => (bytes.as_ref().is_empty(), bytes.as_ref().len()),
            _ => (false, 0),
        };
        if bad {
            return Err(Misuse::BadText(command.kind().name()));
        }
        // The body goes out in pieces of 64 KiB even where other packets may be larger (spec §4.7).
        if matches!(command, Command::Body(_)) && size > crate::frame::MAX_PAYLOAD {
            return Err(Misuse::TooLong { length: size, limit: crate::frame::MAX_PAYLOAD });
        }
        Ok(size)
    }
}
