//! What a filter needs, in its own terms: stages, actions, macros.

use super::{Actions, Agreement, MacroLists, MacroStage, Offer, Refusal, Steps, agree};
use crate::frame::MAX_PAYLOAD;
use crate::rules::Rules;
use crate::stage::Stage;

/// How much a filter has to do with a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum See {
    /// The stage is switched off where the MTA can do so.
    #[default]
    Nothing,
    /// The filter sees the stage and never answers it: negotiated as no-reply.
    #[doc(alias = "SMFIS_NOREPLY")]
    Watch,
    /// The filter sees the stage and gives a verdict.
    Answer,
}

/// Largest payload of a packet (spec §4.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DataSize {
    /// 65,535 bytes, what every peer takes.
    #[default]
    K64,
    /// 262,143 bytes.
    #[doc(alias = "MILTER_MDS_256K")]
    K256,
    /// 1,048,575 bytes.
    #[doc(alias = "MILTER_MDS_1M")]
    M1,
}

impl DataSize {
    /// Bytes of payload.
    pub const fn bytes(self) -> usize {
        match self {
            Self::K64 => MAX_PAYLOAD,
            Self::K256 => 262_143,
            Self::M1 => 1_048_575,
        }
    }
}

/// What happens when the MTA does not offer an action that the filter declared required.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IfMissing {
    /// The session is closed without an answer. The MTA then does what it is configured to do about failed
    /// filters; Sendmail without an `F=` flag passes mail unfiltered.
    #[default]
    Close,
    /// The session goes on and every message is refused for now (4xx at its sender).
    TempfailMail,
}

/// What a filter needs from the MTA. From this the option bits are computed; nobody writes them by hand.
///
/// Whatever the MTA cannot do is made up for by [`FilterSession`](crate::FilterSession), except required
/// actions.
///
/// ```
/// use tamis_proto::{Actions, MacroStage, Needs, Stage};
///
/// let needs = Needs::new()
///     .answer([Stage::Mail])
///     .watch([Stage::Rcpt])
///     .require(Actions::ADD_HEADERS)
///     .macros(MacroStage::Mail, ["i", "auth_authen"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    pub(crate) see: [See; Stage::COUNT],
    pub(crate) required: Actions,
    pub(crate) optional: Actions,
    pub(crate) if_missing: IfMissing,
    pub(crate) skip: bool,
    pub(crate) rejected_recipients: bool,
    pub(crate) leading_space: bool,
    pub(crate) data_size: DataSize,
    pub(crate) macros: MacroLists,
}

impl Needs {
    /// Nothing at all.
    #[doc(alias = "SMFIF_NONE")]
    pub fn new() -> Self {
        Self { skip: true, ..Self::default() }
    }

    /// Every stage, answered. What a filter on libmilter gets when it has all callbacks.
    #[doc(alias = "SMFIS_ALL_OPTS")]
    pub fn everything() -> Self {
        Self::new().answer(Stage::ALL)
    }

    /// The needs that the option bits of a filter's answer stand for. For bindings to C filters, which think in
    /// bits: `actions` as in `xxfi_flags` are all required, `steps` as what `xxfi_negotiate` leaves behind.
    ///
    /// A stage with both of its bits counts as not sent. Bits that nobody knows are dropped.
    ///
    /// ```
    /// use tamis_proto::{Actions, Needs, See, Stage, Steps};
    ///
    /// let needs = Needs::from_bits(Actions::ADD_HEADERS, Steps::NO_BODY | Steps::NO_REPLY_HEADER);
    /// assert_eq!(needs.sees(Stage::Body), See::Nothing);
    /// assert_eq!(needs.sees(Stage::Header), See::Watch);
    /// assert_eq!(needs.sees(Stage::Mail), See::Answer);
    /// ```
    #[doc(alias = "xxfi_flags")]
    pub fn from_bits(actions: Actions, steps: Steps) -> Self {
        let mut needs = Self::default().require(actions & Actions::CURRENT);
        for stage in Stage::ALL {
            needs.see[stage.index()] = match (steps.sends(stage), steps.answers(stage)) {
                (false, _) => See::Nothing,
                (true, false) => See::Watch,
                (true, true) => See::Answer,
            };
        }
        needs.skip = steps.contains(Steps::SKIP);
        needs.rejected_recipients = steps.contains(Steps::REJECTED_RECIPIENTS);
        needs.leading_space = steps.contains(Steps::LEADING_SPACE);
        let sizes = [DataSize::M1, DataSize::K256];
        needs.data_size =
            sizes.into_iter().find(|size| steps.contains(super::size_bit(*size))).unwrap_or_default();
        needs
    }

