//! Why an edit of a header is refused.

use tamis_proto::Actions;
use tamis_proto::edit::validate::Invalid;

/// Why an edit of a header is refused. Nothing was changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The edit needs an action that the filter did not declare, or that the MTA does not offer.
    #[error("action {0} was not negotiated, the filter has to declare it and the MTA to offer it")]
    NotNegotiated(Actions),
    /// The name or the value would break the header.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A field would be given a value of nothing but white space. To an MTA such a change is the field's removal.
    #[error("a header field changed to nothing but white space would be removed by the MTA")]
    Blank,
    /// The field fits no packet that every MTA takes.
    #[error("header field of {length} bytes exceeds the limit of {limit}")]
    TooLong {
        /// Bytes it takes on the wire.
        length: usize,
        /// Most that it may take.
        limit: usize,
    },
    /// The field was removed before.
    #[error("header field was removed")]
    Removed,
    /// The id is that of another message's field.
    #[error("header field is one of another message")]
    OtherMessage,
}
