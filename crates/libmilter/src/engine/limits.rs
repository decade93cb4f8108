//! The limits of sessions, which a program may change at any time.

use std::sync::{Arc, Mutex, PoisonError};

use tamis_proto::{FilterSession, Limits};

use crate::process;

/// Limits as they are set now, one copy for all connections.
#[derive(Debug)]
pub(super) struct CurrentLimits {
    /// What the administrator wants accepted, whatever the program says.
    least: usize,
    current: Mutex<Arc<Limits>>,
}

impl CurrentLimits {
    pub(super) fn new(least: usize) -> Self {
        Self { least, current: Mutex::new(with_payload(process::max_data().max(least))) }
    }

    pub(super) fn get(&self) -> Arc<Limits> {
        let payload = process::max_data().max(self.least);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.payload != payload {
            *current = with_payload(payload);
        }
        Arc::clone(&current)
    }

    /// Brings a session up to date.
    pub(super) fn apply(&self, session: &mut FilterSession) {
        if session.payload_limit() != process::max_data().max(self.least) {
            session.set_limits(self.get());
        }
    }
}

/// libmilter has no bound but that of the packet, and keeps nothing that other ones would bound.
fn with_payload(payload: usize) -> Arc<Limits> {
    let mut limits = Limits::new();
    limits.payload = payload;
    limits.argument = usize::MAX;
    limits.macros = usize::MAX;
    limits.macro_bytes = usize::MAX;
    limits.headers = usize::MAX;
    limits.header_bytes = usize::MAX;
    limits.recipients = usize::MAX;
    Arc::new(limits)
}
