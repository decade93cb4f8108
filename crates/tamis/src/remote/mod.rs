//! A filter that consults another milter over its socket, with the same effect as if the MTA did.
//!
//! ```no_run
//! use tamis::Shutdown;
//! use tamis::remote::Milter;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let opendkim = Milter::new("inet:8891@127.0.0.1".parse()?);
//! let listeners = tamis::bind(&["inet:8899@127.0.0.1".parse()?])?;
//! tamis::serve(listeners, move |_peer| opendkim.connection(), Shutdown::new()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Milter`] is what all connections share: where it listens, how long it may take, and the [`Breaker`] that leaves
//! it alone while it fails again and again. A [`Remote`] is the filter for one connection of an MTA. It opens one to
//! the milter, makes it the MTA's offer and needs what the milter answers.
//!
//! # Macros
//!
//! A milter that names the macros it wants gets those. One that does not gets what the MTA is configured to send to
//! the filter that Tamis is; where a site has added names for that milter, they have to be added for Tamis too.
//! [`RemoteOptions::macros`] names them in the milter's stead.
//!
//! # Failures
//!
//! A milter that cannot be reached, is too slow, closes the connection or breaks the protocol has failed for the rest
//! of the MTA's connection: its own connection is closed, and each message meets the
//! [failure policy](crate::Options::on_failure), at MAIL if the milter failed before that. A step that it cannot be sent
//! and a modification that cannot be done fail the message alone. Every [`RemoteError`] names the milter and the place.

mod breaker;
mod error;
mod link;
mod macros;
mod milter;
mod options;
mod wishes;

use tamis_proto::{Actions, Agreement, MacroStage, Needs, Offer, Stage, Steps, Verdict};

use crate::chain::Unavailable;
use crate::filter::{BoxError, Context, Event, Filter, Reply};
use breaker::Attempt;
use link::{Link, Patience};
use wishes::Wishes;

pub use breaker::{Breaker, BreakerCounts, BreakerOptions, BreakerState};
pub use error::{Place, RemoteError, RemoteFault};
pub use milter::Milter;
pub use options::RemoteOptions;

/// Consults a [`Milter`] for one connection of an MTA.
#[derive(Debug)]
pub struct Remote {
    milter: Milter,
    offer: Offer,
    agreement: Option<Agreement>,
    state: State,
}

/// What there is of a connection to the milter.
#[derive(Debug)]
enum State {
    /// None; the next client makes one.
    None,
    Up(Box<Up>),
    Lost(RemoteError),
}

#[derive(Debug)]
struct Up {
    link: Link,
    attempt: Attempt,
}

/// What is known of a message.
#[derive(Debug, Default)]
pub struct Consultation {
    begun: bool,
    failed: Option<RemoteError>,
}

impl Remote {
    pub(super) fn new(milter: Milter) -> Self {
        Self { milter, offer: Offer::CURRENT, agreement: None, state: State::None }
    }

    /// The milter that it consults.
    pub fn milter(&self) -> &Milter {
        &self.milter
    }

    /// Connects and negotiates; afterwards the milter is there, or lost.
    async fn open(&mut self) {
        self.state = match self.milter.ask(self.offer).await {
            Ok((link, agreement, attempt)) => {
                let before = self.agreement.get_or_insert_with(|| agreement.clone());
                if *before == agreement {
                    State::Up(Box::new(Up { link, attempt }))
                } else {
                    State::Lost(self.milter.error(Place::Negotiation, RemoteFault::Changed))
                }
            }
            Err(error) => State::Lost(error),
        };
    }

    async fn step(
        &mut self,
        cx: &mut Context<'_, Consultation>,
        stage: Stage,
        event: Event,
    ) -> Result<Verdict, RemoteError> {
        let patience = Patience::new(cx.time_limit());
        let place = Place::Stage(stage);
        if let Some(error) = &cx.message.failed {
            return Err(error.clone());
        }
        let begins = stage.in_message() && !std::mem::replace(&mut cx.message.begun, true);
        if matches!(self.state, State::None) {
            self.open().await;
        }
        let up = match &mut self.state {
            State::Up(up) => up,
            State::Lost(_) if !stage.in_message() => return Ok(Verdict::Continue),
            State::Lost(error) => {
                let RemoteError { place: at, fault, .. } = error.clone();
                let error = match at {
                    Place::Negotiation => error.clone(),
                    _ => self.milter.error(place, RemoteFault::Lost { place: at, fault }),
                };
                cx.message.failed = Some(error.clone());
                return Err(error);
            }
            State::None => unreachable!("it was opened"),
        };
        let allowance = (stage == Stage::EndOfMessage).then(|| cx.allowance());
        let mut wishes = Wishes::new(self.milter.options().edits, allowance);
        let result = match up.link.step(event, cx.macros(), begins, patience, &mut wishes).await {
            Ok(verdict) if stage == Stage::EndOfMessage && !verdict.stops() => {
                wishes.grant(cx).await.map(|()| verdict)
            }
            result => result,
        };
        match result {
            Ok(verdict) => {
                // It has had its say on a message, or on a client.
                if up.link.is_between_messages() && (stage.in_message() || verdict != Verdict::Continue) {
                    up.attempt.succeeded();
                }
                Ok(verdict)
            }
            Err(fault) => Err(self.fail(cx, place, fault).await),
        }
    }

