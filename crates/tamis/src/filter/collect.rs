//! What is kept of a message although no handler asked for it.

use tamis_proto::{Needs, See, Stage};

/// What is kept of each message, to be looked at and edited as a whole at its end or before.
///
/// Stages that are seen for this alone are negotiated as no-reply, and the filter is not called for them.
///
/// ```
/// use tamis::Collect;
///
/// let headers_and_body = Collect::nothing().headers().body();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collect {
    pub(crate) envelope: bool,
    pub(crate) headers: bool,
    pub(crate) body: bool,
}

impl Collect {
    /// Keeps nothing: the filter has what its handlers are given, and no more.
    pub const fn nothing() -> Self {
        Self { envelope: false, headers: false, body: false }
    }

    /// Keeps the client, its HELO name, the sender and the recipients.
    #[must_use]
    pub const fn envelope(self) -> Self {
        Self { envelope: true, ..self }
    }

    /// Keeps the header fields. Editing one by one needs them, too.
    #[must_use]
    pub const fn headers(self) -> Self {
        Self { headers: true, ..self }
    }

    /// Keeps the body: in memory if it is small, else in a file, as [`Options::body`](crate::Options::body) says.
    #[must_use]
    pub const fn body(self) -> Self {
        Self { body: true, ..self }
    }

    /// Adds what has to be seen for it.
    pub(crate) fn add_to(self, needs: Needs) -> Needs {
        let needs = if self.envelope {
            needs.watch([Stage::Connect, Stage::Helo, Stage::Mail, Stage::Rcpt])
        } else {
            needs
        };
        let needs = if self.headers { needs.watch([Stage::Header]) } else { needs };
        if self.body { needs.watch([Stage::Body]) } else { needs }
    }
}

/// The stages that a filter is called for itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Called(u16);

impl Called {
    pub(crate) fn by(needs: &Needs) -> Self {
        let called = Stage::ALL.into_iter().filter(|stage| needs.sees(*stage) != See::Nothing);
        Self(called.fold(0, |bits, stage| bits | Self::bit(stage)))
    }

    pub(crate) const fn at(self, stage: Stage) -> bool {
        self.0 & Self::bit(stage) != 0
    }

    const fn bit(stage: Stage) -> u16 {
        1 << stage as u16
    }
}
