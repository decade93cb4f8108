//! What a session allows of modifications.

use super::{Edit, validate};
use crate::error::Misuse;
use crate::negotiate::{Actions, DataSize};

/// What was negotiated about modifications: which ones, and how large they may be. Allows nothing by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EditRules {
    actions: Actions,
    data_size: DataSize,
}

impl EditRules {
    pub(crate) const fn new(actions: Actions, data_size: DataSize) -> Self {
        Self { actions, data_size }
    }

    /// The actions that were negotiated.
    pub const fn actions(&self) -> Actions {
        self.actions
    }

    /// Largest payload of a packet, in bytes.
    pub const fn payload(&self) -> usize {
        self.data_size.bytes()
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
        let (length, limit) = (edit.payload_len(), self.payload());
        if length > limit && !matches!(edit, Edit::ReplaceBody(_)) {
            return Err(Misuse::TooLong { length, limit });
        }
        validate::edit(edit)?;
        Ok(())
    }
}
