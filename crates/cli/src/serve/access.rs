//! Who may reach the sockets.

use tamis::server::{AllowList, BindOptions, IpNet};

use crate::config::{group, mode, network, user};

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
