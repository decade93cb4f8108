//! Asks a slow service about each client at the end of a message, and adds its answer as `X-Reputation`.
//!
//! Meanwhile Tamis tells the MTA every second to keep waiting, as `--log-level tamis::wire=trace` shows; at the
//! deadline the lookup is dropped and the client is told to try again. Behind Postfix:
//!
//! ```sh
//! cargo run -p tamis-examples --bin slow_lookup -- --bind-port 8899 --lookup-time 20 --deadline 60
//! postconf -e 'smtpd_milters = inet:127.0.0.1:8899' && postfix reload
//! ```

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use tamis::message::Client;
use tamis::{BoxError, Context, Options, Server, Verdict};
use tracing::info;

#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Settings {
    /// How many seconds the lookup takes.
    #[arg(long, env = "TAMIS_LOOKUP_TIME", value_name = "SECONDS", default_value = "20")]
    pub(crate) lookup_time: u64,

    /// After how many seconds nobody waits for it any more; Postfix and Sendmail wait 300.
    #[arg(long, env = "TAMIS_DEADLINE", value_name = "SECONDS", default_value = "60")]
    pub(crate) deadline: u64,
}

impl Settings {
    pub(crate) fn options(self) -> Options {
        let mut options = Options::default();
        options.progress_every = Duration::from_secs(1);
        options.end_of_message_time = Duration::from_secs(self.deadline);
        options.on_failure = Verdict::tempfail("4.3.0", "the lookup takes too long, try again later");
        options
    }
}

pub(crate) struct SlowLookup(pub(crate) Settings);

#[tamis::filter(collect(envelope), require(add_headers))]
impl SlowLookup {
    async fn end_of_message(&mut self, cx: &mut Context<'_, ()>) -> Result<(), BoxError> {
        let Some(ip) = cx.envelope()?.client().and_then(Client::ip) else { return Ok(()) };
        info!("looking up {ip}");
        let answer = self.lookup(ip).await?;
        info!("{ip} is {answer}");
        Ok(cx.add_header("X-Reputation", answer)?)
    }
}

impl SlowLookup {
    /// Stands for what asks a database or a web service.
    async fn lookup(&self, ip: IpAddr) -> Result<&'static str, BoxError> {
        tokio::time::sleep(Duration::from_secs(self.0.lookup_time)).await;
        Ok(if ip.is_loopback() { "local" } else { "unknown" })
    }
}

fn main() -> ExitCode {
    tamis_examples::run_with(|settings: Settings| {
        Ok(Server::new(move |_: &_| SlowLookup(settings)).options(settings.options()))
    })
}
