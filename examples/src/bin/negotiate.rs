//! Holds mail whose answers would go to another domain than it says it is from; where the MTA cannot hold mail, such
//! mail is marked instead.
//!
//! Which of the two is decided when the MTA says what it can do, and nothing is asked for that is not used. Behind
//! Postfix, where `postqueue -p` shows what is held and `postsuper -H` sends it on its way:
//!
//! ```sh
//! cargo run -p tamis-examples --bin negotiate -- --bind-port 8899
//! postconf -e 'smtpd_milters = inet:127.0.0.1:8899' && postfix reload
//! ```

use std::process::ExitCode;

use tamis::message::Headers;
use tamis::{Actions, BoxError, Context, Needs, Offer};
use tracing::info;

#[derive(Default)]
pub(crate) struct Hold {
    can_hold: bool,
}

#[tamis::filter(collect(headers))]
impl Hold {
    fn negotiate(&mut self, offer: &Offer, needs: Needs) -> Needs {
        self.can_hold = offer.actions.contains(Actions::QUARANTINE);
        info!("this MTA {} hold mail", if self.can_hold { "can" } else { "cannot" });
        needs.require(if self.can_hold { Actions::QUARANTINE } else { Actions::ADD_HEADERS })
    }

    fn end_of_message(&mut self, cx: &mut Context<'_, ()>) -> Result<(), BoxError> {
        let Some(why) = suspicion(cx.headers()?) else { return Ok(()) };
        if self.can_hold {
            cx.quarantine(why)?;
        } else {
            cx.headers_mut()?.append("X-Suspicious", why)?;
        }
        Ok(())
    }
}

fn suspicion(headers: &Headers) -> Option<String> {
    let domains = |name| {
        let mailboxes = headers.addresses(name).into_iter();
        mailboxes.filter_map(|mailbox| Some(mailbox.address.rsplit_once('@')?.1.to_lowercase()))
    };
    let from: Vec<_> = domains("From").collect();
    let other = domains("Reply-To").find(|domain| !from.contains(domain))?;
    // As the sender wrote it, so not for a header as it is.
    Some(format!("answers go to {}", other.escape_default()))
}

fn main() -> ExitCode {
    tamis_examples::run(|_peer| Hold::default())
}
