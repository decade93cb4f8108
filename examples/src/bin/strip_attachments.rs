//! Takes programs and scripts out of mail, wherever they are in it, and leaves a note in their place.
//!
//! A part is judged by all names that a mail program could show. All other parts stay byte for byte. Behind Postfix:
//!
//! ```sh
//! cargo run -p tamis-examples --bin strip_attachments -- --bind-port 8899
//! postconf -e 'smtpd_milters = inet:127.0.0.1:8899' && postfix reload
//! ```

use std::process::ExitCode;

use tamis::message::Headers;
use tamis::message::mime::{HeaderChange, Mime, MimeError, NewPart, Part};
use tamis::{BoxError, Context};

const DANGEROUS: [&str; 12] =
    ["bat", "cmd", "com", "exe", "hta", "iso", "js", "lnk", "pif", "ps1", "scr", "vbs"];
/// Larger messages are refused for now, as the failure policy says.
const LARGEST: usize = 64 << 20;

pub(crate) struct StripAttachments;

#[tamis::filter(collect(headers, body), require(add_headers, change_headers, replace_body))]
impl StripAttachments {
    async fn end_of_message(&mut self, cx: &mut Context<'_, ()>) -> Result<(), BoxError> {
        let body = cx.body()?.to_bytes(LARGEST).await?;
        let mut mime = Mime::of_body(cx.headers()?.iter().map(|field| (field.name(), field.value())), body)?;
        strip(&mut mime)?;
        let changes = mime.changes();
        changes.header.into_iter().try_for_each(|change| apply(change, cx.headers_mut()?))?;
        if let Some(pieces) = changes.body {
            cx.set_body(pieces.concat())?;
        }
        Ok(())
    }
}

fn strip(mime: &mut Mime) -> Result<(), MimeError> {
    let dangerous = mime.parts().filter(|part| part.has_extension(&DANGEROUS));
    for id in dangerous.map(Part::id).collect::<Vec<_>>() {
        // One may have been in another.
        let Some(part) = mime.part(id) else { continue };
        let name = part.file_name().unwrap_or_default();
        tracing::info!("taking out {name:?}");
        mime.replace(id, NewPart::text(format!("The attachment {name:?} was removed.\n")))?;
    }
    Ok(())
}

/// Where the whole message was an attachment, its header says so.
fn apply(change: HeaderChange, headers: &mut Headers) -> Result<(), BoxError> {
    let old = change.occurrence.checked_sub(1);
    let old = old.and_then(|nth| headers.received().filter(|field| field.is(&change.name)).nth(nth));
    match (old.map(|field| field.id()), change.new) {
        (Some(id), Some(value)) => headers.replace(id, value)?,
        (Some(id), None) => headers.remove(id)?,
        (None, Some(value)) => drop(headers.append(&change.name, value)?),
        (None, None) => {}
    }
    Ok(())
}

fn main() -> ExitCode {
    tamis_examples::run(|_peer| StripAttachments)
}
