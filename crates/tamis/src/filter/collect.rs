//! What is kept of a message although no handler asked for it.

use tamis_proto::{Actions, MacroStage, Needs, See, Stage};

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
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub struct Collect {
    pub(crate) envelope: bool,
    /// The client and its HELO name, as a part of the envelope.
    pub(crate) client: bool,
    pub(crate) headers: bool,
    pub(crate) body: bool,
}

impl Collect {
    /// Keeps nothing: the filter has what its handlers are given, and no more.
    pub const fn nothing() -> Self {
        Self { envelope: false, client: false, headers: false, body: false }
    }

    /// Keeps the client, its HELO name, the sender and the recipients.
    #[must_use]
    pub const fn envelope(self) -> Self {
        Self { envelope: true, ..self }
    }

    /// Keeps the client and its HELO name.
    pub(crate) const fn client(self) -> Self {
        Self { client: true, ..self }
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

    /// Whether a part of the envelope is kept between messages.
    pub(crate) const fn keeps_client(self) -> bool {
        self.client || self.envelope
    }

    /// Adds what has to be seen for it.
    pub(crate) fn add_to(self, needs: Needs) -> Needs {
        let needs = if self.keeps_client() { needs.watch([Stage::Connect, Stage::Helo]) } else { needs };
        let needs = if self.envelope { needs.watch([Stage::Mail, Stage::Rcpt]) } else { needs };
        let needs = if self.headers { ask_for_version(needs.watch([Stage::Header])) } else { needs };
        if self.body { needs.watch([Stage::Body]) } else { needs }
    }
}

/// Asks for the macro that says which MTA it is, where edits of the header depend on that.
pub(crate) fn ask_for_version(needs: Needs) -> Needs {
    /// What Postfix and Sendmail send at connect by default, which a list takes the place of, and the version.
    const DEFAULT: [&str; 7] = ["j", "_", "{daemon_name}", "{daemon_addr}", "{if_name}", "{if_addr}", "v"];
    if !needs.actions().intersects(Actions::ADD_HEADERS | Actions::CHANGE_HEADERS) {
        return needs;
    }
    match needs.macro_lists().get(MacroStage::Connect) {
        Some(_) => needs.macros(MacroStage::Connect, ["v"]),
        None => needs.macros(MacroStage::Connect, DEFAULT),
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
