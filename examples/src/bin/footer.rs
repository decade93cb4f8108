//! Appends a footer to the body of plain messages, as mailing lists do, and replaces a body that is too long.
//!
//! Multipart, encoded and attached content passes as it is. Behind Postfix:
//!
//! ```sh
//! cargo run -p tamis-examples --bin footer -- --bind-port 8899
//! postconf -e 'smtpd_milters = inet:127.0.0.1:8899' && postfix reload
//! ```

use std::process::ExitCode;

use tamis::message::{BodyReader, BodyWriter, Headers, Replacement};
use tamis::{BoxError, Context};

const FOOTER: &str = "-- \r\nTo leave this list write to leave@lists.example.org\r\n";
const TOO_LONG: &str = "(This message was too long for the list.)\r\n";
const LONGEST: u64 = 100 * 1024;

pub(crate) struct Footer;

#[tamis::filter(collect(headers, body), require(replace_body))]
impl Footer {
    async fn end_of_message(&mut self, cx: &mut Context<'_, ()>) -> Result<(), BoxError> {
        if !is_plain(cx.headers()?) {
            return Ok(());
        }
        if cx.body()?.len() > LONGEST {
            cx.set_body([TOO_LONG, FOOTER].concat())?;
            return Ok(());
        }
        let allowance = cx.allowance();
        let with_footer = Replacement::transform(&allowance, cx.body()?, append).await?;
        cx.set_body(with_footer)?;
        Ok(())
    }
}

/// Copies the body piece by piece, however long it is, and adds the footer on a line of its own.
async fn append(mut body: BodyReader, to: &mut BodyWriter) -> Result<(), BoxError> {
    let mut ends_with_newline = true;
    while let Some(piece) = body.next_chunk().await {
        let piece = piece?;
        ends_with_newline = piece.ends_with(b"\n");
        to.push(piece).await?;
    }
    if !ends_with_newline {
        to.push("\r\n").await?;
    }
    Ok(to.push(FOOTER).await?)
}

/// Whether text can be added to the body: it is `text/plain` and not encoded.
fn is_plain(headers: &Headers) -> bool {
    let value = |name| headers.first(name).map(|header| header.unfolded().to_lossy().to_ascii_lowercase());
    let plain = |kind: String| kind.split(';').next().is_some_and(|kind| kind.trim() == "text/plain");
    let unencoded = |encoding: String| ["7bit", "8bit"].contains(&encoding.trim());
    value("Content-Type").is_none_or(plain) && value("Content-Transfer-Encoding").is_none_or(unencoded)
}

fn main() -> ExitCode {
    tamis_examples::run(|_peer| Footer)
}
