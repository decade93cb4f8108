//! Adds `X-Client-Address` to each message: the address that the client has for the MTA, whatever headers claim.
//!
//! Fields of that name that the message has already are forged, and removed. Behind Postfix:
//!
//! ```sh
//! cargo run -p tamis-examples --bin client_header -- --bind-port 8899
//! postconf -e 'smtpd_milters = inet:127.0.0.1:8899' && postfix reload
//! ```

use std::process::ExitCode;

use tamis::message::Client;
use tamis::{BoxError, Context};

const NAME: &str = "X-Client-Address";

pub(crate) struct ClientHeader;

#[tamis::filter(collect(envelope, headers), require(add_headers, change_headers))]
impl ClientHeader {
    fn end_of_message(&mut self, cx: &mut Context<'_, ()>) -> Result<(), BoxError> {
        let ip = cx.envelope()?.client().and_then(Client::ip);
        // IPv4 comes as it is, also over a socket for IPv6. A client on a unix socket has no address.
        let address = ip.map_or_else(|| "unknown".to_owned(), |ip| ip.to_canonical().to_string());
        let headers = cx.headers_mut()?;
        headers.remove_all(NAME)?;
        headers.prepend(NAME, address)?;
        Ok(())
    }
}

fn main() -> ExitCode {
    tamis_examples::run(|_peer| ClientHeader)
}
