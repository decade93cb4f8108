//! Refuses mail of senders in a table, by address, domain or parent domain.
//!
//! Each line of the table has one of these, and a reason if there is more to say than "not allowed here"; lines that
//! start with `#` are comments. An address goes before its domain, and a line that says OK lets a sender pass.
//!
//! ```text
//! spam.example        too much advertising
//! bob@spam.example    OK
//! ```
//!
//! Behind Postfix:
//!
//! ```sh
//! cargo run -p tamis-examples --bin reject_sender -- --bind-port 8899 --table /etc/mail/refused
//! postconf -e 'smtpd_milters = inet:127.0.0.1:8899' && postfix reload
//! ```

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use tamis::message::Sender;
use tamis::{Server, Verdict};

#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// The file of refused senders.
    #[arg(long, env = "TAMIS_TABLE", value_name = "FILE")]
    pub(crate) table: PathBuf,
}

/// What is refused, in lower case, and why.
pub(crate) type Table = HashMap<String, String>;

pub(crate) struct RejectSender(pub(crate) Arc<Table>);

#[tamis::filter]
impl RejectSender {
    fn mail(&mut self, sender: &Sender) -> Verdict {
        match self.lookup(sender) {
            None | Some("OK") => Verdict::Continue,
            Some("") => Verdict::reject("5.7.1", "not allowed here"),
            Some(reason) => Verdict::reject("5.7.1", reason),
        }
    }
}

impl RejectSender {
    fn lookup(&self, sender: &Sender) -> Option<&str> {
        let domain = sender.domain()?;
        let address = format!("{}@{domain}", sender.local_part().to_lossy().to_lowercase());
        let parents = domain.match_indices('.').map(|(at, _)| &domain[at + 1..]);
        let mut keys = [address.as_str(), domain].into_iter().chain(parents);
        keys.find_map(|key| self.0.get(key)).map(String::as_str)
    }
}

pub(crate) fn read(path: &Path) -> Result<Table, String> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| format!("cannot read the table {}: {error}", path.display()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entries = lines.map(|line| line.split_once(char::is_whitespace).unwrap_or((line, "")));
    Ok(entries.map(|(key, reason)| (key.to_lowercase(), reason.trim().to_owned())).collect())
}

fn main() -> ExitCode {
    tamis_examples::run_with(|settings: Settings| {
        let table = Arc::new(read(&settings.table)?);
        Ok(Server::new(move |_: &_| RejectSender(table.clone())))
    })
}
