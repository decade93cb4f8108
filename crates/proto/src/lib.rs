//! The milter protocol, both roles, as pure state machines.
//!
//! For whoever builds a filter's server, an MTA's client, a proxy, a binding to another language or a test on
//! the milter protocol of Sendmail and Postfix, with any I/O: nothing in here reads a socket or a clock.
//! Whoever only wants to write a filter uses the crate `tamis`.
//!
//! - [`FilterSession`] is the filter's side: bytes in, [`Event`]s out; [`Verdict`]s and [`Edit`]s in, bytes out.
//! - [`MtaSession`] is its mirror.
//! - [`Frame`], [`Command`] and [`Reply`] are the codec under both.
//! - [`edit::model`] says what an MTA makes of a message and a list of modifications.
//!
//! No bytes from a peer make any of this panic, and no memory is set aside for a length that was only
//! announced. `docs/protocol.md` in the repository describes the protocol; comments cite its sections ("spec
//! §2.14").
#![forbid(unsafe_code)]

pub mod address;
mod codec;
pub mod command;
pub mod edit;
mod error;
mod event;
mod filter;
pub mod frame;
mod limits;
mod macros;
mod mta;
mod negotiate;
mod output;
pub mod reply;
mod rules;
mod stage;
mod stranger;
#[doc(alias = "smfi_setdbg")]
pub mod trace;

pub use command::Command;
pub use edit::Edit;
pub use error::{Error, Fault, Misuse, Role};
pub use event::Event;
pub use filter::{FilterSession, Next, Sent, Warning};
pub use frame::Frame;
pub use limits::Limits;
pub use macros::{MacroTable, MissedMacros};
pub use mta::{MtaConfig, MtaEvent, MtaSession, Profile, Script, Timeouts, Turn};
pub use negotiate::{
    Actions, Agreement, Answer, BitAnswer, DataSize, IfMissing, MIN_VERSION, MacroLists, MacroStage, Needs,
    Offer, Refusal, See, Steps, VERSION,
};
pub use output::Output;
pub use reply::{Reply, SmtpReply, Verdict};
pub use rules::Rules;
pub use stage::Stage;
pub use stranger::Stranger;
