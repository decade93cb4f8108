//! The flight recorder: when something goes wrong on a connection, the last frames before that.
//!
//! It is off unless [`Options::flight_recorder`](crate::Options::flight_recorder) says how many bytes of each connection
//! to keep. A filter that fails, panics or takes too long, and a connection that ends before the MTA said so, then
//! make a [`FlightRecord`]. It is logged as one event at target `tamis::recorder`, and given to the function of
//! [`Server::on_flight_record`](crate::Server::on_flight_record):
//!
//! ```no_run
//! # struct MyFilter;
//! # #[tamis::filter]
//! # impl MyFilter { fn data(&mut self) {} }
//! let server = tamis::Server::new(|_peer: &tamis::Peer| MyFilter)
//!     .flight_recorder(16 * 1024)
//!     .on_flight_record(|record| eprintln!("{record}"));
//! ```
//!
//! Mail is private: of a body [a few bytes](crate::Options::flight_recorder_body) are kept at most, of other frames
//! 512. Of a command that the MTA does not know it is the length alone, as a client whose AUTH was refused may send its
//! password so; macros have names of users, and no passwords. Every frame is in one record at most, so that a filter
//! that fails all the time does not fill the log with the same.

mod ring;
mod scan;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tamis_proto::command::Kind;
use tamis_proto::{Frame, Output, Role, frame, trace};
use tokio::time::Instant;

use crate::filter::{Peer, PeerAddress};
use crate::server::Options;
use ring::{Entry, Ring};

/// What went wrong on a connection, and the last frames before that.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FlightRecord {
    /// Number of the connection, as in the log.
    pub connection: u64,
    /// The MTA's end of it.
    pub peer: PeerAddress,
    /// What kind of thing it was.
    pub cause: Cause,
    /// Where it happened: a stage, `negotiation`, `abort`, `close`, or `connection`.
    pub place: &'static str,
    /// What the log says about it.
    pub what: String,
    /// How long the connection had been there.
    pub elapsed: Duration,
    /// Frames before these that were not kept, since the last record.
    pub lost: u64,
    /// The last frames, from the oldest on.
    pub frames: Vec<RecordedFrame>,
}

/// Why there is a [`FlightRecord`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// A filter failed, or said what it may not.
    Error,
    /// A filter or the MTA took too long.
    Timeout,
    /// A filter panicked.
    Panic,
    /// The connection ended before the MTA said so.
    Connection,
}

/// A frame as far as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedFrame {
    /// When, from the begin of the connection on.
    pub at: Duration,
    /// Who sent it.
    pub from: Role,
    /// It is no whole frame but the start of something that could be none.
    pub is_broken: bool,
    /// Its letter.
    pub code: u8,
    /// Bytes of its payload.
    pub length: usize,
    /// The first of them.
    pub kept: Vec<u8>,
}

/// Told about each record.
#[derive(Clone)]
pub(crate) struct Observer(Arc<dyn Fn(&FlightRecord) + Send + Sync>);

/// Rung by a filter that stands for others, where one of those failed and the step goes on.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Mutex<Option<(Cause, String)>>);

/// Keeps the last frames of one connection.
#[derive(Debug)]
pub(crate) struct Recorder {
    ring: Ring,
    body: usize,
    began: Instant,
    alarm: Arc<Alarm>,
}

/// Most bytes of a frame that is no body: more than is shown of any text.
const KEPT: usize = 512;

impl Recorder {
    /// One for a connection, if the options want it.
    pub(crate) fn wanted(options: &Options) -> Option<Box<Self>> {
        let Options { flight_recorder: limit, flight_recorder_body: body, .. } = *options;
        (limit > 0).then(|| Box::new(Self::new(limit, body)))
    }

    /// One that keeps so many bytes, and so many of each piece of a body.
    fn new(limit: usize, body: usize) -> Self {
        Self { ring: Ring::new(limit), body: body.min(KEPT), began: Instant::now(), alarm: Arc::default() }
    }

    /// What filters of a chain ring.
    pub(crate) fn alarm(&self) -> &Arc<Alarm> {
        &self.alarm
    }

    /// Keeps whole frames.
    pub(crate) fn frames(&mut self, from: Role, bytes: &[u8]) {
        self.record(from, [bytes]);
    }

    /// Keeps what is about to be written.
    pub(crate) fn output(&mut self, output: &Output) {
        self.record(Role::Filter, output.chunks());
    }

    /// Keeps what came last, which may end in what is no frame, or none yet.
    pub(crate) fn rest(&mut self, from: Role, bytes: &[u8], payload_limit: usize) {
        let (frames, broken) = bytes.split_at(frame::whole(bytes, payload_limit));
        self.frames(from, frames);
        if broken.is_empty() {
            return;
        }
        let at = self.began.elapsed();
        let length = u32::try_from(broken.len()).unwrap_or(u32::MAX);
        // It may be of a body.
        let more = if broken.get(4).is_some_and(|code| is_secret(from, *code)) { 0 } else { self.body };
        let kept = &broken[..broken.len().min(5 + more)];
        self.ring.push(Entry { at, from, is_broken: true, code: 0, length, kept });
    }

