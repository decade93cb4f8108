//! The MTA's role: talks to any milter as Postfix or Sendmail would.
//!
//! ```no_run
//! use tamis::client::{Client, Mail};
//! use tamis::proto::{MtaConfig, Profile};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let filter = "inet:8899@127.0.0.1".parse()?;
//! let mut client = Client::connect(&filter, MtaConfig::new(Profile::Postfix)).await?;
//! let mail = Mail::new("from@example.com", ["to@example.com"], "Subject: hello\r\n\r\nHi!\r\n");
//! let report = client.send(&mail).await?;
//! println!("{} at {}", report.verdict, report.stage);
//! client.quit().await?;
//! # Ok(())
//! # }
//! ```

mod deliver;
mod macros;
mod mail;
mod report;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tamis_proto::address::{Host, SocketSpec};
use tamis_proto::command::Macros;
use tamis_proto::{
    Agreement, Command, Error, Misuse, MtaConfig, MtaEvent, MtaSession, Stage, Stranger, Turn, Verdict, trace,
};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};

use crate::permission::{Wish, missing};
use crate::server::{ResolveError, resolve};
use crate::stream::Stream;
use crate::wire;

#[cfg(feature = "testing")]
pub(crate) use deliver::{Delivery, Goes};
pub use macros::MacroSource;
#[cfg(feature = "testing")]
pub(crate) use macros::{QUEUE_ID, braced};
pub use mail::{Macro, Mail};
pub use report::{Answer, Outcome, Report, StepReport};

/// A connection to a filter, negotiated.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    session: MtaSession,
    config: MtaConfig,
    agreement: Agreement,
    buf: BytesMut,
    /// Connect and helo were said.
    introduced: bool,
    /// The verdict that refuses everything after it: at connect or helo, or one that closes the SMTP connection.
    refused: Option<(Stage, Verdict)>,
}

