//! Who may reach the sockets.

use std::net::IpAddr;

use nix::unistd::{Group, User};
use tamis::server::{AllowList, BindOptions, IpNet};

/// Permissions of sockets, and who may connect.
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
}

impl Access {
    pub(super) fn sockets(&self) -> BindOptions {
        let mut sockets = BindOptions::default();
        sockets.unix_mode = self.socket_mode;
        sockets.unix_owner = self.socket_owner;
        sockets.unix_group = self.socket_group;
        sockets
    }

    pub(super) fn allow_list(&self) -> AllowList {
        let list = self.allow_network.iter().copied().fold(AllowList::new(), AllowList::network);
        let list = self.allow_uid.iter().copied().fold(list, AllowList::uid);
        self.allow_gid.iter().copied().fold(list, AllowList::gid)
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
}
