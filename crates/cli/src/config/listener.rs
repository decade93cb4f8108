//! A socket that MTAs connect to.

use std::net::IpAddr;

use nix::unistd::{Group, User};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tamis::SocketSpec;
use tamis::server::{AllowList, BindOptions, IpNet};
use tamis_filters::config::Build;

/// A socket that MTAs connect to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listener {
    /// `inet:8899@127.0.0.1`, `inet6:8899@[::1]` or `unix:/run/tamis/milter.sock`. With systemd's socket activation:
    /// `systemd:NAME`, the name that its unit has in `FileDescriptorName=`.
    pub(crate) socket: String,
    /// Permissions of a unix socket.
    #[serde(default = "default_mode")]
    pub(crate) mode: String,
    /// User, by name or number, that a unix socket belongs to; only root may choose. Empty: the process's.
    #[serde(default)]
    pub(crate) owner: String,
    /// Group that a unix socket belongs to, such as the MTA's: `"postfix"`. Empty: the process's.
    #[serde(default)]
    pub(crate) group: String,
    /// Networks and addresses from which MTAs may connect over TCP. Empty: everybody may who reaches the port.
    #[serde(default)]
    pub(crate) allow_networks: Vec<String>,
    /// Users, by name or number, who may connect to a unix socket. With no users and groups, everybody may who is allowed
    /// to write to the socket.
    #[serde(default)]
    pub(crate) allow_users: Vec<String>,
    /// Groups whose processes may connect to a unix socket.
    #[serde(default)]
    pub(crate) allow_groups: Vec<String>,
}

/// Where a listener's socket comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is made.
    Spec(SocketSpec),
    /// The one of this name is handed over by systemd.
    Passed(String),
}

fn default_mode() -> String {
    "0660".to_owned()
}

impl Default for Listener {
    /// Where `tamis serve` listens if nothing is said.
    fn default() -> Self {
        Self {
            socket: "inet:8899@127.0.0.1".to_owned(),
            mode: default_mode(),
            owner: String::new(),
            group: String::new(),
            allow_networks: Vec::new(),
            allow_users: Vec::new(),
            allow_groups: Vec::new(),
        }
    }
}

impl Listener {
    /// Where its socket comes from.
    ///
    /// # Errors
    ///
    /// When it is the address of no socket.
    pub(crate) fn place(&self) -> Result<Place, String> {
        match self.socket.strip_prefix("systemd:") {
            Some("") => Err("a name stands behind `systemd:`, that of FileDescriptorName=".to_owned()),
            Some(name) => Ok(Place::Passed(name.to_owned())),
            None => self
                .socket
                .parse()
                .map(Place::Spec)
                .map_err(|error| format!("{:?} is no socket: {error}", self.socket)),
        }
    }

    /// How a unix socket is made.
    ///
    /// # Errors
    ///
    /// When there is no such user or group.
    pub(crate) fn bind_options(&self) -> Result<BindOptions, String> {
        let mut options = BindOptions::default();
        options.unix_mode = mode(&self.mode)?;
        options.unix_owner = optional(&self.owner, user)?;
        options.unix_group = optional(&self.group, group)?;
        Ok(options)
    }

    /// Who may connect.
    ///
    /// # Errors
    ///
    /// When there is no such network, user or group.
    pub(crate) fn allow_list(&self) -> Result<AllowList, String> {
        let mut list = AllowList::new();
        for text in &self.allow_networks {
            list = list.network(network(text)?);
        }
        for text in &self.allow_users {
            list = list.uid(user(text)?);
        }
        for text in &self.allow_groups {
            list = list.gid(group(text)?);
        }
        Ok(list)
    }

    pub(super) fn check(&self, earlier: &[Self], build: &mut Build) {
        build.within("socket", |build| {
            build.ok(self.place());
            if earlier.iter().any(|other| other.socket == self.socket) {
                build.mistake(format_args!("{:?} is listened on already, further up", self.socket));
            }
        });
        let unix = matches!(self.place(), Ok(Place::Spec(SocketSpec::Unix(_))));
        let tcp = matches!(self.place(), Ok(Place::Spec(SocketSpec::Inet { .. } | SocketSpec::Inet6 { .. })));
        build.within("mode", |build| build.ok(mode(&self.mode)));
        for (key, text, look_up) in
            [("owner", &self.owner, user as fn(&str) -> _), ("group", &self.group, group)]
        {
            build.within(key, |build| {
                build.ok(optional(text, look_up));
                if tcp && !text.is_empty() {
                    build.warning("this is for unix sockets, and has no effect here");
                }
            });
        }
        let lists = [
            ("allow_networks", &self.allow_networks, (|text| network(text).map(drop)) as fn(&str) -> _, unix),
            ("allow_users", &self.allow_users, |text| user(text).map(drop), tcp),
            ("allow_groups", &self.allow_groups, |text| group(text).map(drop), tcp),
        ];
        for (key, texts, read, idle) in lists {
            build.within(key, |build| {
                for (place, text) in texts.iter().enumerate() {
                    build.within(place, |build| build.ok(read(text)));
                }
                if idle && !texts.is_empty() {
                    build.warning("this is for another kind of socket, and has no effect here");
                }
            });
        }
    }
}

fn optional(text: &str, look_up: impl Fn(&str) -> Result<u32, String>) -> Result<Option<u32>, String> {
    if text.is_empty() { Ok(None) } else { look_up(text).map(Some) }
}

/// Permissions in octal digits.
///
/// # Errors
///
/// When it is something else.
pub(crate) fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text.strip_prefix("0o").unwrap_or(text), 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("a mode is three octal digits, such as 0660".to_owned()),
    }
}

/// The number of a user.
///
/// # Errors
///
/// When there is none of this name.
pub(crate) fn user(text: &str) -> Result<u32, String> {
    number_or(text, "user", || Ok(User::from_name(text)?.map(|user| user.uid.as_raw())))
}

/// The number of a group.
///
/// # Errors
///
/// When there is none of this name.
pub(crate) fn group(text: &str) -> Result<u32, String> {
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

/// A network or an address.
///
/// # Errors
///
/// When it is something else.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
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
