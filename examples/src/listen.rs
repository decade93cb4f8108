//! Where MTAs connect: host and port, or sockets in the syntax of `tamis serve`.

use anyhow::{Result, anyhow};
use clap::ArgMatches;
use clap::parser::ValueSource;
use tamis::SocketSpec;
use tamis::proto::address::Port;
use tamis::server::Listener;

/// The flags. The command line wins over the environment, and `--listen` over the others.
#[derive(Debug, clap::Args)]
pub(crate) struct Sockets {
    /// The host to listen on: an address or a name.
    #[arg(long, env = "TAMIS_BIND_HOST", value_name = "HOST", default_value = "127.0.0.1")]
    bind_host: String,

    /// The port to listen on; 0 takes a free one.
    #[arg(long, env = "TAMIS_BIND_PORT", value_name = "PORT", default_value = "8899")]
    bind_port: u16,

    /// Where to listen instead, with commas between several: unix:/run/filter.sock, inet:8899@127.0.0.1
    #[arg(long, env = "TAMIS_LISTEN", value_name = "SOCKET", value_delimiter = ',')]
    listen: Vec<String>,
}

/// A flag as its user knows it.
struct Given {
    name: &'static str,
    source: Option<ValueSource>,
}

impl Sockets {
    /// The sockets that are meant.
    ///
    /// # Errors
    ///
    /// When one is misspelt. `--listen` beside another flag, both on the command line, ends the program as wrong usage.
    pub(crate) fn specs(&self, matches: &ArgMatches) -> Result<Vec<SocketSpec>> {
        let given = |id, name| Given { name, source: matches.value_source(id) };
        let listen = given("listen", "listen");
        let others = [given("bind_host", "bind-host"), given("bind_port", "bind-port")];
        let strongest = others.iter().filter(|other| other.is_given()).max_by_key(|other| other.by_hand());
        match strongest {
            Some(other) if listen.by_hand() && other.by_hand() => usage(&format!(
                "--listen and --{} both say where to listen: leave one of them out",
                other.name
            )),
            Some(other) if listen.is_given() && other.by_hand() => {
                tracing::warn!("--{} wins: {listen} is ignored", other.name);
            }
            _ if !listen.is_given() => {}
            other => {
                if let Some(other) = other {
                    tracing::warn!("{listen} wins: {other} is ignored");
                }
                return self.listen.iter().map(|text| spec(text.trim())).collect();
            }
        }
        // In brackets, as a colon separates the port.
        let host = self.bind_host.trim_matches(['[', ']']);
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        Ok(vec![spec(&format!("{host}:{}", self.bind_port))?])
    }
}

impl Given {
    fn by_hand(&self) -> bool {
        self.source == Some(ValueSource::CommandLine)
    }

    fn is_given(&self) -> bool {
        matches!(self.source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
    }
}

/// As it was given.
impl std::fmt::Display for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.by_hand() {
            write!(f, "--{}", self.name)
        } else {
            write!(f, "TAMIS_{}", self.name.to_uppercase().replace('-', "_"))
        }
    }
}

fn usage(text: &str) -> ! {
    clap::Error::raw(clap::error::ErrorKind::ArgumentConflict, format!("{text}\n")).exit()
}

fn spec(text: &str) -> Result<SocketSpec> {
    text.parse().map_err(|error| anyhow!("cannot listen on {text:?}: {error}"))
}

/// The address that MTAs connect to: with the port in use where any was asked for.
pub(crate) fn address(listener: &Listener) -> SocketSpec {
    let mut spec = listener.spec().clone();
    if let (SocketSpec::Inet { port, .. } | SocketSpec::Inet6 { port, .. }, Some(address)) =
        (&mut spec, listener.local_addr())
        && *port == Port::Number(0)
    {
        *port = Port::Number(address.port());
    }
    spec
}
