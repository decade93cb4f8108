//! One function over a message: refuses further recipients of bounces, and mail with the text for testing spam
//! filters at the beginning of its body.
//!
//! The function's local variables are the state, and returning is the verdict. Behind Postfix:
//!
//! ```sh
//! cargo run -p tamis-examples --bin linear -- --bind-port 8899
//! postconf -e 'smtpd_milters = inet:127.0.0.1:8899' && postfix reload
//! ```

use std::process::ExitCode;

use tamis::linear::{Linear, Mail, ReadBody};
use tamis::{Actions, BoxError, BoxFilter, Stage, Verdict};

const GTUBE: &[u8] = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";
/// How much of the body is looked at.
const BEGINNING: usize = 256 * 1024;

async fn filter(mut mail: Mail) -> Result<Verdict, BoxError> {
    let mut recipients = 0;
    while mail.recipient().await?.is_some() {
        recipients += 1;
        if mail.sender().is_null() && recipients > 1 {
            mail.refuse(Verdict::reject("5.5.3", "a bounce has one recipient"))?;
        }
    }
    let mut seen = 0;
    let mut text = Vec::new();
    while seen < BEGINNING
        && let Some(piece) = mail.chunk().await?
    {
        seen += piece.len();
        text.extend_from_slice(&piece);
        if text.windows(GTUBE.len()).any(|window| window == GTUBE) {
            return Ok(Verdict::reject("5.7.1", "this is spam"));
        }
        // What is searched for may go on in the next piece.
        text.drain(..text.len().saturating_sub(GTUBE.len() - 1));
    }
    // The rest of the body is not even sent, if the MTA can leave it out.
    mail.end().await?;
    mail.add_header("X-Scanned", format!("{seen} bytes"))?;
    Ok(Verdict::Continue)
}

pub(crate) fn linear() -> BoxFilter {
    let filter = Linear::new(filter).decides(Stage::Rcpt).body(ReadBody::Stream).without_headers();
    BoxFilter::new(filter.require(Actions::ADD_HEADERS))
}

fn main() -> ExitCode {
    tamis_examples::run(|_peer| linear())
}
