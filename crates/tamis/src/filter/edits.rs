//! The modifications that a filter can ask for by name, wherever it does.

use std::borrow::Cow;

use bytes::Bytes;
use tamis_proto::Misuse;
use tamis_proto::edit::validate;

/// Defines a method for each modification, by means of `edit`; what its errors are is said at `$at`.
macro_rules! edit_methods {
    ($at:literal) => {
        /// Appends a header field. CRLF before a continuation line becomes LF.
        ///
        /// # Errors
        ///
        #[doc = concat!("As said at ", $at, "; the value must not have a NUL, a bare CR or a line that is no continuation.")]
        #[doc(alias = "smfi_addheader")]
        pub fn add_header(&mut self, name: impl Into<bytes::Bytes>, value: impl Into<bytes::Bytes>) -> Result<(), $crate::proto::Misuse> {
            self.edit($crate::Edit::AddHeader { name: name.into(), value: crate::filter::edits::checked(value)? })
        }

        /// Inserts a header field at a position among all of them, 0 is the top. Only 0, 1 (below the MTA's own
        /// `Received`) and very large numbers mean the same to every MTA.
        ///
        /// # Errors
        ///
        /// As [`add_header`](Self::add_header).
        #[doc(alias = "smfi_insheader")]
        pub fn insert_header(
            &mut self,
            index: u32,
            name: impl Into<bytes::Bytes>,
            value: impl Into<bytes::Bytes>,
        ) -> Result<(), $crate::proto::Misuse> {
            self.edit($crate::Edit::InsertHeader { index, name: name.into(), value: crate::filter::edits::checked(value)? })
        }

        /// Replaces the n-th header field of a name, counted from 1; adds it if there is none.
        ///
        /// # Errors
        ///
        /// As [`add_header`](Self::add_header).
        #[doc(alias = "smfi_chgheader")]
        pub fn change_header(
            &mut self,
            index: u32,
            name: impl Into<bytes::Bytes>,
            value: impl Into<bytes::Bytes>,
        ) -> Result<(), $crate::proto::Misuse> {
            self.edit($crate::Edit::ChangeHeader { index, name: name.into(), value: crate::filter::edits::checked(value)? })
        }

        /// Deletes the n-th header field of a name, counted from 1. Delete the last one first: Postfix numbers
        /// anew after each deletion, Sendmail does not.
        ///
        /// # Errors
        ///
        #[doc = concat!("As said at ", $at, ".")]
        pub fn delete_header(&mut self, index: u32, name: impl Into<bytes::Bytes>) -> Result<(), $crate::proto::Misuse> {
            self.edit($crate::Edit::ChangeHeader { index, name: name.into(), value: bytes::Bytes::new() })
        }

        /// Changes the envelope sender; `<>` is the null sender.
        ///
        /// # Errors
        ///
        #[doc = concat!("As said at ", $at, ".")]
        #[doc(alias = "smfi_chgfrom")]
        pub fn change_sender(&mut self, address: impl Into<bytes::Bytes>, args: Option<&str>) -> Result<(), $crate::proto::Misuse> {
            let args = args.map(|args| bytes::Bytes::copy_from_slice(args.as_bytes()));
            self.edit($crate::Edit::ChangeSender { address: address.into(), args })
        }

        /// Adds a recipient.
        ///
        /// # Errors
        ///
        #[doc = concat!("As said at ", $at, ".")]
        #[doc(alias = "smfi_addrcpt")]
        pub fn add_recipient(&mut self, address: impl Into<bytes::Bytes>) -> Result<(), $crate::proto::Misuse> {
            self.edit($crate::Edit::AddRecipient { address: address.into() })
        }

        /// Adds a recipient with ESMTP parameters, such as `NOTIFY=NEVER`.
        ///
        /// # Errors
        ///
        #[doc = concat!("As said at ", $at, ".")]
        #[doc(alias = "smfi_addrcpt_par")]
        pub fn add_recipient_with_args(&mut self, address: impl Into<bytes::Bytes>, args: &str) -> Result<(), $crate::proto::Misuse> {
            let args = Some(bytes::Bytes::copy_from_slice(args.as_bytes()));
            self.edit($crate::Edit::AddRecipientWithArgs { address: address.into(), args })
        }

        /// Removes a recipient, written as the client did in RCPT.
        ///
        /// # Errors
        ///
        #[doc = concat!("As said at ", $at, ".")]
        #[doc(alias = "smfi_delrcpt")]
        pub fn delete_recipient(&mut self, address: impl Into<bytes::Bytes>) -> Result<(), $crate::proto::Misuse> {
            self.edit($crate::Edit::DeleteRecipient { address: address.into() })
        }

        /// Replaces the body; further calls append to the new body. Lines should end in CRLF.
        ///
        /// # Errors
        ///
        #[doc = concat!("As said at ", $at, ".")]
        #[doc(alias = "smfi_replacebody")]
        pub fn replace_body(&mut self, body: impl Into<bytes::Bytes>) -> Result<(), $crate::proto::Misuse> {
            self.edit($crate::Edit::ReplaceBody(body.into()))
        }

        /// Has the MTA hold the message. A verdict is still needed.
        ///
        /// # Errors
        ///
        #[doc = concat!("As said at ", $at, ".")]
        #[doc(alias = "smfi_quarantine")]
        pub fn quarantine(&mut self, reason: impl Into<bytes::Bytes>) -> Result<(), $crate::proto::Misuse> {
            self.edit($crate::Edit::Quarantine { reason: reason.into() })
        }
    };
}

pub(crate) use edit_methods;

/// A header value that an author made, folded as on the wire.
pub(crate) fn checked(value: impl Into<Bytes>) -> Result<Bytes, Misuse> {
    let value = value.into();
    let folded = match validate::header_value(&value)? {
        Cow::Borrowed(_) => None,
        Cow::Owned(folded) => Some(folded),
    };
    Ok(folded.map_or(value, Bytes::from))
}
