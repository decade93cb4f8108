//! What Sendmail's libmilter does with a command: the tables of specification §6.1–§6.6.
//!
//! The generators use it to know what is legal and what is answered. Where the two libraries differ, it is used to
//! find the first command at which one of the accepted differences begins; no reply or report is foretold.

use tamis_proto::Frame;

use crate::script::{Callback, Script, status};
use crate::session::Setup;

/// `SMFIP_…` bits.
#[allow(missing_docs)]
pub mod bits {
    pub const NO_CONNECT: u32 = 0x1;
    pub const NO_HELO: u32 = 0x2;
    pub const NO_MAIL: u32 = 0x4;
    pub const NO_RCPT: u32 = 0x8;
    pub const NO_BODY: u32 = 0x10;
    pub const NO_HEADERS: u32 = 0x20;
    pub const NO_EOH: u32 = 0x40;
    pub const NR_HEADER: u32 = 0x80;
    pub const NO_UNKNOWN: u32 = 0x100;
    pub const NO_DATA: u32 = 0x200;
    pub const SKIP: u32 = 0x400;
    pub const RCPT_REJ: u32 = 0x800;
    pub const NR_CONNECT: u32 = 0x1000;
    pub const NR_HELO: u32 = 0x2000;
    pub const NR_MAIL: u32 = 0x4000;
    pub const NR_RCPT: u32 = 0x8000;
    pub const NR_DATA: u32 = 0x1_0000;
    pub const NR_UNKNOWN: u32 = 0x2_0000;
    pub const NR_EOH: u32 = 0x4_0000;
    pub const NR_BODY: u32 = 0x8_0000;
    pub const LEADING_SPACE: u32 = 0x10_0000;

    /// All that suppress a command.
    pub const NO_ANYTHING: u32 = 0x37f;
    /// All that suppress an answer.
    pub const NR_ANYTHING: u32 = 0xf_f080;
    /// All of version 6.
    pub const ALL: u32 = 0x1f_ffff;
}

/// The states, in the order in which disabled ones are passed over (§6.1, §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Nothing was negotiated.
    Init,
    /// Negotiated.
    Opts,
    /// After connect.
    Conn,
    /// After helo, and between messages.
    Helo,
    /// A message begins here,
    Mail,
    /// goes on
    Rcpt,
    /// …
    Data,
    /// …
    Hdrs,
    /// …
    Eohs,
    /// to here,
    Body,
    /// and is over.
    Endm,
    /// After quit.
    Quit,
    /// After abort; from here, everything but abort itself is as after helo, unless unknown commands are disabled.
    Abrt,
    /// After an unknown command.
    Unkn,
    /// A new connection follows on the same stream.
    QuitNc,
}

use State::{Abrt, Body, Conn, Data, Endm, Eohs, Hdrs, Helo, Init, Mail, Opts, Quit, QuitNc, Rcpt, Unkn};

impl State {
    /// The state that a command leads to.
    pub fn of(code: u8) -> Option<Self> {
        Some(match code {
            b'O' => Opts,
            b'C' => Conn,
            b'H' => Helo,
            b'M' => Mail,
            b'R' => Rcpt,
            b'T' => Data,
            b'L' => Hdrs,
            b'N' => Eohs,
            b'B' => Body,
            b'E' => Endm,
            b'A' => Abrt,
            b'U' => Unkn,
            b'Q' => Quit,
            b'K' => QuitNc,
            _ => return None,
        })
    }

    /// The table of §6.2.
    #[expect(clippy::match_same_arms, reason = "rows that are alike by chance")]
    fn row(self) -> &'static [Self] {
        match self {
            Init => &[Opts],
            Opts => &[Conn, Unkn],
            Conn | Helo => &[Helo, Mail, Unkn],
            Mail => &[Rcpt, Abrt, Unkn],
            Rcpt => &[Rcpt, Data, Hdrs, Eohs, Body, Endm, Abrt, Unkn],
            Data | Hdrs => &[Hdrs, Eohs, Abrt],
            Eohs | Body => &[Body, Endm, Abrt],
            Endm => &[Mail, Unkn, Quit, QuitNc],
            Quit | Abrt => &[],
            Unkn => &[Helo, Mail, Rcpt, Data, Body, Abrt, Unkn, Quit, QuitNc],
            QuitNc => &[Conn, Unkn],
        }
    }

    /// The state that numerically follows, and the bit that disables it.
    fn follower(self) -> Option<(Self, u32)> {
        Some(match self {
            Opts => (Conn, bits::NO_CONNECT),
            Conn => (Helo, bits::NO_HELO),
            Helo => (Mail, bits::NO_MAIL),
            Mail => (Rcpt, bits::NO_RCPT),
            Rcpt => (Data, bits::NO_DATA),
            Data => (Hdrs, bits::NO_HEADERS),
            Hdrs => (Eohs, bits::NO_EOH),
            Eohs => (Body, bits::NO_BODY),
            Abrt => (Unkn, bits::NO_UNKNOWN),
            _ => return None,
        })
    }

    /// Whether a command may come now, with the disabled ones passed over (§6.3).
    pub fn reaches(self, next: Self, steps: u32) -> bool {
        let mut at = self;
        loop {
            if at.row().contains(&next) {
                return true;
            }
            match at.follower() {
                Some((follower, off)) if steps & off != 0 => at = follower,
                _ => return false,
            }
        }
    }

    /// Whether the abort callback is due when things end here.
    pub fn in_transaction(self) -> bool {
        (Mail..Endm).contains(&self)
    }
}

