//! A milter that is consulted, as all connections know it.

use std::sync::Arc;
use std::time::Duration;

use tamis_proto::address::SocketSpec;
use tamis_proto::{Agreement, MtaConfig, Offer, Profile, Timeouts};
use tokio::time::timeout;

use super::breaker::{Attempt, Breaker};
use super::link::Link;
use super::{Place, Remote, RemoteError, RemoteFault, RemoteOptions};
use crate::client;

/// A milter at the other end of a socket. Clones are handles of the same.
///
/// All its connections share one [`Breaker`], so that there should be one of these for each milter, and a
/// [`connection`](Self::connection) for each of the MTA's.
#[derive(Clone, Debug)]
pub struct Milter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: Arc<str>,
    socket: SocketSpec,
    options: RemoteOptions,
    breaker: Arc<Breaker>,
}

/// As good as for ever, and still a point in time.
const LONG: Duration = Duration::from_secs(1 << 31);

impl Milter {
    /// A milter at this socket, with default settings. It is named by its socket in the log.
    pub fn new(socket: SocketSpec) -> Self {
        Self::with_options(socket.to_string(), socket, RemoteOptions::default())
    }

    /// A milter with a name and settings.
    pub fn with_options(name: impl Into<Arc<str>>, socket: SocketSpec, options: RemoteOptions) -> Self {
        let name = name.into();
        let breaker = Arc::new(Breaker::new(name.clone(), options.breaker.clone()));
        Self(Arc::new(Shared { name, socket, options, breaker }))
    }

    /// The filter that consults it, for one connection of an MTA.
    pub fn connection(&self) -> Remote {
        Remote::new(self.clone())
    }

    /// Its name in the log.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Where it listens.
    pub fn socket(&self) -> &SocketSpec {
        &self.0.socket
    }

    /// Whether it is asked at all, and how often it failed.
    pub fn breaker(&self) -> &Breaker {
        &self.0.breaker
    }

    pub(super) fn options(&self) -> &RemoteOptions {
        &self.0.options
    }

    /// Connects to it and negotiates.
    pub(super) async fn ask(&self, offer: Offer) -> Result<(Link, Agreement, Attempt), RemoteError> {
        let Shared { options, breaker, .. } = &*self.0;
        let fail = |fault| self.error(Place::Negotiation, fault);
        let mut attempt =
            breaker.attempt().map_err(|kept| fail(RemoteFault::LeftAlone { failures: kept.failures }))?;
        let asked = timeout(options.negotiation_time, self.open(offer)).await;
        match asked.unwrap_or(Err(RemoteFault::Timeout(options.negotiation_time))) {
            Ok((link, agreement)) => {
                attempt.negotiated();
                Ok((link, agreement, attempt))
            }
            Err(fault) => {
                if fault.is_failure() {
                    attempt.failed(&fault);
                } else {
                    // It is there, and it speaks.
                    attempt.negotiated();
                }
                Err(fail(fault))
            }
        }
    }

    async fn open(&self, offer: Offer) -> Result<(Link, Agreement), RemoteFault> {
        let Shared { name, socket, options, .. } = &*self.0;
        let stream = client::open(socket, options.connect_time).await.map_err(RemoteFault::Unreachable)?;
        let mut timeouts = Timeouts::new();
        timeouts.command = options.command_time.min(LONG);
        timeouts.content = options.content_time.min(LONG);
        // The stage has a limit of its own.
        timeouts.end_of_message = LONG;
        let config = MtaConfig::new(Profile::Sendmail)
            .with_offer(offer)
            .with_limits(options.limits)
            .with_timeouts(timeouts)
            .with_body_limit(u64::MAX)
            .relaying();
        Link::negotiate(name.clone(), stream, config).await
    }

    pub(super) fn error(&self, place: Place, fault: RemoteFault) -> RemoteError {
        RemoteError { milter: self.0.name.clone(), place, fault: Arc::new(fault) }
    }
}