    /// Takes note of a failure.
    async fn fail(
        &mut self,
        cx: &mut Context<'_, Consultation>,
        place: Place,
        fault: RemoteFault,
    ) -> RemoteError {
        let mut error = self.milter.error(place, fault);
        if !error.fault.is_fatal()
            && let State::Up(up) = &mut self.state
        {
            match up.link.abort().await {
                Ok(()) => {
                    cx.message.failed = Some(error.clone());
                    return error;
                }
                Err(fault) => error = self.milter.error(place, fault),
            }
        }
        cx.message.failed = Some(error.clone());
        self.lose(&error);
        error
    }

    /// Closes the connection for good.
    fn lose(&mut self, error: &RemoteError) {
        if let State::Up(mut up) = std::mem::replace(&mut self.state, State::Lost(error.clone()))
            && error.fault.is_failure()
        {
            up.attempt.failed(error);
        }
    }

    async fn abort(&mut self) -> Result<(), RemoteError> {
        let State::Up(up) = &mut self.state else { return Ok(()) };
        let Err(fault) = up.link.abort().await else { return Ok(()) };
        let error = self.milter.error(Place::Abort, fault);
        self.lose(&error);
        Err(error)
    }

    async fn close(&mut self) {
        // One that is lost stays so, whatever client comes next.
        if matches!(self.state, State::Up(_))
            && let State::Up(up) = std::mem::replace(&mut self.state, State::None)
        {
            up.link.quit().await;
        }
    }
}

impl Filter for Remote {
    type Message = Consultation;

    /// Everything: what the milter needs is known only when it was asked.
    fn needs(&self) -> Needs {
        Needs::everything().allow(Actions::CURRENT - Actions::MACRO_LISTS)
    }

    async fn negotiate(&mut self, offer: &Offer) -> Result<Needs, BoxError> {
        self.offer = Offer { version: offer.version.min(tamis_proto::VERSION), ..*offer };
        self.agreement = None;
        self.open().await;
        Ok(match (&self.state, &self.agreement) {
            (State::Up(_), Some(agreement)) => needs(agreement, &self.milter),
            (State::Lost(error), _) => {
                // When it was left alone, that was said.
                if !matches!(*error.fault, RemoteFault::LeftAlone { .. }) {
                    tracing::warn!("{error}; it is not asked on this connection");
                }
                // Where the failure is told.
                Needs::new().answer([Stage::Mail])
            }
            _ => unreachable!("it was opened"),
        })
    }

    async fn on(&mut self, cx: &mut Context<'_, Consultation>, event: Event) -> Reply {
        match event.stage() {
            Some(stage) => self.step(cx, stage, event).await.map_err(|error| {
                let lasts = error.fault.is_fatal();
                let error = BoxError::from(error);
                // In a chain it is out of the connection.
                if lasts { Unavailable(error).into() } else { error }
            }),
            None if event == Event::Abort => {
                self.abort().await?;
                Ok(Verdict::Continue)
            }
            None => {
                self.close().await;
                Ok(Verdict::Continue)
            }
        }
    }
}

/// What a filter needs that passes on what was agreed on with a milter.
fn needs(agreement: &Agreement, milter: &Milter) -> Needs {
    let Agreement { version, actions, mut steps, macros, .. } = agreement.clone();
    // Steps that its version does not know.
    if version < 3 {
        steps |= Steps::NO_UNKNOWN;
    }
    if version < 4 {
        steps |= Steps::NO_DATA;
    }
    let mut needs = Needs::from_bits(actions - Actions::MACRO_LISTS, steps);
    for stage in MacroStage::ALL {
        let Some(names) = macros.get(stage).or_else(|| milter.options().macros.get(stage)) else { continue };
        let (good, bad): (Vec<_>, Vec<_>) = names.iter().partition(|name| is_macro_name(name));
        let too_many = good.get(MAX_MACROS..).unwrap_or_default();
        if let Some(name) = bad.into_iter().chain(too_many.iter().copied()).next() {
            tracing::warn!(milter = milter.name(), "milter cannot have macro {name:?} at {}", stage.stage());
        }
        needs = needs.macros(stage, good.iter().take(MAX_MACROS));
    }
    needs
}

/// More at one stage Sendmail would cut off.
const MAX_MACROS: usize = 50;

fn is_macro_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}