/// Why there is no talking to a filter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// There is no such address.
    #[error("cannot connect to {filter}: {source}")]
    Resolve {
        /// The filter's socket.
        filter: String,
        /// Why not.
        source: ResolveError,
    },
    /// Nobody listens there, or may be reached.
    #[error("cannot connect to {filter}: {source}{hint}")]
    Connect {
        /// The filter's socket.
        filter: String,
        /// What the system says.
        source: io::Error,
        /// What to change, with `; ` before it, or nothing.
        hint: String,
    },
    /// The filter broke the protocol or did not answer in time.
    #[error("{0}")]
    Protocol(#[from] Error),
    /// What listens there is no filter.
    #[error("{stranger}; it began with {said}")]
    Stranger {
        /// Who it looks like.
        stranger: Stranger,
        /// The first line of what it said, escaped.
        said: String,
    },
    /// The connection broke.
    #[error("connection to the filter failed: {0}")]
    Io(#[from] io::Error),
    /// The step cannot be sent.
    #[error("{0}")]
    Misuse(#[from] Misuse),
}

/// How long it may take to connect, as for Postfix.
const CONNECT_TIME: Duration = Duration::from_secs(30);
/// How long a filter may not read, as for Sendmail.
pub(crate) const WRITE_TIME: Duration = Duration::from_secs(10);

impl Client {
    /// Connects to a filter and negotiates.
    ///
    /// # Errors
    ///
    /// When nobody listens there, or the filter's answer to the offer is not acceptable.
    pub async fn connect(filter: &SocketSpec, config: MtaConfig) -> Result<Self, ClientError> {
        let stream = open(filter, CONNECT_TIME).await?;
        Self::negotiate(stream, config).await
    }

    /// Negotiates over a stream that is connected to a filter.
    pub(crate) async fn negotiate(stream: Stream, config: MtaConfig) -> Result<Self, ClientError> {
        let mut session = MtaSession::new(config);
        session.negotiate(now())?;
        let agreement = Agreement {
            version: config.offer.version,
            actions: config.offer.actions,
            steps: config.offer.steps,
            data_size: session.data_size(),
            macros: tamis_proto::MacroLists::default(),
        };
        let mut client = Self {
            stream,
            session,
            config,
            agreement,
            buf: BytesMut::new(),
            introduced: false,
            refused: None,
        };
        client.flush().await?;
        loop {
            let event = client.event(|event| match event {
                MtaEvent::Negotiated { agreement, unknown_stages } => Some((agreement, unknown_stages)),
                _ => None,
            });
            if let Some((agreement, unknown_stages)) = event.await? {
                if unknown_stages > 0 {
                    tracing::warn!("the filter wants macros at {unknown_stages} stages that do not exist");
                }
                client.agreement = agreement;
                return Ok(client);
            }
        }
    }

    /// What was agreed on.
    pub fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    /// Whether the filter wants nothing more of this SMTP connection.
    pub fn sits_out(&self) -> bool {
        self.session.sits_out()
    }

    /// Goes one step on in an SMTP session and waits for what the filter says to it.
    ///
    /// # Errors
    ///
    /// [`ClientError::Misuse`] when the step does not follow from the last one; then nothing happened. Any
    /// other error is the end of the connection.
    pub async fn step<B: AsRef<[u8]>>(
        &mut self,
        command: &Command<B>,
        macros: Option<&Macros<Vec<u8>>>,
    ) -> Result<Answer, ClientError> {
        // Whatever the filter said unasked must not be taken for an answer to this step.
        self.check_quiet().await?;
        let turn = self.session.send(command, macros, now())?;
        let mut answer =
            Answer { outcome: Outcome::NoReply, edits: Vec::new(), refused: Vec::new(), progress: 0 };
        self.flush().await?;
        match turn {
            Turn::Mta => return Ok(answer),
            Turn::Unwanted => answer.outcome = Outcome::NotSent,
            Turn::TooLong => answer.outcome = Outcome::TooLong,
            Turn::Filter => {
                let verdict = loop {
                    let said = self.event(|event| match event {
                        MtaEvent::Edit(edit) => {
                            answer.edits.push(edit.map(Bytes::copy_from_slice));
                            None
                        }
                        MtaEvent::RefusedEdit(edit, why) => {
                            answer.refused.push((edit.map(Bytes::copy_from_slice), why));
                            None
                        }
                        MtaEvent::Progress => {
                            answer.progress += 1;
                            None
                        }
                        MtaEvent::Verdict { verdict, .. } => Some(verdict),
                        MtaEvent::Negotiated { .. } => None,
                    });
                    if let Some(verdict) = said.await? {
                        break verdict;
                    }
                };
                answer.outcome = Outcome::Verdict(verdict);
            }
        }
        Ok(answer)
    }

    /// Ends the session.
    ///
    /// # Errors
    ///
    /// When the connection is broken already.
    pub async fn quit(mut self) -> Result<(), ClientError> {
        self.check_quiet().await?;
        self.session.send(&Command::<Bytes>::Quit, None, now())?;
        self.flush().await
    }

    /// Waits for the next thing the filter says, and hands it out.
    async fn event<T>(&mut self, mut take: impl FnMut(MtaEvent<'_>) -> T) -> Result<T, ClientError> {
        loop {
            let (used, event) =
                self.session.next(&self.buf, now()).map_err(|error| explain(error, &self.buf))?;
            let taken = event.map(&mut take);
            if wire::enabled() {
                wire::from_filter(None, &self.buf[..used]);
            }
            let _ = self.buf.split_to(used);
            if let Some(taken) = taken {
                return Ok(taken);
            }
            self.buf.reserve(16 * 1024);
            let deadline = self.session.deadline().map_or_else(Instant::now, Instant::from_std);
            match timeout_at(deadline, self.stream.read(&mut self.buf)).await {
                Ok(Ok(0)) => self.session.eof(&self.buf)?,
                Ok(read) => drop(read?),
                Err(_) => self.session.check_time(now())?,
            }
        }
    }

    /// Makes sure that the filter said nothing while it was not asked.
    async fn check_quiet(&mut self) -> Result<(), ClientError> {
        // What came behind its last answer was not asked for either.
        if self.buf.is_empty() && self.stream.has_input()? {
            self.buf.reserve(4096);
            if self.stream.read(&mut self.buf).await? == 0 {
                self.session.eof(&[])?;
            }
        }
        self.session.next(&self.buf, now())?;
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), ClientError> {
        if wire::enabled() {
            wire::from_mta(None, &wire::contents(self.session.output()));
        }
        self.stream.write(self.session.output(), WRITE_TIME).await?;
        Ok(())
    }
}

/// Connects to a filter.
pub(crate) async fn open(filter: &SocketSpec, time: Duration) -> Result<Stream, ClientError> {
    let fail = |source| {
        let hint = match filter {
            SocketSpec::Unix(path) => missing(path, Wish::Connect, &source),
            _ => String::new(),
        };
        ClientError::Connect { filter: filter.to_string(), source, hint }
    };
    let connect = async {
        let resolved = look_up(filter).await;
        let address =
            resolved.map_err(|source| ClientError::Resolve { filter: filter.to_string(), source })?;
        let connected = async {
            Ok(match (filter, address) {
                (SocketSpec::Unix(path), _) => Stream::Unix(UnixStream::connect(path).await?),
                (_, Some(address)) => {
                    let stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    Stream::Tcp(stream)
                }
                (_, None) => unreachable!("only unix sockets have no address"),
            })
        };
        connected.await.map_err(fail)
    };
    timeout(time, connect).await.unwrap_or_else(|_| Err(fail(io::ErrorKind::TimedOut.into())))
}

/// Finds the address; names are looked up on a thread for what blocks.
async fn look_up(filter: &SocketSpec) -> Result<Option<SocketAddr>, ResolveError> {
    let (SocketSpec::Inet { host: Host::Name(name), .. } | SocketSpec::Inet6 { host: Host::Name(name), .. }) =
        filter
    else {
        return resolve(filter);
    };
    let (name, filter) = (name.clone(), filter.clone());
    let stopped =
        |stopped| ResolveError::Host { host: name, family: "IP", source: io::Error::other(stopped) };
    spawn_blocking(move || resolve(&filter)).await.map_err(stopped).flatten()
}

/// Says who it is where the first bytes are not a filter's.
pub(crate) fn explain(error: Error, bytes: &[u8]) -> ClientError {
    match Stranger::guess(&error, bytes) {
        Some(stranger) => {
            let line = bytes[..].split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
            ClientError::Stranger { stranger, said: trace::Text(line).to_string() }
        }
        None => ClientError::Protocol(error),
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
