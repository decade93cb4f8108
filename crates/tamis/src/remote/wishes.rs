//! What a milter asks for at the end of a message, until its verdict says whether that counts.

use bytes::Bytes;
use tamis_proto::Edit;

use super::RemoteFault;
use crate::filter::Context;
use crate::message::{Allowance, BodyWriter};

/// Modifications in order, and the new body, which may be in a file.
pub(super) struct Wishes {
    edits: Vec<Edit<Bytes>>,
    bytes: usize,
    limit: usize,
    /// What the new body may take, where there can be one.
    allowance: Option<Allowance>,
    body: Option<BodyWriter>,
}

/// What a modification takes besides its text.
const OVERHEAD: usize = size_of::<Edit<Bytes>>();

impl Wishes {
    /// None yet; those without a new body may have this many bytes.
    pub(super) fn new(limit: usize, allowance: Option<Allowance>) -> Self {
        Self { edits: Vec::new(), bytes: 0, limit, allowance, body: None }
    }

    pub(super) async fn add(&mut self, edit: Edit<Bytes>) -> Result<(), RemoteFault> {
        if let Edit::ReplaceBody(piece) = edit {
            let allowance =
                self.allowance.as_ref().expect("a session takes modifications at end of message only");
            let body = self.body.get_or_insert_with(|| allowance.writer());
            return body.push(piece).await.map_err(RemoteFault::Body);
        }
        self.bytes += edit.payload_len() + OVERHEAD;
        if self.bytes > self.limit {
            return Err(RemoteFault::TooManyEdits { limit: self.limit });
        }
        self.edits.push(edit);
        Ok(())
    }

    /// Asks for all of it.
    pub(super) async fn grant<M>(self, cx: &mut Context<'_, M>) -> Result<(), RemoteFault> {
        for edit in self.edits {
            let name = edit.name();
            cx.edit(edit).map_err(|why| RemoteFault::Edit { edit: name, why })?;
        }
        if let Some(body) = self.body {
            let body = body.finish().await.map_err(RemoteFault::Body)?;
            cx.set_body(body).map_err(|why| RemoteFault::Edit { edit: "replace-body", why })?;
        }
        Ok(())
    }
}
