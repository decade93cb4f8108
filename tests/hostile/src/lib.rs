//! Hostile input for a running `tamis serve`.
//!
//! [`attack`] has the attacks, each of which says what it throws and what must happen; [`campaign`] runs them and
//! looks at the server afterwards; [`soak`] loads a server for as long as one likes while connections are killed, and
//! [`service`] one with five filters, whose configuration is read again and whose remote milter dies and returns.
//! What they have in common: the server as a process ([`process`], [`target`], [`log`]), a [`client`] that sends any
//! bytes, and [`honest`] sessions that check everything they are told.
//!
//! Everything is blocking and plain, so that nothing here shares a line with what is under test but the frame's
//! parser. Linux only, as the server's memory and files are counted in /proc.
#![forbid(unsafe_code)]

pub mod attack;
pub mod campaign;
pub mod client;
pub mod honest;
pub mod log;
pub mod process;
pub mod random;
pub mod service;
pub mod soak;
pub mod state;
pub mod target;
pub mod wire;

use std::time::Duration;

/// Nothing takes that long on the slowest machine, unless it never happens.
pub const PATIENCE: Duration = Duration::from_secs(90);
