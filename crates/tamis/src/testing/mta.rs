//! The MTA and the SMTP session that a filter is tested with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use tamis_proto::{MtaConfig, Profile, Stage, Timeouts};
use tokio::runtime::{Builder, Handle};

use super::script::{Act, Content, Script, path};
use super::{Report, RunError, session};
use crate::filter::{Filter, Peer, PeerAddress};
use crate::server::Options;

/// An MTA, and an SMTP session that a client has with it.
///
/// Calls that are commands of the client come in its order. What is left out is made up: HELO, a sender and a recipient.
/// The session ends with QUIT, which aborts a message that has a sender and no text.
#[derive(Clone, Debug)]
#[must_use = "nothing happens until it is run"]
pub struct Mta {
    pub(super) config: MtaConfig,
    pub(super) options: Options,
    pub(super) peer: PeerAddress,
    pub(super) client_name: Option<Bytes>,
    pub(super) client: Option<SocketAddr>,
    pub(super) says_helo: bool,
    pub(super) brackets: bool,
    pub(super) script: Script,
    pub(super) configured: Vec<(Stage, String)>,
    pub(super) vanishes: Option<Duration>,
    pub(super) strict: bool,
    helo_name: Bytes,
}

/// What the client calls itself.
const HELO: &[u8] = b"client.example";

impl Mta {
    /// Postfix, which waits 30 s for each answer, 5 min from the header on.
    pub fn postfix() -> Self {
        Self::new(MtaConfig::new(Profile::Postfix))
    }

    /// Sendmail, which waits 10 s for each answer, and 5 min for the end of message if it is told of progress.
    pub fn sendmail() -> Self {
        let mut timeouts = Timeouts::all(Duration::from_secs(10));
        timeouts.end_of_message = Duration::from_mins(5);
        Self::new(MtaConfig::new(Profile::Sendmail).with_timeouts(timeouts))
    }

    /// One of each, for tests that say the same of both.
    pub fn both() -> [Self; 2] {
        [Self::postfix(), Self::sendmail()]
    }

    /// An MTA that offers less, waits longer or the like.
    ///
    /// ```
    /// use tamis::testing::{Mta, MtaConfig, Profile};
    /// use tamis::{Actions, Offer};
    ///
    /// let offer = Offer { actions: Actions::ADD_HEADERS, ..Offer::CURRENT };
    /// let mta = Mta::new(MtaConfig::new(Profile::Postfix).with_offer(offer));
    /// ```
    pub fn new(config: MtaConfig) -> Self {
        Self {
            config,
            options: Options::default(),
            peer: PeerAddress::Inet(SocketAddr::from(([127, 0, 0, 1], 49_151))),
            client_name: None,
            client: Some(SocketAddr::from(([192, 0, 2, 1], 49_152))),
            says_helo: true,
            brackets: true,
            script: Script::default(),
            configured: Vec::new(),
            vanishes: None,
            strict: true,
            helo_name: Bytes::from_static(HELO),
        }
    }

    /// Changes the settings of the server that runs the filter: what a failure means, how long handlers may take.
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Changes where the MTA itself connects from, which the filter is told when it is made.
    pub fn peer(mut self, address: PeerAddress) -> Self {
        self.peer = address;
        self
    }

    /// Changes the client: its verified name, its address and port. By default it is at 192.0.2.1, without a name.
    pub fn client(mut self, name: impl AsRef<[u8]>, address: SocketAddr) -> Self {
        self.client_name = Some(Bytes::copy_from_slice(name.as_ref()));
        self.client = Some(address);
        self
    }

    /// Changes the client's address and port; it has no name.
    pub fn client_address(mut self, address: SocketAddr) -> Self {
        (self.client_name, self.client) = (None, Some(address));
        self
    }

    /// Makes the client one whose name and address the MTA does not know.
    pub fn unknown_client(mut self) -> Self {
        (self.client_name, self.client) = (Some(Bytes::from_static(b"unknown")), None);
        self
    }

    /// Has the client leave out the angle brackets around paths, which is wrong and tolerated: filters see paths as
    /// they are written. By default they are there, however [`from`](Self::from) and [`to`](Self::to) are called.
    pub fn without_brackets(mut self) -> Self {
        self.brackets = false;
        self
    }

    /// Has the client say HELO, again if it was said before, which ends an open message. By default it says
    /// `client.example` when it begins.
    pub fn helo(mut self, name: impl AsRef<[u8]>) -> Self {
        self.helo_name = Bytes::copy_from_slice(name.as_ref());
        self.script.helo(self.helo_name.clone());
        self
    }

