//! Who may reach the sockets, and how much of the machine they may take.

use std::net::IpAddr;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Group, User};
use tamis::Options;
use tamis::server::{AllowList, BindOptions, IpNet};

/// Permissions of sockets, who may connect, and limits.
#[derive(Debug, clap::Args)]
pub(super) struct Access {
    /// Permissions of unix sockets.
    #[arg(long, env = "TAMIS_SOCKET_MODE", value_name = "MODE", default_value = "0660", value_parser = mode)]
    socket_mode: u32,

    /// User that unix sockets belong to, by name or number; only root may choose.
    #[arg(long, env = "TAMIS_SOCKET_OWNER", value_name = "USER", value_parser = user)]
    socket_owner: Option<u32>,

    /// Group that unix sockets belong to, by name or number, such as the MTA's.
    #[arg(long, env = "TAMIS_SOCKET_GROUP", value_name = "GROUP", value_parser = group)]
    socket_group: Option<u32>,

    /// Network or address from which MTAs may connect over TCP, such as 192.0.2.0/24; may be given several times.
    /// Without it everybody may who reaches the port.
    #[arg(long, env = "TAMIS_ALLOW_NETWORK", value_name = "NETWORK", value_delimiter = ',', value_parser = network)]
    allow_network: Vec<IpNet>,

    /// User, by name or number, who may connect to unix sockets; may be given several times. Without users and
    /// groups everybody may who is allowed to write to the socket.
    #[arg(long, env = "TAMIS_ALLOW_UID", value_name = "USER", value_delimiter = ',', value_parser = user)]
    allow_uid: Vec<u32>,

    /// Group, by name or number, whose processes may connect to unix sockets; may be given several times.
    #[arg(long, env = "TAMIS_ALLOW_GID", value_name = "GROUP", value_delimiter = ',', value_parser = group)]
    allow_gid: Vec<u32>,

    /// Connections that may be open; one more is closed at once.
    #[arg(long, env = "TAMIS_MAX_CONNECTIONS", value_name = "NUMBER", default_value = "16000")]
    max_connections: usize,

    /// Connections of one address that may be open; all of unix sockets count as one address.
    #[arg(long, env = "TAMIS_MAX_CONNECTIONS_PER_PEER", value_name = "NUMBER", default_value = "12000")]
    max_connections_per_peer: usize,

    /// How long an MTA may be silent, in seconds or with s, m or h behind the number.
    #[arg(long, env = "TAMIS_IDLE_TIME", value_name = "TIME", default_value = "7210", value_parser = time)]
    idle_time: Duration,
}

impl Access {
    pub(super) fn sockets(&self) -> BindOptions {
        let mut sockets = BindOptions::default();
        sockets.unix_mode = self.socket_mode;
        sockets.unix_owner = self.socket_owner;
        sockets.unix_group = self.socket_group;
        sockets
    }

    pub(super) fn limit(&self, options: &mut Options) {
        options.max_connections = self.max_connections;
        options.max_connections_per_peer = self.max_connections_per_peer;
        options.idle_time = self.idle_time;
        raise_open_files(self.max_connections);
    }

    pub(super) fn allow_list(&self) -> AllowList {
        let list = self.allow_network.iter().copied().fold(AllowList::new(), AllowList::network);
        let list = self.allow_uid.iter().copied().fold(list, AllowList::uid);
        self.allow_gid.iter().copied().fold(list, AllowList::gid)
    }
}

/// Has the system let the process open a file for each connection, as far as it may.
fn raise_open_files(connections: usize) {
    /// Listeners, the log, the runtime, files that a filter reads.
    const OTHERS: u64 = 100;
    let wanted = (connections as u64).saturating_add(OTHERS);
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let raised = wanted.min(hard);
    if soft < raised && setrlimit(Resource::RLIMIT_NOFILE, raised, hard).is_err() || raised < wanted {
        let connections = soft.max(raised).saturating_sub(OTHERS);
        tracing::warn!(
            "the limit on open files lets {connections} connections be open, fewer than --max-connections"
        );
    }
}

fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text.strip_prefix("0o").unwrap_or(text), 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("a mode is three octal digits, such as 0660".to_owned()),
    }
}

fn user(text: &str) -> Result<u32, String> {
    number_or(text, "user", || Ok(User::from_name(text)?.map(|user| user.uid.as_raw())))
}

fn group(text: &str) -> Result<u32, String> {
    number_or(text, "group", || Ok(Group::from_name(text)?.map(|group| group.gid.as_raw())))
}

fn number_or(
    text: &str,
    what: &str,
    look_up: impl FnOnce() -> nix::Result<Option<u32>>,
) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    match look_up() {
        Ok(Some(number)) => Ok(number),
        Ok(None) => Err(format!("there is no {what} {text:?}")),
        Err(error) => Err(format!("cannot look up {what} {text:?}: {error}")),
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    match (text.parse::<IpNet>(), text.parse::<IpAddr>()) {
        (Ok(network), _) => Ok(network),
        (_, Ok(address)) => Ok(address.into()),
        _ => Err("write an address or a network, such as 192.0.2.0/24".to_owned()),
    }
}

fn time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|last: char| last.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => 0,
    };
    match digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)) {
        Some(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err("a time is a number of seconds, or a number with s, m or h, such as 2h".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_have_names_or_numbers() {
        assert_eq!((user("0"), user("root"), user("4711")), (Ok(0), Ok(0), Ok(4711)));
        assert_eq!((group("0"), group("root")), (Ok(0), Ok(0)));
        assert_eq!(user("no-such-user"), Err("there is no user \"no-such-user\"".to_owned()));
        assert_eq!(group("no-such-group"), Err("there is no group \"no-such-group\"".to_owned()));
    }

    #[test]
    fn networks_may_be_addresses() {
        assert_eq!(network("192.0.2.7").unwrap().to_string(), "192.0.2.7/32");
        assert_eq!(network("2001:db8::/32").unwrap().to_string(), "2001:db8::/32");
        assert!(network("example.com").is_err() && network("192.0.2.0/33").is_err());
    }

    #[test]
    fn times_have_units() {
        for (text, seconds) in [("7210", 7_210), ("30s", 30), ("5m", 300), ("2h", 7_200)] {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "0", "h", "1d", "1.5h", "-1", "99999999999999999999"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
