//! Every conversation of `sessions/` is played again, byte for byte, from both ends: a filter that decides what the
//! recorded one decided gives the same bytes to the same commands, and an MTA that is told to do the same steps
//! sends the same commands with the same macros.

mod common;
mod replay;

use std::collections::BTreeSet;

use common::fixture::{Session, Side, What, sessions};
use replay::{Ended, Feed, Player, Scenario, frame, needs};
use tamis_proto::command::{Connect, Envelope, Header, Kind, Macros};
use tamis_proto::{
    Actions, Command, Edit, Limits, MtaConfig, Offer, Profile, Reply, Rules, Stage, Steps, Turn,
};

/// Sessions of filters on libmilter, where our own rules differ on purpose.
const ONLY_LIBMILTER: &[(&str, &str)] = &[
    (
        "simulator-all-edits",
        "macros at end of message without those at end of headers; a body between other edits",
    ),
    ("sequence-discard-recipient", "libmilter stays in a message that is discarded at a recipient"),
];

/// Which of our two MTAs cannot play a session, and why.
///
/// Our MTAs do less than a filter has to understand: what no known MTA does, they do not either.
const NOT_OURS: &[(&str, &[Profile], &str)] = &[
    ("habit-body-in-eom", BOTH, EMPTY_END),
    ("habit-sendmail-macros-of-unseen-recipient", BOTH, "a step is sent, or the filter does not want it"),
    ("habit-unix-client", BOTH, NO_QUIT_NC),
    ("sequence-abort-after-message", SENDMAIL, ABORT_IN_MESSAGE),
    ("sequence-abort-without-transaction", SENDMAIL, ABORT_IN_MESSAGE),
    ("sequence-accept-at-mail", SENDMAIL, ABORT_IN_MESSAGE),
    ("sequence-body-after-rcpt", BOTH, END_OF_HEADERS),
    ("sequence-eom-after-rcpt", BOTH, END_OF_HEADERS),
    ("sequence-macros-anywhere", BOTH, "macros precede their command"),
    ("sequence-mail-mail", BOTH, "a message is aborted before the next one"),
    ("sequence-new-connection-after-helo", BOTH, NO_QUIT_NC),
    ("sequence-new-connection-after-message", BOTH, NO_QUIT_NC),
    ("sequence-new-connection-in-transaction", BOTH, NO_QUIT_NC),
    ("sequence-new-connection-then-quit", BOTH, NO_QUIT_NC),
];

const BOTH: &[Profile] = &[Profile::Postfix, Profile::Sendmail];
const SENDMAIL: &[Profile] = &[Profile::Sendmail];
const EMPTY_END: &str = "the end of the message carries no body (2.11)";
const NO_QUIT_NC: &str = "K is never sent (2.13)";
const ABORT_IN_MESSAGE: &str = "Sendmail aborts only inside a message (2.12)";
const END_OF_HEADERS: &str = "the end of the headers is sent even if there are none (2.9)";

fn all_sessions() -> Vec<Session> {
    sessions().unwrap_or_else(|mistake| panic!("{mistake}"))
}

/// An exception for a session that is not there would be forgotten.
fn assert_names(exceptions: impl Iterator<Item = &'static str>) {
    let names: BTreeSet<String> = all_sessions().into_iter().map(|session| session.name).collect();
    for name in exceptions {
        assert!(names.contains(name), "{name} is no session");
    }
}

#[test]
fn filter_gives_the_same_bytes_again() {
    assert_names(ONLY_LIBMILTER.iter().map(|(name, _)| *name));
    for session in all_sessions() {
        let only_libmilter = ONLY_LIBMILTER.iter().any(|(name, _)| *name == session.name);
        for rules in [Rules::libmilter(), Rules::tamis()] {
            if only_libmilter && rules == Rules::tamis() {
                continue;
            }
            let scenario = Scenario::new(&session.name, rules, Limits::new(), needs(&session.needs))
                .frames(&session.steps);
            for feed in Feed::all(scenario.length()) {
                filter_plays(&session, &scenario, feed);
            }
        }
    }
}

fn filter_plays(session: &Session, scenario: &Scenario, feed: Feed) {
    let closes = session.steps.iter().any(|step| step.what == What::Eof(Side::Mta));
    let aborts = matches!(&session.steps[session.steps.len() - 2].what,
        What::Event { name, .. } if name == "abort");
    match scenario.play(feed) {
        Ended::Quietly { rest: 0 } => {}
        // A message was open, which is worth a line in the log.
        Ended::With(error) if closes && aborts => assert_eq!(error.fault, tamis_proto::Fault::EndTooEarly),
        ended => panic!("{}, {feed:?}: {ended:?}", session.name),
    }
}

#[test]
fn mta_sends_the_same_bytes_again() {
    assert_names(NOT_OURS.iter().map(|(name, ..)| *name));
    for session in all_sessions() {
        let profiles = match session.mta.as_str() {
            "postfix" => &[Profile::Postfix],
            "sendmail" => SENDMAIL,
            _ => BOTH,
        };
        let not_ours = |profile: &Profile| {
            NOT_OURS.iter().any(|(name, profiles, _)| *name == session.name && profiles.contains(profile))
        };
        for profile in profiles.iter().filter(|profile| !not_ours(profile)) {
            let replies = session.steps.iter().map(|step| match &step.what {
                What::Bytes { from: Side::Filter, bytes } => bytes.len(),
                _ => 0,
            });
            for feed in Feed::all(replies.sum()) {
                Mta::new(&session, *profile, feed).play(&session);
            }
        }
    }
}