    /// Has the client say no HELO before its first message.
    pub fn no_helo(mut self) -> Self {
        self.says_helo = false;
        self
    }

    /// Has the client begin with TLS, which it must say HELO again after: macros then tell of a session with TLS 1.3.
    pub fn starttls(mut self) -> Self {
        if self.says_helo && !self.script.has_begun() {
            self.script.helo(self.helo_name.clone());
        }
        for (name, value) in
            [("tls_version", "TLSv1.3"), ("cipher", "TLS_AES_256_GCM_SHA384"), ("cipher_bits", "256")]
        {
            self = self.macro_value(name, value);
        }
        self.script.helo(self.helo_name.clone());
        self
    }

    /// Has the client say MAIL: `<a@example.net> SIZE=1000`, angle brackets may be missing where there are no
    /// parameters. A message that is open is given up.
    pub fn from(mut self, sender: impl AsRef<[u8]>) -> Self {
        self.script.from(path(sender.as_ref()));
        self
    }

    /// Has the client say RCPT, written as for [`from`](Self::from).
    pub fn to(mut self, recipient: impl AsRef<[u8]>) -> Self {
        self.script.to(path(recipient.as_ref()));
        self
    }

    /// Has the client say DATA and send a message, which ends the message. Lines may end in LF or CRLF.
    pub fn message(mut self, message: impl AsRef<[u8]>) -> Self {
        self.script.content(Content::Bytes(Bytes::copy_from_slice(message.as_ref())));
        self
    }

    /// Has the client send the message of a file, which is read when the session runs.
    pub fn message_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.script.content(Content::File(file.into()));
        self
    }

    /// Has the client say DATA and then give up. [`message`](Self::message) says DATA by itself.
    pub fn data(mut self) -> Self {
        self.script.data();
        self
    }

    /// Has the client say RSET: gives up an open message.
    pub fn reset(mut self) -> Self {
        self.script.reset();
        self
    }

    /// Has the client say something that the MTA does not know: before a message, or between its recipients.
    pub fn unknown(mut self, line: impl AsRef<[u8]>) -> Self {
        self.script.act(Act::Unknown(Bytes::copy_from_slice(line.as_ref())));
        self
    }

    /// Gives a macro a value from here on, instead of what it would be by itself. It is sent at the stages at which
    /// the filter asks for it, or the MTA sends it unasked.
    pub fn macro_value(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.script.act(Act::Macro(name.into(), Bytes::copy_from_slice(value.as_ref())));
        self
    }

    /// Has the MTA send a macro unasked that it does not send by default, as its administrator can tell it to. A
    /// filter that has a list of its own for the stage gets only what is in that.
    pub fn sends_macro(mut self, stage: Stage, name: impl Into<String>) -> Self {
        self.configured.push((stage, name.into()));
        self
    }

    /// Lets the MTA die when this much time has passed, whatever the filter is at. Its handler is then cancelled.
    pub fn vanishes_after(mut self, time: Duration) -> Self {
        self.vanishes = Some(time);
        self
    }

    /// Makes reports also of runs in which modifications did nothing or the connection was lost. These are errors
    /// otherwise.
    pub fn lenient(mut self) -> Self {
        self.strict = false;
        self
    }

    /// Runs the session against the filter that `make` makes, in virtual time.
    ///
    /// # Errors
    ///
    /// [`RunError`] says when. That mail is refused or a handler fails is no error.
    pub fn run_blocking<F: Filter>(&self, make: impl FnOnce(&Peer) -> F) -> Result<Report, RunError> {
        if Handle::try_current().is_ok() {
            return Err(RunError::Nested);
        }
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.map_err(RunError::Runtime)?.block_on(self.run(make))
    }

    /// Runs the session against the filter that `make` makes, in the time of the runtime.
    ///
    /// # Errors
    ///
    /// As [`run_blocking`](Self::run_blocking).
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the filter and whatever it does go with it.
    pub async fn run<F: Filter>(&self, make: impl FnOnce(&Peer) -> F) -> Result<Report, RunError> {
        let report = session::run(self, make).await?;
        if self.strict { report.checked() } else { Ok(report) }
    }

    /// The session as it is played.
    pub(super) fn whole_script(&self) -> Script {
        let mut script = self.script.clone();
        script.greet(self.says_helo.then(|| Bytes::from_static(HELO)));
        script
    }
}