/// Whether a command is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is macros, or what is no command at all.
    Aside,
    /// Executed; with the callback and what that returns, if there is one.
    Runs {
        /// The abort callback is called before it.
        aborts_first: bool,
        /// What comes back, if anything does.
        answer: Answer,
        /// What the callback returned; continue, where there is none.
        status: i32,
    },
    /// Passed over without a word.
    Ignored {
        /// The abort callback is called all the same.
        aborts_first: bool,
    },
    /// The connection is closed.
    Ends,
}

/// What follows on a command that is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A verdict.
    Verdict,
    /// Nothing, as agreed.
    None,
    /// Nothing, although the MTA waits (§5, §6.6).
    Missing,
    /// Two verdicts, or none: the last piece of a body inside the end of message was not answered with continue (§2.11).
    Piece {
        /// No answer of the body callback counts.
        watched: bool,
    },
    /// Nothing or, if the MTA wants one, continue, as agreed; but the callback returned something else, and the state
    /// follows that (§5).
    Unheard,
}

/// Where a session is on the stock library.
#[derive(Clone, Debug)]
pub struct Tracker {
    without: Vec<Callback>,
    /// What the filter asked for.
    wanted: u32,
    /// What the filter's reply to the offer said.
    agreed: u32,
    missing: u32,
    state: State,
    /// The status that ended the message before its end.
    settled: Option<i32>,
    /// The state before the unknown commands and ignored aborts that came last.
    behind: Option<State>,
    counts: [u32; 13],
}

