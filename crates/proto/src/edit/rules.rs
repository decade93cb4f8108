//! What a session allows of modifications.

use super::{Edit, validate};
use crate::error::Misuse;
use crate::frame::MAX_PAYLOAD;
use crate::negotiate::{Actions, DataSize};

/// What was negotiated about modifications: which ones, and how large they may be. Allows nothing by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EditRules {
    actions: Actions,
    data_size: DataSize,
    /// A bound that replaces that of the data size.
    limit: Option<usize>,
    any_text: bool,
}

impl EditRules {
    pub(crate) const fn new(actions: Actions, data_size: DataSize) -> Self {
        Self { actions, data_size, limit: None, any_text: false }
    }

    /// Bounds the payload by this and not by the data size that was negotiated.
    pub(crate) const fn limited(self, payload: usize) -> Self {
        Self { limit: Some(payload), ..self }
    }

    /// Takes any text that can be told from what follows it.
    pub(crate) const fn any_text(self) -> Self {
        Self { any_text: true, ..self }
    }

    /// The actions that were negotiated.
    pub const fn actions(&self) -> Actions {
        self.actions
    }

    /// Largest payload of a packet, in bytes.
    pub const fn payload(&self) -> usize {
        match self.limit {
            Some(limit) => limit,
            None => self.data_size.bytes(),
        }
    }

    /// Whether a modification could be sent at end of message: its action was negotiated, it fits a packet, and its
    /// text is harmless.
    ///
    /// Values are only refused for a NUL: what came from the wire can be sent back as it is. Text that an
    /// author makes is for [`validate`] to check first.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn check<B: AsRef<[u8]>>(&self, edit: &Edit<B>) -> Result<(), Misuse> {
        let action = edit.action();
        if !self.actions.contains(action) {
            return Err(Misuse::DisabledAction(action));
        }
        let length = match edit {
            // It leaves in as many packets as it takes, of which none is longer.
            Edit::ReplaceBody(body) => body.as_ref().len().min(MAX_PAYLOAD),
            edit => edit.payload_len(),
        };
        let limit = self.payload();
        if length > limit {
            return Err(Misuse::TooLong { length, limit });
        }
        if self.any_text {
            validate::without_nuls(edit)?;
        } else {
            validate::edit(edit)?;
        }
        Ok(())
    }
}
