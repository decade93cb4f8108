//! Puts `[outside]` before the subject of mail from outside: from clients in no network of ours that did not log in.
//!
//! Decoded, looked at and encoded again, as a subject may be in any charset. Behind Postfix:
//!
//! ```sh
//! cargo run -p tamis-examples --bin tag_outside -- --bind-port 8899 --inside 127.0.0.0/8,192.0.2.0/24
//! postconf -e 'smtpd_milters = inet:127.0.0.1:8899' && postfix reload
//! ```

use std::process::ExitCode;
use std::sync::Arc;

use tamis::message::Client;
use tamis::server::IpNet;
use tamis::{BoxError, Context, Server};

const TAG: &str = "[outside]";

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Settings {
    /// Our own networks, with commas.
    #[arg(long, env = "TAMIS_INSIDE", value_name = "NETWORKS", value_delimiter = ',')]
    #[arg(default_value = "127.0.0.0/8,::1/128")]
    pub(crate) inside: Vec<IpNet>,
}

pub(crate) struct TagOutside {
    settings: Arc<Settings>,
}

#[tamis::filter(collect(envelope, headers), require(add_headers, change_headers))]
impl TagOutside {
    fn end_of_message(&mut self, cx: &mut Context<'_, ()>) -> Result<(), BoxError> {
        let client = cx.envelope()?.client();
        if cx.facts().is_authenticated() || client.is_some_and(|client| self.is_inside(client)) {
            return Ok(());
        }
        let headers = cx.headers_mut()?;
        let subject = headers.subject().unwrap_or_default();
        // An answer to an answer has the tag already.
        if !subject.contains(TAG) {
            headers.set_subject(format!("{TAG} {subject}").trim_end())?;
        }
        Ok(())
    }
}

impl TagOutside {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self { settings }
    }

    /// Clients on a unix socket are on this machine.
    fn is_inside(&self, client: &Client) -> bool {
        let contains = |ip| self.settings.inside.iter().any(|network| network.contains(&ip));
        client.unix_path().is_some() || client.ip().is_some_and(|ip| contains(ip.to_canonical()))
    }
}

fn main() -> ExitCode {
    tamis_examples::run_with(|settings: Settings| {
        let settings = Arc::new(settings);
        Ok(Server::new(move |_: &_| TagOutside::new(settings.clone())))
    })
}
