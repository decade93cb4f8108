//! What a test learns of a connection that otherwise only the log says.

#[cfg(feature = "testing")]
use std::sync::{Arc, Mutex, PoisonError};

use tamis_proto::FilterSession;
#[cfg(feature = "testing")]
use tamis_proto::MissedMacros;

/// Takes note of what goes wrong, if somebody wants to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Witness {
    #[cfg(feature = "testing")]
    seen: Option<Arc<Mutex<Seen>>>,
    #[cfg(feature = "testing")]
    macros: Arc<MissedMacros>,
}

/// What was seen so far.
#[cfg(feature = "testing")]
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Where the filter failed (a stage, `abort` or `close`), and how.
    pub(crate) failures: Vec<(&'static str, String)>,
    /// Why the connection ended before the MTA said so.
    pub(crate) end: Option<String>,
}

#[cfg(feature = "testing")]
impl Witness {
    /// One that sees.
    pub(crate) fn new() -> Self {
        Self { seen: Some(Arc::default()), macros: Arc::default() }
    }

    /// Macros that the filter looked up in vain.
    pub(crate) fn macros(&self) -> &MissedMacros {
        &self.macros
    }

    /// Hands out what was seen.
    pub(crate) fn seen(&self) -> Seen {
        let seen = self.seen.as_ref().map(|seen| seen.lock().unwrap_or_else(PoisonError::into_inner).clone());
        seen.unwrap_or_default()
    }

    fn note(&self, note: impl FnOnce(&mut Seen)) {
        if let Some(seen) = &self.seen {
            note(&mut seen.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Looks at a session from now on.
    pub(super) fn watch(&self, session: &mut FilterSession) {
        if self.seen.is_some() {
            session.note_missed_macros(self.macros.clone());
        }
    }

    /// The filter failed.
    pub(super) fn failed(&self, at: &'static str, what: &dyn std::fmt::Display) {
        self.note(|seen| seen.failures.push((at, what.to_string())));
    }

    /// The connection ended too early.
    pub(super) fn ended(&self, why: &dyn std::fmt::Display) {
        self.note(|seen| seen.end = Some(why.to_string()));
    }
}

#[cfg(not(feature = "testing"))]
#[allow(clippy::unused_self)] // does something with the feature
impl Witness {
    pub(super) fn watch(&self, _session: &mut FilterSession) {}

    pub(super) fn failed(&self, _at: &'static str, _what: &dyn std::fmt::Display) {}

    pub(super) fn ended(&self, _why: &dyn std::fmt::Display) {}
}
