//! Any bytes into an MTA's session: nothing harmful gets through, nothing comes after an error, and the outcome is
//! the same however the stream is cut.
//!
//! Input: flags, the offer's version, a number for the cuts, limits, the MTA's steps behind their count, the stream.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use tamis_fuzz::{Input, wire};
use tamis_proto::command::{Connect, Envelope, Header, Kind, Macros};
use tamis_proto::edit::validate;
use tamis_proto::{
    Command, Edit, Error, Frame, Misuse, MtaConfig, MtaEvent, MtaSession, Offer, Profile, Rules, SmtpReply,
    Stage, Turn, Verdict,
};

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let (flags, version, cuts) = (input.u8(), input.u8(), input.u32());
    let limits = input.limits(flags);
    let profile = if flags & 1 == 0 { Profile::Postfix } else { Profile::Sendmail };
    let config = MtaConfig::new(profile)
        .with_offer(Offer::of_version(6 - u32::from(version % 5)))
        .with_limits(limits)
        .with_body_limit(if flags & 8 == 0 { 50 << 20 } else { 100 });
    let config = if flags & 2 == 0 { config } else { config.lenient() };
    let config = if flags & 0x20 == 0 { config } else { config.relaying() };
    let steps = input.text();
    let whole = Mta::play(config, steps, input.0, None);
    assert_eq!(Mta::play(config, steps, input.0, Some(cuts)), whole, "cuts do not matter");
});

struct Mta<'a> {
    config: MtaConfig,
    session: MtaSession,
    now: Instant,
    stream: &'a [u8],
    start: usize,
    end: usize,
    cuts: Option<u32>,
    log: Log,
}

#[derive(Debug, Default, PartialEq)]
struct Log {
    sent: Vec<Result<Turn, Misuse>>,
    verdicts: Vec<(Stage, Verdict, bool)>,
    edits: Vec<(Edit<Vec<u8>>, Option<Misuse>)>,
    progress: usize,
    commands: Vec<u8>,
    error: Option<Error>,
}

impl<'a> Mta<'a> {
    fn play(config: MtaConfig, steps: &[u8], stream: &'a [u8], cuts: Option<u32>) -> Log {
        let end = if cuts.is_some() { 0 } else { stream.len() };
        let session = MtaSession::new(config);
        let mut mta =
            Mta { config, session, now: Instant::now(), stream, start: 0, end, cuts, log: Log::default() };
        mta.run(steps);
        if mta.log.error.is_some() {
            mta.check_dead();
        }
        let log = mta.log;
        for (code, payload) in wire::frames(&log.commands) {
            Command::decode(Frame { code, payload }, Rules::tamis().strict())
                .expect("commands are well formed");
        }
        log
    }

    fn run(&mut self, steps: &[u8]) {
        self.session.negotiate(self.now).expect("the offer is first");
        self.drain();
        if !self.listen() {
            return;
        }
        for step in steps {
            let turn = self.send(*step);
            self.drain();
            let filter = turn == Ok(Turn::Filter);
            assert_eq!(self.session.waits_for().is_some(), filter);
            assert_eq!(self.session.deadline().is_some(), filter);
            self.log.sent.push(turn);
            if filter && step & 0x40 != 0 {
                // The filter falls silent for longer than any time limit.
                self.session.check_time(self.now).expect("time is not up yet");
                let late = self.now + Duration::from_hours(2);
                self.log.error = Some(self.session.check_time(late).expect_err("time is up"));
                return;
            }
            if filter && !self.listen() {
                return;
            }
        }
    }

    fn send(&mut self, step: u8) -> Result<Turn, Misuse> {
        let kind = Kind::ALL[usize::from(step & 0x0f) % Kind::ALL.len()];
        let text = [&b"text"[..], b"a\0b", b" <a@b>", b""][usize::from(step >> 4 & 3)];
        let envelope = Envelope::with_args(text, [b"SIZE=1"]);
        let macros = (step & 0x80 != 0).then(|| Macros::new(kind, [("i", "Q1")]));
        let command: Command<Vec<u8>> = match kind {
            Kind::Connect if text.len() < 6 => {
                Command::Connect(Connect::unix("host", text).expect("a short path"))
            }
            Kind::Connect => Command::Connect(Connect::unknown(text)),
            Kind::Helo => Command::Helo(text.to_vec()),
            Kind::Mail => Command::Mail(envelope),
            Kind::Rcpt => Command::Rcpt(envelope),
            Kind::Data => Command::Data,
            Kind::Header => {
                Command::Header(Header { name: b"X".to_vec(), value: text.to_vec(), implied_space: false })
            }
            Kind::EndOfHeaders => Command::EndOfHeaders,
            Kind::Body => Command::Body(text.to_vec()),
            Kind::EndOfMessage => Command::EndOfMessage(Vec::new()),
            Kind::Unknown => Command::Unknown(text.to_vec()),
            Kind::Quit => Command::Quit,
            Kind::QuitNewConnection => Command::QuitNewConnection,
            Kind::Negotiate => Command::Negotiate(self.config.offer),
            Kind::Macros => Command::Macros(Macros::new(Kind::Mail, [("i", "Q1")])),
            Kind::Abort => Command::Abort,
        };
        let result = self.session.send(&command, macros.as_ref(), self.now);
        let mut bytes = Vec::new();
        wire::drain(self.session.output(), usize::MAX, &mut bytes);
        let codes: Vec<u8> = wire::frames(&bytes).iter().map(|(code, _)| *code).collect();
        let said = matches!(result, Ok(Turn::Filter | Turn::Mta));
        match codes[..] {
            [] => assert!(!said),
            [b'D'] => assert!(result == Ok(Turn::Unwanted) && macros.is_some(), "macros alone"),
            [code] => assert!(said && code == kind.code() && macros.is_none() || kind.stage().is_none()),
            [b'D', code] => assert!(said && code == kind.code() && macros.is_some()),
            _ => panic!("{codes:?} for one step"),
        }
        assert!(result.is_ok() || codes.is_empty(), "misuse does nothing");
        self.log.commands.extend(bytes);
        result
    }

