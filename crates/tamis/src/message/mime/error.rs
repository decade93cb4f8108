//! What can be wrong, and how much is read.

use tamis_proto::edit::validate::Invalid;

use super::PartId;

/// How large a structure is read.
///
/// Reading takes time and memory in proportion to the message, whatever is in it; these bounds keep the numbers
/// small that a message can make of a filter's own work.
///
/// ```
/// use tamis::message::mime::MimeLimits;
///
/// let limits = MimeLimits::new().with_depth(20).with_parts(1_000);
/// assert_eq!(limits.depth, 20);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MimeLimits {
    /// How many multiparts and messages may be around a part. Postfix' own limit is 100, so is ours.
    pub depth: usize,
    /// How many parts there may be, 100,000 by default.
    pub parts: usize,
    /// How many bytes the header of a part may have, 256 KiB by default. That of the message itself is not bounded
    /// by this where it came apart from the body.
    pub header: usize,
    /// How many bytes encoded nested messages may take when they are decoded, together: 64 MiB by default.
    pub decoded: usize,
}

impl MimeLimits {
    /// The default limits.
    pub const fn new() -> Self {
        Self { depth: 100, parts: 100_000, header: 256 << 10, decoded: 64 << 20 }
    }

    /// Sets how many multiparts and messages may be around a part.
    #[must_use]
    pub const fn with_depth(mut self, depth: usize) -> Self {
        self.depth = depth;
        self
    }

    /// Sets how many parts there may be.
    #[must_use]
    pub const fn with_parts(mut self, parts: usize) -> Self {
        self.parts = parts;
        self
    }

    /// Sets how many bytes the header of a part may have.
    #[must_use]
    pub const fn with_header(mut self, header: usize) -> Self {
        self.header = header;
        self
    }

    /// Sets how many bytes encoded nested messages may take, decoded.
    #[must_use]
    pub const fn with_decoded(mut self, decoded: usize) -> Self {
        self.decoded = decoded;
        self
    }
}

impl Default for MimeLimits {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a structure is not read, or an edit not made. A refused edit has changed nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MimeError {
    /// Containers within containers.
    #[error("more than {limit} multiparts and messages are nested")]
    TooDeep {
        /// [`MimeLimits::depth`].
        limit: usize,
    },
    /// More parts than anybody reads.
    #[error("the message has more than {limit} parts")]
    TooManyParts {
        /// [`MimeLimits::parts`].
        limit: usize,
    },
    /// A header that nobody writes.
    #[error("the header of a part exceeds the limit of {limit} bytes")]
    HeaderTooLong {
        /// [`MimeLimits::header`].
        limit: usize,
    },
    /// Encoded nested messages that decode to more than is wanted.
    #[error("encoded nested messages exceed the limit of {limit} bytes")]
    TooMuchDecoded {
        /// [`MimeLimits::decoded`].
        limit: usize,
    },
    /// There is no such part, or there is none any more.
    #[error("there is no part {part}")]
    NoSuchPart {
        /// The part asked for.
        part: PartId,
    },
    /// Only a multipart has parts to add to.
    #[error("part {part} is no multipart")]
    NotMultipart {
        /// The part that was meant to get another one.
        part: PartId,
    },
    /// A header edit would make something else of the part than what it was read as.
    #[error("part {part} would be read differently with this {field}: replace the part instead")]
    Structure {
        /// The part of the header.
        part: PartId,
        /// `Content-Type` or `Content-Transfer-Encoding`.
        field: &'static str,
    },
    /// Boundaries of multiparts within each other are so alike that a reader could not tell where a part ends after
    /// this edit. Nothing but an attack or a broken program makes such mail. Parts can be replaced in it, and the
    /// whole multipart can be removed.
    #[error("boundaries within part {part} cannot be told apart: only replacing is possible in it")]
    AmbiguousBoundaries {
        /// The outermost of the multiparts.
        part: PartId,
    },
    /// New content has a line that would end a part around it.
    #[error("the new content has a line that is a boundary of part {part}")]
    BoundaryInContent {
        /// The multipart with this boundary.
        part: PartId,
    },
    /// The name or value of a header field is not allowed.
    #[error(transparent)]
    Header(#[from] Invalid),
}