/// An MTA that is told every step of the SMTP session, also those that the filter does not want.
struct Mta {
    place: String,
    player: Player,
    version: u32,
    steps: Steps,
    /// The last stage of the message that was gone through; HELO before the first.
    at: Stage,
    /// Macros whose command comes next.
    macros: Option<(Kind, Macros<Vec<u8>>, Vec<u8>)>,
}

impl Mta {
    fn new(session: &Session, profile: Profile, feed: Feed) -> Self {
        let offer = Offer {
            version: session.offer.version,
            actions: Actions::from_bits_retain(session.offer.actions),
            steps: Steps::from_bits_retain(session.offer.steps),
        };
        Self {
            place: format!("{}, {profile:?}, {feed:?}", session.name),
            player: Player::new(MtaConfig::new(profile).with_offer(offer), feed),
            version: 0,
            steps: Steps::empty(),
            at: Stage::Helo,
            macros: None,
        }
    }

    fn play(mut self, session: &Session) {
        for step in &session.steps {
            match &step.what {
                What::Bytes { from: Side::Mta, bytes } => self.send(bytes),
                What::Bytes { from: Side::Filter, bytes } => self.receive(bytes),
                What::Eof(_) if self.player.session.sits_out() => {
                    // Postfix just closes after a verdict on the connection.
                    assert_eq!(self.player.turn(&Command::<&[u8]>::Quit, None), Turn::Unwanted);
                    self.expect(&[]);
                }
                _ => {}
            }
        }
    }

    fn expect(&mut self, bytes: &[u8]) {
        let written = self.player.written();
        assert!(
            written == bytes,
            "{}: sent {} instead of {}",
            self.place,
            written.escape_ascii(),
            bytes.escape_ascii()
        );
    }

    fn send(&mut self, bytes: &[u8]) {
        let command = Command::decode(frame(bytes), Rules::tamis()).expect("a good command");
        let kind = command.kind();
        if let Command::Macros(macros) = &command {
            self.macros_alone();
            let of = macros.command().expect("macros of a command");
            self.macros = Some((of, Macros::new(of, macros.pairs()), bytes.to_vec()));
            return;
        }
        if self.macros.as_ref().is_some_and(|(of, ..)| *of != kind) {
            self.macros_alone();
        }
        let (macros, mut wire) = match self.macros.take() {
            Some((_, macros, wire)) => (Some(macros), wire),
            None => (None, Vec::new()),
        };
        match kind.stage() {
            Some(stage) => self.pass_over(stage),
            None => self.at = Stage::Helo,
        }
        wire.extend_from_slice(bytes);
        let written = self.player.command(bytes, macros.as_ref());
        assert!(
            written == wire,
            "{}: sent {} instead of {}",
            self.place,
            written.escape_ascii(),
            wire.escape_ascii()
        );
    }

    /// The macros were sent and their command was not, because the filter does not want it.
    fn macros_alone(&mut self) {
        let Some((kind, macros, wire)) = self.macros.take() else { return };
        let stage = kind.stage().expect("macros of a stage");
        self.pass_over(stage);
        assert_eq!(self.player.turn(&made_up(stage), Some(&macros)), Turn::Unwanted, "{}", self.place);
        self.expect(&wire);
    }

    /// Goes through the stages before this one that do not show, because the filter or its version switches
    /// them off.
    fn pass_over(&mut self, stage: Stage) {
        if !stage.in_message() {
            self.at = if stage == Stage::Helo { Stage::Helo } else { self.at };
            return;
        }
        if stage < self.at {
            self.at = Stage::Helo;
        }
        for before in Stage::ALL {
            let shows = self.steps.sends(before) && Kind::of_stage(before).since() <= self.version;
            if self.at < before && before < stage && !shows {
                assert_eq!(self.player.turn(&made_up(before), None), Turn::Unwanted, "{}", self.place);
                self.expect(&[]);
            }
        }
        self.at = stage;
    }

    fn receive(&mut self, bytes: &[u8]) {
        let before = self.player.events.len();
        if let Err(error) = self.player.receive(bytes) {
            panic!("{}: {error}", self.place);
        }
        let reply = Reply::decode(frame(bytes)).expect("a good reply");
        let name = match &reply {
            Reply::Negotiate(answer) => {
                (self.version, self.steps) = (answer.version, answer.steps);
                "negotiated"
            }
            Reply::Custom(_) => "reply",
            Reply::Edit(edit) => {
                self.check_edit(edit);
                edit.name()
            }
            other => other.name(),
        };
        let names: Vec<&str> = self.player.events[before..].iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, [name], "{}", self.place);
    }

    fn check_edit(&self, edit: &Edit<&[u8]>) {
        assert!(self.player.refused.is_empty(), "{}: {} was refused", self.place, edit.name());
    }
}

/// A command of a stage, no matter which: it does not get onto the wire.
fn made_up(stage: Stage) -> Command<Vec<u8>> {
    let text = || b"x".to_vec();
    let path = || Envelope::with_args(b"<>", [""; 0]);
    match stage {
        Stage::Connect => Command::Connect(Connect::unknown("x")),
        Stage::Helo => Command::Helo(text()),
        Stage::Mail => Command::Mail(path()),
        Stage::Rcpt => Command::Rcpt(path()),
        Stage::Data => Command::Data,
        Stage::Header => Command::Header(Header { name: text(), value: text(), implied_space: false }),
        Stage::EndOfHeaders => Command::EndOfHeaders,
        Stage::Body => Command::Body(text()),
        Stage::EndOfMessage => Command::EndOfMessage(Vec::new()),
        Stage::Unknown => Command::Unknown(text()),
    }
}
