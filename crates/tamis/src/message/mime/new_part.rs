//! Parts that a filter makes.

use std::borrow::Cow;

use bytes::Bytes;
use mail_builder::headers::HeaderType;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::raw::Raw;
use mail_builder::mime::{BodyPart, MimePart};

use super::transfer::Encoding;

/// A part to be put into a message.
///
/// # Examples
///
/// ```
/// use tamis::message::mime::NewPart;
///
/// let note = NewPart::text("The attachment was removed.\n");
/// let page = NewPart::html("<p>Grüße</p>");
/// let file = NewPart::attachment("Grüße.txt", "text/plain; charset=utf-8", "Grüße\n").unwrap();
/// let as_it_is = NewPart::raw("Content-Type: text/calendar\r\n\r\nBEGIN:VCALENDAR\r\n");
/// ```
#[derive(Clone, Debug)]
pub struct NewPart(Form);

#[derive(Clone, Debug)]
enum Form {
    Built(MimePart<'static>),
    Raw(Bytes),
}

impl NewPart {
    /// Makes a part of plain text. Line ends become those of mail.
    pub fn text(text: impl Into<String>) -> Self {
        Self(Form::Built(MimePart::new("text/plain", mail_lines(text.into()))))
    }

    /// Makes a part of HTML. Line ends become those of mail.
    pub fn html(text: impl Into<String>) -> Self {
        Self(Form::Built(MimePart::new("text/html", mail_lines(text.into()))))
    }

    /// Makes an attachment of any bytes, with a file name in any script.
    ///
    /// # Errors
    ///
    /// `content_type` is not allowed in a header.
    pub fn attachment(
        file_name: impl Into<String>,
        content_type: &str,
        content: impl Into<Vec<u8>>,
    ) -> Result<Self, super::MimeError> {
        tamis_proto::edit::validate::header_value(content_type.as_bytes())?;
        let disposition = ContentType::new("attachment").attribute("filename", file_name.into());
        let part = MimePart::raw(BodyPart::Binary(Cow::Owned(content.into())))
            .header("Content-Type", Raw::new(content_type.to_owned()))
            .header("Content-Disposition", disposition);
        Ok(Self(Form::Built(part)))
    }

    /// Takes a part as it is: header fields, an empty line, and the body in its transfer encoding. It may be a
    /// multipart.
    pub fn raw(part: impl Into<Bytes>) -> Self {
        Self(Form::Raw(part.into()))
    }

    /// Takes a whole message as it is, to be a message within a message.
    pub fn message(message: impl AsRef<[u8]>) -> Self {
        Self(Form::Raw([b"Content-Type: message/rfc822\r\n\r\n", message.as_ref()].concat().into()))
    }

    /// Writes the part, with `eol` at the end of lines unless it was given raw. Beside it what is needed to encode it
    /// differently, if it can be, and if that is wanted.
    pub(super) fn into_bytes(self, eol: &str, keep: bool) -> (Bytes, Option<Spare>) {
        let part = match self.0 {
            Form::Raw(part) => return (part, None),
            Form::Built(part) => part,
        };
        let spare = keep.then(|| Spare(part.clone()));
        (write(part, eol), spare)
    }
}

/// Ends all lines with CRLF.
fn mail_lines(text: String) -> String {
    if text.contains('\n') { text.replace("\r\n", "\n").replace('\n', "\r\n") } else { text }
}

/// A part that can be written once more.
pub(super) struct Spare(MimePart<'static>);

impl Spare {
    /// Writes the part in base64, of which no line can be a boundary.
    pub(super) fn in_base64(self, eol: &str) -> Bytes {
        let MimePart { mut headers, contents } = self.0;
        let encoded = match &contents {
            BodyPart::Text(text) => Encoding::Base64.encode(text.as_bytes()),
            BodyPart::Binary(bytes) => Encoding::Base64.encode(bytes),
            BodyPart::Multipart(_) => return write(MimePart { headers, contents }, eol),
        };
        headers.push(("Content-Transfer-Encoding".into(), HeaderType::Raw(Raw::new("base64"))));
        write(MimePart { headers, contents: BodyPart::Binary(Cow::Owned(encoded)) }, eol)
    }
}

fn write(part: MimePart<'static>, eol: &str) -> Bytes {
    let mut bytes = Vec::new();
    part.write_part(&mut bytes);
    if eol == "\n" {
        // Encoded text has no other carriage returns than those at line ends, and plain text needs none.
        bytes.retain(|byte| *byte != b'\r');
    }
    bytes.into()
}
