//! What the header of a part says about its body.

use bytes::Bytes;

use super::field::{Field, Fields};
use super::param::Value;
use super::transfer::Encoding;
use super::tree::{Defect, Defects};

/// What a header says.
pub(super) struct Facts {
    pub(super) kind: Kind,
    pub(super) encoding: Encoding,
    no_boundary: bool,
    repeated: bool,
    broken: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Leaf,
    Multipart { boundary: Bytes, digest: bool },
    Message,
}

impl Facts {
    /// Reads the fields; without a type, the part is a message in a digest and text elsewhere.
    ///
    /// Of several types the first counts that makes a container of the part, so that nothing is hidden in it; of
    /// several encodings the first.
    pub(super) fn read(fields: Fields<'_>, digest: bool) -> Self {
        let (mut types, mut encodings) = (0, 0);
        let default = if digest { Kind::Message } else { Kind::Leaf };
        let mut facts = Self {
            kind: Kind::Leaf,
            encoding: Encoding::Identity,
            no_boundary: false,
            repeated: false,
            broken: false,
        };
        for field in fields {
            facts.broken |= field.name().is_empty();
            if field.is("Content-Type") {
                types += 1;
                if facts.kind == Kind::Leaf {
                    facts.content_type(field.raw());
                }
            } else if field.is("Content-Transfer-Encoding") {
                encodings += 1;
                if encodings == 1 {
                    facts.encoding = Encoding::from_word(&Value::parse(field.raw()).main);
                }
            }
        }
        if types == 0 {
            facts.kind = default;
        }
        facts.no_boundary &= facts.kind == Kind::Leaf;
        facts.repeated = types > 1 || encodings > 1;
        facts
    }

    /// The type that counts, of the `Content-Type` fields of a part.
    pub(super) fn content_type_of<'a>(fields: impl Iterator<Item = Field<'a>>, digest: bool) -> Value {
        let mut first = None;
        for field in fields {
            let value = Value::parse(field.raw());
            if Self::kind_of(&value).is_some_and(|kind| kind != Kind::Leaf) {
                return value;
            }
            first.get_or_insert(value);
        }
        first.unwrap_or_else(|| Value::parse(if digest { b"message/rfc822" } else { b"text/plain" }))
    }

    /// Adds what is wrong.
    pub(super) fn note(&self, defects: &mut Defects) {
        let found = [
            (self.no_boundary, Defect::NoBoundary),
            (self.repeated, Defect::RepeatedField),
            (self.broken, Defect::BrokenHeader),
        ];
        for (_, defect) in found.into_iter().filter(|(is, _)| *is) {
            defects.add(defect);
        }
    }

    fn content_type(&mut self, value: &[u8]) {
        match Self::kind_of(&Value::parse(value)) {
            Some(kind) => self.kind = kind,
            None => self.no_boundary = true,
        }
    }

    /// What a type makes of a part; none for a multipart without a boundary.
    fn kind_of(value: &Value) -> Option<Kind> {
        if matches!(value.main.as_str(), "message/rfc822" | "message/global" | "message/news") {
            return Some(Kind::Message);
        }
        if !value.main.starts_with("multipart/") {
            return Some(Kind::Leaf);
        }
        let boundary = value.bytes("boundary")?;
        let boundary = Bytes::copy_from_slice(boundary.trim_ascii_end());
        let digest = value.main == "multipart/digest";
        (!boundary.is_empty()).then_some(Kind::Multipart { boundary, digest })
    }
}
