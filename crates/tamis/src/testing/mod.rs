//! Tests of filters without an MTA: an SMTP session is played to a filter as Postfix or Sendmail would, and what the
//! filter says and does to the mail is reported. Needs the feature `testing`, which belongs in `[dev-dependencies]`:
//!
//! ```toml
//! [dev-dependencies]
//! tamis = { version = "0.1", features = ["testing"] }
//! ```
//!
//! ```
//! use tamis::testing::Mta;
//! # use tamis::{Context, Event, Filter, Needs, Reply, Stage, Verdict};
//! # #[derive(Default)]
//! # struct BlockSender;
//! # impl Filter for BlockSender {
//! #     type Message = ();
//! #     fn needs(&self) -> Needs { Needs::new().answer([Stage::Mail]) }
//! #     async fn on(&mut self, _: &mut Context<'_, ()>, event: Event) -> Reply {
//! #         let Event::Mail(sender) = event else { return Ok(Verdict::Continue) };
//! #         let blocked = sender.address.ends_with(b"@example.com>");
//! #         Ok(if blocked { Verdict::reject("5.7.1", "not allowed here") } else { Verdict::Continue })
//! #     }
//! # }
//!
//! # fn main() -> Result<(), tamis::testing::RunError> {
//! let report = Mta::postfix()
//!     .from("<alice@example.com>")
//!     .to("<bob@example.org>")
//!     .message("Subject: hello\n\nHi Bob!\n")
//!     .run_blocking(|_peer| BlockSender)?;
//!
//! assert_eq!(report.verdict_at(Stage::Mail), Some(&Verdict::reject("5.7.1", "not allowed here")));
//! assert_eq!(report.reply(), "550 5.7.1 not allowed here");
//! assert!(report.message().is_none(), "nothing is delivered");
//! # Ok(()) }
//! ```
//!
//! Nothing of this is a mock: the [server](crate::server) runs the filter, the [client](crate::client) plays the MTA,
//! and they speak the protocol over a connection in memory. So the filter gets what an MTA would send it, in the MTA's
//! order, and the MTA's rules hold:
//!
//! - A stage that the filter did not ask for is not shown to it; after a refusal the session goes on as an MTA's does.
//! - Modifications reach the wire at end of message only. What they do to the message is what [`Profile::Postfix`] or
//!   [`Profile::Sendmail`] does with them. One without effect, such as the deletion of a header field that is not
//!   there, is mostly a mistake, and fails the run unless it is [`lenient`](Mta::lenient).
//! - Macros are sent where the filter asks for them, or where the MTA sends them by default: giving one a value with
//!   [`Mta::macro_value`] is not enough. [`Report::macros_not_asked_for`] has those that the filter looked for and
//!   could never have found.
//! - Errors, panics and time limits of handlers lead to the verdict of the [policy](crate::Options::on_failure);
//!   [`Report::failures`] has their texts.
//!
//! # Time
//!
//! In [`Mta::run_blocking`] time is virtual: when everybody waits, the clock jumps to the next point in time that
//! somebody waits for. A handler that sleeps for a minute is done at once, and time limits are met to the
//! millisecond:
//!
//! ```
//! # use std::time::Duration;
//! use tamis::testing::Mta;
//! # use tamis::{Context, Event, Filter, Needs, Reply, Stage, Verdict};
//! # struct Slow;
//! # impl Filter for Slow {
//! #     type Message = ();
//! #     fn needs(&self) -> Needs { Needs::new().answer([Stage::EndOfMessage]) }
//! #     async fn on(&mut self, _: &mut Context<'_, ()>, event: Event) -> Reply {
//! #         if event.stage().is_some() { tokio::time::sleep(Duration::from_secs(20)).await; }
//! #         Ok(Verdict::Continue)
//! #     }
//! # }
//! # fn main() -> Result<(), tamis::testing::RunError> {
//! // At end of message this filter looks something up for 20 s.
//! let report = Mta::sendmail().message("Subject: hello\n\n").run_blocking(|_| Slow)?;
//! assert_eq!(report.elapsed(), Duration::from_secs(20));
//! assert_eq!(report.progress(), 4, "every 4 s the MTA is asked for patience");
//! # Ok(()) }
//! ```
//!
//! [`Mta::run`] goes by the clock of the runtime it is awaited in. There, `#[tokio::test(start_paused = true)]` makes
//! it virtual. What goes on outside of tokio is not waited for by a virtual clock: a filter that talks to a database
//! over a socket needs the real one. Work in `spawn_blocking`, files included, holds the clock.
//!
//! # A whole session
//!
//! The calls that make up a session are the client's commands, in their order:
//!
//! ```
//! use tamis::testing::Mta;
//! # use tamis::{Context, Event, Filter, Needs, Reply, Stage, Verdict};
//! # struct MyFilter;
//! # impl Filter for MyFilter {
//! #     type Message = ();
//! #     fn needs(&self) -> Needs { Needs::everything() }
//! #     async fn on(&mut self, _: &mut Context<'_, ()>, _: Event) -> Reply { Ok(Verdict::Continue) }
//! # }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! for mta in Mta::both() {
//!     let report = mta
//!         .client("mail.example.net", "192.0.2.1:4321".parse()?)
//!         .helo("mail.example.net")
//!         .starttls()
//!         .from("<alice@example.net> SIZE=1000")
//!         .to("<bob@example.org>")
//!         .reset()
//!         .from("<>")
//!         .to("<bob@example.org>")
//!         .to("<carol@example.org> NOTIFY=NEVER")
//!         .message("Subject: a bounce\n\n...\n")
//!         .run_blocking(|_peer| MyFilter)?;
//!     assert_eq!(report.messages().len(), 2);
//! }
//! # Ok(()) }
//! ```
//!
//! # Snapshots
//!
//! A [`Report`] displays as a transcript that is the same in each run, as snapshot tests like it; errors of a run
//! end with it too.

mod error;
mod mta;
mod reply;
mod report;
mod script;
mod session;
mod transcript;

pub use crate::client::{Outcome, StepReport};
pub use error::RunError;
pub use mta::Mta;
pub use report::{Delivered, Failure, MacroNotAskedFor, MessageReport, Report};
pub use tamis_proto::edit::model::{Applied, Ignored, Path};
pub use tamis_proto::{MtaConfig, Profile};
