//! What the daemon shows of itself: metrics, health, and what became of recent messages.
//!
//! ```text
//!   chain ── records ──▶ State ──▶ ring ─────▶ /records   ──▶ tamis explain
//!   server ─ counters ─────┘  └──▶ metrics ──▶ /metrics   ──▶ Prometheus
//!   daemon ─ readiness, reloads ─────────────▶ /readyz · /reload ──▶ tamis reload
//! ```
//!
//! The daemon makes one [`State`], which lives as long as the process, tells it what it runs (`configured`,
//! `reload_failed`, `set_ready`), has every chain tell it about messages and every server count in its counters, and
//! runs [`serve`] beside them. `docs/monitoring.md` is the page for users.

pub(crate) mod client;
mod generation;
mod http;
mod keep;
mod listen;
mod metrics;
pub(crate) mod record;
mod ring;
mod routes;
pub(crate) mod search;
mod state;
#[cfg(test)]
mod tests;

pub(crate) use generation::{Configured, Member};
pub(crate) use http::serve;
pub(crate) use listen::Listeners;
pub(crate) use routes::ReloadSender;
pub(crate) use state::State;
