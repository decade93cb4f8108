//! What a filter is: one object for each connection, one method that gets every event.

mod boxed;
mod collect;
mod context;
mod copies;
pub(crate) mod edits;
mod transaction;

use std::future::{Future, ready};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tamis_proto::{Needs, Offer, Verdict};

pub(crate) use boxed::{AnyFilter, Handler};
pub use boxed::{BoxFilter, BoxMessage};
pub use collect::Collect;
pub(crate) use collect::{Called, ask_for_version};
pub use context::Context;
pub(crate) use context::{MessageState, MtaHints, Restricted, Surroundings, View};
pub(crate) use copies::Copies;
pub use transaction::NotCollected;
pub(crate) use transaction::{Asked, Transaction};

/// Something that happened, owning its bytes: slices of what was read from the MTA, never copied.
pub type Event = tamis_proto::Event<Bytes>;

/// Any error that a filter can have.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a filter says to an event. An error becomes the verdict of the
/// [failure policy](crate::Options::on_failure) and is logged.
pub type Reply = Result<Verdict, BoxError>;

/// A mail filter, as one connection of an MTA sees it.
///
/// The object is the state of the connection, [`Message`](Self::Message) that of a message. Both live as long
/// as what they are named for; nothing has to be reset.
///
/// Events come strictly one after another. When the MTA goes away while [`on`](Self::on) works, its future is
/// dropped at the next `.await` and [`Event::Abort`] and [`Event::Close`] follow.
///
/// A filter that panicked is not called again, not even for these two: its object is dropped with the connection,
/// and each message until then meets the [failure policy](crate::Options::on_failure).
#[doc(alias = "smfiDesc")]
#[doc(alias = "xxfi_name")]
pub trait Filter: Send + 'static {
    /// State of one message: made at MAIL, dropped when the message ends in whatever way. Outside a message
    /// there is a fresh one that nothing keeps.
    type Message: Default + Send;

    /// What the filter needs: which stages it sees and answers, what it may change.
    fn needs(&self) -> Needs;

    /// Answers the MTA's offer; says [`needs`](Self::needs) unless a filter wants to look at the offer first.
    ///
    /// # Errors
    ///
    /// An error closes the connection without an answer.
    #[doc(alias = "xxfi_negotiate")]
    fn negotiate(&mut self, offer: &Offer) -> impl Future<Output = Result<Needs, BoxError>> + Send {
        let _ = offer;
        ready(Ok(self.needs()))
    }

    /// What is kept of each message besides what handlers are given; nothing by default.
    fn collect(&self) -> Collect {
        Collect::nothing()
    }

    /// Handles an event that other filters are to see too, if that takes neither waiting nor bytes of its own: such a
    /// filter costs a chain no copy.
    ///
    /// What it handles, [`now`](Self::now) has to handle alike: where the filter is the only one, this is not called.
    fn look(&mut self, cx: &mut Context<'_, Self::Message>, event: &Event) -> Look {
        let _ = (cx, event);
        Look::Own
    }

    /// Handles events that need no waiting, at no cost of a future. Hands back the others.
    fn now(&mut self, cx: &mut Context<'_, Self::Message>, event: Event) -> Now {
        let _ = cx;
        Now::Later(event)
    }

    /// Handles an event. What it says to stages that are only watched, to abort and to close must be
    /// [`Verdict::Continue`].
    fn on(&mut self, cx: &mut Context<'_, Self::Message>, event: Event)
    -> impl Future<Output = Reply> + Send;

    /// Handles an event that [`look`](Self::look) left to it, as [`on`](Self::on) would.
    fn on_shown(
        &mut self,
        cx: &mut Context<'_, Self::Message>,
        event: &Event,
    ) -> impl Future<Output = Reply> + Send {
        self.on(cx, event.clone())
    }
}

/// What [`Filter::look`] did with an event.
#[derive(Debug)]
pub enum Look {
    /// It is handled.
    Done(Reply),
    /// [`Filter::on_shown`] shall handle it.
    Later,
    /// The filter wants one of its own: [`Filter::now`] shall handle it, as if it had not been looked at.
    Own,
}

/// What [`Filter::now`] did with an event.
#[derive(Debug)]
pub enum Now {
    /// It is handled.
    Done(Reply),
    /// [`Filter::on`] shall handle it.
    Later(Event),
}

/// The MTA's end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Number of the connection in this process, from 1; it is in every log line of the connection.
    pub id: u64,
    /// Where the MTA connects from.
    pub address: PeerAddress,
    /// Who it is, on a unix socket, when it connected.
    pub credentials: Option<Credentials>,
}

/// The process at the other end of a unix socket, as the system knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    /// Its number, where the system says it.
    pub pid: Option<i32>,
}

/// Where an MTA connects from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerAddress {
    /// Over TCP.
    Inet(SocketAddr),
    /// Over the unix socket of this path. Shared, as every connection to the socket has it.
    Unix(Arc<Path>),
}

impl std::fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
