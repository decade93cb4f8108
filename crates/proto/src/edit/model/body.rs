//! The body, and what the MTAs make of a replaced one.

use std::borrow::Cow;

use bytes::Bytes;
use memchr::memchr_iter;

use super::Profile;

/// A message body with CRLF line ends, in pieces. Two bodies are equal if their bytes are, however they are cut.
#[derive(Clone, Debug, Default)]
pub struct Body {
    chunks: Vec<Bytes>, // none is empty
}

impl Body {
    /// An empty body.
    pub const fn new() -> Self {
        Self { chunks: Vec::new() }
    }

    /// Appends a piece.
    pub fn push(&mut self, chunk: impl Into<Bytes>) {
        let chunk = chunk.into();
        if !chunk.is_empty() {
            self.chunks.push(chunk);
        }
    }

    /// The pieces, none of them empty.
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }

    /// Whether there is no body.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The whole body in one piece.
    pub fn to_vec(&self) -> Vec<u8> {
        self.chunks.concat()
    }

    /// Ends the last line if there is no line feed behind it.
    pub(super) fn terminate(&mut self) {
        if self.chunks.last().and_then(|chunk| chunk.last()).is_some_and(|last| *last != b'\n') {
            self.push(&b"\r\n"[..]);
        }
    }

    fn bytes(&self) -> impl Iterator<Item = u8> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().copied())
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && (self.chunks == other.chunks || self.bytes().eq(other.bytes()))
    }
}

impl Eq for Body {}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        let mut body = Self::new();
        body.push(bytes);
        body
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl Extend<Bytes> for Body {
    fn extend<I: IntoIterator<Item = Bytes>>(&mut self, chunks: I) {
        for chunk in chunks {
            self.push(chunk);
        }
    }
}

impl FromIterator<Bytes> for Body {
    fn from_iter<I: IntoIterator<Item = Bytes>>(chunks: I) -> Self {
        let mut body = Self::new();
        body.extend(chunks);
        body
    }
}

/// A body that is being replaced: all pieces count as one text, wherever they are cut.
#[derive(Clone, Debug, Default)]
pub(super) struct Replacement {
    body: Body,
    last: Option<u8>,
}

impl Replacement {
    pub(super) fn push(&mut self, piece: &[u8]) {
        let Some(&last) = piece.last() else { return };
        let after_return = self.last == Some(b'\r');
        self.body.push(match crlf(piece, after_return) {
            Cow::Borrowed(piece) => Bytes::copy_from_slice(piece),
            Cow::Owned(piece) => piece.into(),
        });
        self.last = Some(last);
    }

    pub(super) fn finish(mut self, profile: Profile) -> Body {
        // Sendmail leaves an unterminated last line as it is until the message leaves.
        if profile == Profile::Postfix {
            self.body.terminate();
        }
        self.body
    }
}

/// Makes every bare LF a CRLF. Both MTAs take LF for the line end, with one CR before it or without, and leave any
/// other CR where it is.
pub(super) fn crlf(text: &[u8], after_return: bool) -> Cow<'_, [u8]> {
    let bare = |at: &usize| match at.checked_sub(1) {
        Some(before) => text[before] != b'\r',
        None => !after_return,
    };
    let mut bare_feeds = memchr_iter(b'\n', text).filter(bare).peekable();
    if bare_feeds.peek().is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len() + text.len() / 32 + 1);
    let mut done = 0;
    for at in bare_feeds {
        out.extend_from_slice(&text[done..at]);
        out.push(b'\r');
        done = at;
    }
    out.extend_from_slice(&text[done..]);
    Cow::Owned(out)
}