impl Tracker {
    /// A connection whose negotiation comes to this.
    pub fn new(setup: &Setup, wanted: u32, agreed: u32) -> Self {
        let missing = missing_bits(setup);
        Self {
            without: setup.without.clone(),
            wanted,
            agreed,
            missing,
            state: Init,
            settled: None,
            behind: None,
            counts: [0; 13],
        }
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// The state before the unknown commands and ignored aborts that came last.
    pub fn behind(&self) -> State {
        self.behind.unwrap_or(self.state)
    }

    /// The status that ended the message before its end, until another one may begin.
    pub fn settled(&self) -> Option<i32> {
        self.settled
    }

    /// The steps whose states are passed over: also those that were asked for and left out as they were not offered, and
    /// those for which there is no callback.
    pub fn disabled(&self) -> u32 {
        self.agreed | self.wanted & (bits::NO_DATA | bits::NO_UNKNOWN) | self.missing
    }

    /// What was agreed on.
    pub fn agreed(&self) -> u32 {
        self.agreed
    }

    /// How often a callback was called.
    pub fn count(&self, callback: Callback) -> u32 {
        self.counts[callback as usize]
    }

    /// Whether a callback is registered.
    pub fn has(&self, callback: Callback) -> bool {
        !self.without.contains(&callback)
    }

    /// Whether a command would be executed without anything being aborted.
    pub fn allows(&self, code: u8) -> bool {
        State::of(code).is_some_and(|next| self.state.reaches(next, self.disabled()))
    }

    /// Takes a command; its payload is taken to be sound.
    pub fn take(&mut self, frame: Frame<'_>, script: &Script) -> Taken {
        if frame.code == b'D' {
            return Taken::Aside;
        }
        let Some(next) = State::of(frame.code) else { return Taken::Ends };
        let ignored = !self.state.reaches(next, self.disabled()) && !Helo.reaches(next, self.disabled());
        self.behind = (next == Unkn || next == Abrt && ignored).then(|| self.behind());
        let mut aborts_first = false;
        if !self.state.reaches(next, self.disabled()) {
            aborts_first = self.state.in_transaction();
            self.state = Helo;
            if !Helo.reaches(next, self.disabled()) {
                self.settled = self.settled.filter(|_| next != Abrt);
                return if next == Quit { Taken::Ends } else { Taken::Ignored { aborts_first } };
            }
        }
        self.run(frame, next, aborts_first, script)
    }

    fn run(&mut self, frame: Frame<'_>, next: State, aborts_first: bool, script: &Script) -> Taken {
        self.state = next;
        self.settled = self.settled.filter(|_| next == Unkn);
        match next {
            Opts => return Taken::Runs { aborts_first, answer: Answer::Verdict, status: 0 },
            Quit => return Taken::Ends,
            QuitNc | Abrt => return Taken::Runs { aborts_first, answer: Answer::None, status: 0 },
            _ => {}
        }
        if next == Endm && !frame.payload.is_empty() {
            let status = self.call(Body, script);
            if status != status::CONTINUE {
                let answer = Answer::Piece { watched: self.wanted & bits::NR_BODY != 0 };
                self.follow(Body, status);
                return Taken::Runs { aborts_first, answer, status };
            }
        }
        let status = self.call(next, script);
        let answer = self.answer(next, status);
        self.follow(next, status);
        Taken::Runs { aborts_first, answer, status }
    }

    fn call(&mut self, state: State, script: &Script) -> i32 {
        let callback = callback(state);
        if !self.has(callback) {
            return status::CONTINUE;
        }
        self.counts[callback as usize] += 1;
        script.status(callback, self.count(callback))
    }

    fn answer(&self, state: State, status: i32) -> Answer {
        let silent = no_reply_bit(state);
        if self.wanted & silent != 0 {
            return match status {
                status::CONTINUE | status::NOREPLY if self.agreed & silent != 0 => Answer::None,
                // What was asked for and not offered is made up for.
                status::CONTINUE | status::NOREPLY => Answer::Verdict,
                _ => Answer::Unheard,
            };
        }
        match status {
            status::CONTINUE..=status::TEMPFAIL | status::SKIP => Answer::Verdict,
            _ => Answer::Missing,
        }
    }

    /// §6.6: where the return value leads.
    fn follow(&mut self, state: State, status: i32) {
        let before = self.state;
        let stays = matches!(state, Rcpt | Unkn);
        match status {
            status::ACCEPT => self.state = Helo,
            status::REJECT | status::DISCARD | status::TEMPFAIL if !stays => self.state = Helo,
            _ => {}
        }
        if before.in_transaction() && self.state == Helo {
            self.settled = Some(status);
        }
    }
}

/// The callback of a state.
pub fn callback(state: State) -> Callback {
    match state {
        Conn => Callback::Connect,
        Helo => Callback::Helo,
        Mail => Callback::Mail,
        Rcpt => Callback::Rcpt,
        Data => Callback::Data,
        Hdrs => Callback::Header,
        Eohs => Callback::Eoh,
        Body => Callback::Body,
        Endm => Callback::Eom,
        Abrt => Callback::Abort,
        Unkn => Callback::Unknown,
        Init | Opts => Callback::Negotiate,
        Quit | QuitNc => Callback::Close,
    }
}

/// The bit that says that a stage is not answered.
pub fn no_reply_bit(state: State) -> u32 {
    match state {
        Conn => bits::NR_CONNECT,
        Helo => bits::NR_HELO,
        Mail => bits::NR_MAIL,
        Rcpt => bits::NR_RCPT,
        Data => bits::NR_DATA,
        Hdrs => bits::NR_HEADER,
        Eohs => bits::NR_EOH,
        Body => bits::NR_BODY,
        Unkn => bits::NR_UNKNOWN,
        _ => 0,
    }
}

/// The bits that stand for callbacks that are not registered.
pub fn missing_bits(setup: &Setup) -> u32 {
    setup.without.iter().fold(0, |all, callback| {
        all | match callback {
            Callback::Connect => bits::NO_CONNECT,
            Callback::Helo => bits::NO_HELO,
            Callback::Mail => bits::NO_MAIL,
            Callback::Rcpt => bits::NO_RCPT,
            Callback::Data => bits::NO_DATA,
            Callback::Header => bits::NO_HEADERS,
            Callback::Eoh => bits::NO_EOH,
            Callback::Body => bits::NO_BODY,
            Callback::Unknown => bits::NO_UNKNOWN,
            _ => 0,
        }
    })
}