    /// Listens until the filter has given its verdict; `false` if the session is over.
    fn listen(&mut self) -> bool {
        let mut body = 0;
        while self.session.deadline().is_some() {
            let waits = self.session.waits_for();
            let buffer = &self.stream[self.start..self.end];
            match self.session.next(buffer, self.now) {
                Ok((used, Some(event))) => {
                    assert!(used > 0 && used <= buffer.len());
                    self.start += used;
                    self.event(event, waits, &mut body);
                }
                Ok((used, None)) => {
                    assert_eq!(used, 0);
                    if self.end == self.stream.len() {
                        let rest = &self.stream[self.start..];
                        self.log.error = Some(self.session.eof(rest).expect_err("an answer is due"));
                        return false;
                    }
                    let more = self.cuts.map_or(usize::MAX, |cuts| {
                        1 + (cuts.rotate_left(u32::try_from(self.end).expect("inputs are short")) & 7)
                            as usize
                    });
                    self.end = self.stream.len().min(self.end.saturating_add(more));
                }
                Err(error) => {
                    self.log.error = Some(error);
                    return false;
                }
            }
        }
        true
    }

    fn event(&mut self, event: MtaEvent<'_>, waits: Option<Stage>, body: &mut usize) {
        if !matches!(event, MtaEvent::Negotiated { .. } | MtaEvent::Verdict { .. }) {
            assert_eq!(waits, Some(Stage::EndOfMessage), "{event:?}");
        }
        match event {
            MtaEvent::Negotiated { agreement, .. } => {
                assert_eq!(waits, None);
                let offer = self.config.offer;
                assert!((2..=offer.version).contains(&agreement.version));
                assert!(offer.actions.contains(agreement.actions) && offer.steps.contains(agreement.steps));
            }
            MtaEvent::Progress => self.log.progress += 1,
            MtaEvent::Verdict { stage, verdict, mended } => {
                assert_eq!((Some(stage), self.session.waits_for()), (waits, None));
                if let Verdict::Reply(reply) = &verdict {
                    harmless(reply);
                }
                self.log.verdicts.push((stage, verdict, mended));
            }
            MtaEvent::Edit(edit) => {
                check(&edit, self.config.relays);
                if let Edit::ReplaceBody(piece) = edit {
                    *body += piece.len();
                    assert!(*body as u64 <= self.config.body_limit);
                }
                self.log.edits.push((edit.map(<[u8]>::to_vec), None));
            }
            MtaEvent::RefusedEdit(edit, misuse) => {
                self.log.edits.push((edit.map(<[u8]>::to_vec), Some(misuse)));
            }
        }
    }

    fn drain(&mut self) {
        wire::drain(self.session.output(), 3, &mut self.log.commands);
    }

    /// After an error nothing more happens, whatever comes.
    fn check_dead(&mut self) {
        let session = &mut self.session;
        assert!(session.is_closed() && session.output().is_empty() && session.deadline().is_none());
        for more in [self.stream, b"\0\0\0\x01c", b"\0\0\0\0"] {
            assert_eq!(session.next(more, self.now), Ok((0, None)));
            assert_eq!(session.eof(more), Ok(()));
        }
        assert_eq!(session.check_time(self.now + Duration::from_hours(9)), Ok(()));
        assert!(session.negotiate(self.now).is_err());
        for command in [Command::Helo("a"), Command::Abort, Command::Quit] {
            assert_eq!(session.send(&command, None, self.now), Err(Misuse::Ended));
        }
        assert!(session.output().is_empty() && session.waits_for().is_none());
    }
}

/// Text of a filter cannot end an SMTP reply early.
fn harmless(reply: &SmtpReply) {
    assert!((400..600).contains(&reply.code()));
    assert!(reply.lines().count() <= 32);
    for line in reply.lines() {
        assert!(line.len() <= 980 && !line.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')));
    }
}

/// An edit that is taken cannot end a field, the header or a line of the envelope early. Values of fields that are
/// passed on to another MTA are left to that.
fn check(edit: &Edit<&[u8]>, relays: bool) {
    let line = |text: &[u8]| !text.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n'));
    match *edit {
        Edit::AddHeader { name, value }
        | Edit::InsertHeader { name, value, .. }
        | Edit::ChangeHeader { name, value, .. }
            if relays =>
        {
            assert!(!name.is_empty() && !value.contains(&0));
        }
        Edit::AddHeader { name, value }
        | Edit::InsertHeader { name, value, .. }
        | Edit::ChangeHeader { name, value, .. } => {
            assert!(validate::header_name(name).is_ok() && name.iter().all(u8::is_ascii_graphic));
            assert!(!value.iter().any(|byte| matches!(byte, 0 | b'\r')));
            let mut folded = value.split(|byte| *byte == b'\n').skip(1);
            assert!(folded.all(|line| matches!(line, [b' ' | b'\t', ..]) && !line.trim_ascii().is_empty()));
        }
        Edit::ChangeSender { address, args } | Edit::AddRecipientWithArgs { address, args } => {
            assert!(line(address) && !address.is_empty() && args.is_none_or(line));
        }
        Edit::AddRecipient { address } => assert!(line(address) && !matches!(address, b"" | b"<>")),
        Edit::DeleteRecipient { address } => assert!(line(address) && !address.is_empty()),
        Edit::Quarantine { reason } => assert!(line(reason) && !reason.is_empty()),
        Edit::ReplaceBody(_) => {}
    }
}
