//! A milter framework: mail filters for Postfix, Sendmail and others that speak their protocol.
//!
//! A filter is a type with a handler for each stage that matters to it; [`serve`] runs one for every connection of an
//! MTA:
//!
//! ```no_run
//! use tamis::message::Sender;
//! use tamis::{Shutdown, Verdict};
//!
//! struct BlockSender;
//!
//! #[tamis::filter]
//! impl BlockSender {
//!     fn mail(&mut self, sender: &Sender) -> Verdict {
//!         match sender.domain() {
//!             Some("example.com") => Verdict::reject("5.7.1", "not allowed here"),
//!             _ => Verdict::Continue,
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listeners = tamis::bind(&["inet:8899@127.0.0.1".parse()?])?;
//! tamis::serve(listeners, |_peer| BlockSender, Shutdown::new()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! - [`mod@filter`]: what a filter is and what it can do.
//! - [`#[tamis::filter]`](macro@filter) makes one of handlers, a method for each stage.
//! - [`server`]: listening, running filters, shutting down.
//! - [`client`]: the other role; talks to any milter as Postfix or Sendmail would.
//! - [`linear`]: a filter as one function over a message.
//! - [`chain`]: several filters on one connection.
//! - [`remote`]: a filter that consults another milter over its socket.
//! - [`message`]: the model of a message that filters look at and change.
//! - [`recorder`]: the last frames of a connection on which something went wrong.
//! - `testing`, with the feature of that name: drives a filter in tests, without an MTA and in virtual time.
//!
//! The protocol itself is in [`proto`].
#![forbid(unsafe_code)]

pub mod chain;
pub mod client;
pub mod filter;
#[cfg(doctest)]
mod guide;
pub mod handler;
pub mod linear;
pub mod message;
mod permission;
pub mod recorder;
pub mod remote;
pub mod server;
mod stream;
#[cfg(feature = "testing")]
pub mod testing;
mod wire;

pub use tamis_proto as proto;

pub use filter::{
    BoxError, BoxFilter, Collect, Context, Credentials, Event, Filter, Look, Now, Peer, PeerAddress, Reply,
};
pub use handler::attribute::filter;
pub use linear::{Linear, Mail};
pub use proto::address::SocketSpec;
pub use proto::{Actions, DataSize, Edit, IfMissing, MacroStage, Needs, Offer, SmtpReply, Stage, Verdict};
pub use server::{Options, Server, Shutdown, bind, run, serve};

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
