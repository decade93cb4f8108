//! What happened to a message, for observers.

use super::tree::PartId;

/// One change of a part, told after it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change<'a> {
    /// A header field changed. An added field has no old value, a removed one no new value.
    Header {
        /// The part with this header.
        part: PartId,
        /// The name of the field.
        name: &'a [u8],
        /// The value before.
        old: Option<&'a [u8]>,
        /// The value now.
        new: Option<&'a [u8]>,
    },
    /// There is a new part.
    Inserted {
        /// The new part.
        part: PartId,
        /// The multipart that has it now.
        parent: PartId,
    },
    /// Another part stands where one was.
    Replaced {
        /// The part that was there. It is gone, with all parts in it, unless it is a message's own part.
        part: PartId,
        /// The part that is there now.
        by: PartId,
    },
    /// A part is gone, with all parts in it.
    Removed {
        /// The part that was there.
        part: PartId,
    },
}

/// A change of a field of the message's own header, as an edit of that header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderChange {
    /// The name of the field.
    pub name: bytes::Bytes,
    /// Which of the fields of this name it was before all changes, counted from 1; 0 for a field that is new.
    pub occurrence: usize,
    /// The value before; none for a field that is new.
    pub old: Option<bytes::Bytes>,
    /// The value now; none for a field that goes away.
    pub new: Option<bytes::Bytes>,
}

/// What an edited message needs of an MTA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Edits of the message's own header: first those of fields that were there, in their order, then new ones.
    pub header: Vec<HeaderChange>,
    /// The whole new body, in pieces of which those that were in the old one are slices of it; none if the body
    /// stays as it is.
    pub body: Option<Vec<bytes::Bytes>>,
}