    /// Makes a record of what it has, and begins anew.
    pub(crate) fn dump(
        &mut self,
        peer: &Peer,
        cause: Cause,
        place: &'static str,
        what: &dyn fmt::Display,
    ) -> FlightRecord {
        let (frames, lost) = self.ring.take();
        let Peer { id: connection, address: peer, .. } = peer.clone();
        let (what, elapsed) = (what.to_string(), self.began.elapsed());
        FlightRecord { connection, peer, cause, place, what, elapsed, lost, frames }
    }

    fn record<'b>(&mut self, from: Role, chunks: impl IntoIterator<Item = &'b [u8]>) {
        let Self { ring, body, began, .. } = self;
        let at = began.elapsed();
        let limit = |code| {
            if is_secret(from, code) {
                0
            } else if is_body(from, code) {
                *body
            } else {
                KEPT
            }
        };
        scan::frames::<KEPT>(chunks, limit, |code, length, kept| {
            ring.push(Entry { at, from, is_broken: false, code, length, kept });
        });
    }
}

/// Whether nobody may see what a frame says: a client whose AUTH was refused may send its password all the same, which is
/// a command that the MTA does not know.
fn is_secret(from: Role, code: u8) -> bool {
    from == Role::Mta && code == Kind::Unknown.code()
}

/// Whether a frame has a piece of a body, or may have.
fn is_body(from: Role, code: u8) -> bool {
    const REPLACE_BODY: u8 = b'b';
    match from {
        Role::Mta => code == Kind::Body.code() || code == Kind::EndOfMessage.code(),
        Role::Filter => code == REPLACE_BODY,
    }
}

impl FlightRecord {
    /// Logs it as one event.
    pub(crate) fn log(&self) {
        let Self { connection, peer, cause, place, what, elapsed, lost, frames } = self;
        let (elapsed, count, frames) = (elapsed.as_secs_f64(), frames.len(), List(frames));
        tracing::error!(
            target: "tamis::recorder",
            connection, %peer, %cause, place, elapsed, lost, count, ?frames,
            "flight record: {what}"
        );
    }
}

/// Frames in one line, as a list of JSON: what is shown of them has no control characters.
struct List<'a>(&'a [RecordedFrame]);

impl fmt::Debug for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        f.write_str("[")?;
        for frame in self.0 {
            let text = frame.to_string().replace('\\', r"\\").replace('"', r#"\""#);
            write!(f, "{separator}\"{text}\"")?;
            separator = ", ";
        }
        f.write_str("]")
    }
}

impl Alarm {
    /// The first to ring is heard.
    pub(crate) fn ring(&self, cause: Cause, what: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((cause, what));
    }

    pub(crate) fn heard(&self) -> Option<(Cause, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Observer {
    pub(crate) fn new(observe: impl Fn(&FlightRecord) + Send + Sync + 'static) -> Self {
        Self(Arc::new(observe))
    }

    pub(crate) fn tell(&self, record: &FlightRecord) {
        (self.0)(record);
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Panic => "panic",
            Self::Connection => "connection",
        })
    }
}

/// A line for what happened, and one for each frame.
impl fmt::Display for FlightRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connection, peer, cause, place, what, lost, frames, .. } = self;
        write!(f, "connection {connection} of {peer}: {cause} at {place}: {what}")?;
        if *lost > 0 {
            write!(f, "\n… {lost} frames before")?;
        }
        frames.iter().try_for_each(|frame| write!(f, "\n{frame}"))
    }
}

/// When, `>` from the MTA or `<` from the filter, and what it says.
impl fmt::Display for RecordedFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, from, is_broken, code, length, kept } = self;
        let sign = if *from == Role::Mta { '>' } else { '<' };
        write!(f, "{:.6} {sign} ", at.as_secs_f64())?;
        let (is_cut, frame) = (kept.len() < *length, Frame { code: *code, payload: kept });
        match from {
            Role::Mta if !is_cut && !is_broken && !is_body(*from, *code) => {
                return trace::FromMta(frame).fmt(f);
            }
            Role::Filter if !is_cut && !is_broken && !is_body(*from, *code) => {
                return trace::FromFilter(frame).fmt(f);
            }
            _ if *is_broken => f.write_str("no frame")?,
            _ => match trace::name(*from, *code) {
                Some(name) => f.write_str(name)?,
                None => write!(f, "{:?}", char::from(*code))?,
            },
        }
        if !kept.is_empty() {
            write!(f, " {}", trace::Text(kept))?;
        }
        if is_cut { write!(f, "… ({length} bytes)") } else { Ok(()) }
    }
}