    /// Sees these stages and gives verdicts on them.
    #[must_use]
    pub fn answer(self, stages: impl IntoIterator<Item = Stage>) -> Self {
        self.see(stages, See::Answer)
    }

    /// Sees these stages without ever answering them.
    ///
    /// A stage that is already answered stays so.
    #[must_use]
    pub fn watch(self, stages: impl IntoIterator<Item = Stage>) -> Self {
        self.see(stages, See::Watch)
    }

    fn see(mut self, stages: impl IntoIterator<Item = Stage>, see: See) -> Self {
        for stage in stages {
            let at = &mut self.see[stage.index()];
            *at = see.max(*at);
        }
        self
    }

    /// Actions without which the filter cannot work.
    #[must_use]
    #[doc(alias = "xxfi_flags")]
    pub fn require(mut self, actions: Actions) -> Self {
        self.required |= actions;
        self
    }

    /// Actions that the filter uses if the MTA offers them.
    #[must_use]
    pub fn allow(mut self, actions: Actions) -> Self {
        self.optional |= actions;
        self
    }

    /// What to do when a required action is missing; closes the session by default.
    #[must_use]
    pub fn if_missing(mut self, policy: IfMissing) -> Self {
        self.if_missing = policy;
        self
    }

    /// Whether to ask for SKIP; `true` by default. Without it the rest of a skipped body is received and
    /// thrown away.
    #[must_use]
    pub fn skip(mut self, on: bool) -> Self {
        self.skip = on;
        self
    }

    /// Also see recipients that the MTA rejects itself; `{rcpt_mailer}` is `error` there.
    #[must_use]
    pub fn rejected_recipients(mut self) -> Self {
        self.rejected_recipients = true;
        self
    }

    /// Header values keep the space after the colon, in both directions.
    #[must_use]
    pub fn leading_space(mut self) -> Self {
        self.leading_space = true;
        self
    }

    /// Packets larger than 64 KiB, if the MTA can.
    #[must_use]
    #[doc(alias = "smfi_setmaxdatasize")]
    pub fn data_size(mut self, size: DataSize) -> Self {
        self.data_size = size;
        self
    }

    /// Macros wanted at a stage, instead of those that the MTA is configured to send. At most 50 a stage.
    #[must_use]
    #[doc(alias = "smfi_setsymlist")]
    pub fn macros<N: AsRef<str>>(mut self, stage: MacroStage, names: impl IntoIterator<Item = N>) -> Self {
        self.macros.want(stage, names);
        self
    }

    /// How much the filter has to do with a stage.
    pub fn sees(&self, stage: Stage) -> See {
        self.see[stage.index()]
    }

    /// Whether SKIP is asked for.
    pub fn skips(&self) -> bool {
        self.skip
    }

    /// Whether recipients that the MTA rejects itself are asked for.
    pub fn sees_rejected_recipients(&self) -> bool {
        self.rejected_recipients
    }

    /// The packets that are asked for.
    pub fn packets(&self) -> DataSize {
        self.data_size
    }

    /// The actions without which the filter cannot work.
    pub fn required(&self) -> Actions {
        self.required
    }

    /// What a filter with these needs and an MTA with this offer agree on.
    ///
    /// # Errors
    ///
    /// As [`FilterSession::negotiate`](crate::FilterSession::negotiate), whatever is to happen
    /// [if an action is missing](Self::if_missing).
    pub fn agree(&self, offer: Offer) -> Result<Agreement, Refusal> {
        agree(offer, self, Rules::default()).map(|(agreement, _)| agreement)
    }

    /// Whether header values keep the space after the colon.
    pub fn keeps_leading_space(&self) -> bool {
        self.leading_space
    }

    /// The macros wanted, by stage.
    pub fn macro_lists(&self) -> &MacroLists {
        &self.macros
    }

    /// Every action declared, required or not.
    pub fn actions(&self) -> Actions {
        self.required | self.optional
    }
}
