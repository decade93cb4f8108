//! Who may connect: a hook for any rule, and the usual list.

use std::fmt;

use ipnet::IpNet;

use super::call;
use crate::filter::{BoxError, Peer, PeerAddress};

type Rule = dyn Fn(&Peer) -> Result<(), BoxError> + Send + Sync;

/// Asked about each connection before anything is read from it.
pub(super) struct Hook(Box<Rule>);

impl Hook {
    pub(super) fn new<E: Into<BoxError>>(
        hook: impl Fn(&Peer) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        Self(Box::new(move |peer| hook(peer).map_err(Into::into)))
    }

    /// Why the peer may not connect, if so. Whoever a hook panics about may not.
    pub(super) fn refuses(&self, peer: &Peer) -> Option<String> {
        match call::guard(|| (self.0)(peer)) {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(panic) => Some(format!("the accept hook panicked: {panic}")),
        }
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

/// A list of peers that may connect, for [`Server::accept`](super::Server::accept).
///
/// Networks are for TCP; users and groups, of which one is enough, for unix sockets. Where nothing is listed for a
/// kind of socket, everybody may connect to it.
///
/// ```
/// use tamis::server::AllowList;
///
/// # fn example(server: tamis::Server<impl Fn(&tamis::Peer) -> tamis::BoxFilter + Send + Sync + 'static>)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// let list = AllowList::new().network("192.0.2.0/24".parse()?).network("::1/128".parse()?).uid(103);
/// let server = server.accept(move |peer| list.check(peer));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct AllowList {
    networks: Vec<IpNet>,
    uids: Vec<u32>,
    gids: Vec<u32>,
}

/// A peer is not on the list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAllowed {
    /// No listed network has its address.
    #[error("its address is in no network that is allowed")]
    Address,
    /// Neither its user nor its group is listed.
    #[error("neither user {uid} nor group {gid} is allowed")]
    User {
        /// Effective user of the process when it connected.
        uid: u32,
        /// Effective group of it.
        gid: u32,
    },
    /// The system does not say who it is.
    #[error("the system does not say which user it is")]
    Unknown,
}

impl AllowList {
    /// Everybody may connect.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a network from which TCP connections may come.
    #[must_use]
    pub fn network(mut self, network: IpNet) -> Self {
        self.networks.push(network);
        self
    }

    /// Adds a user who may connect to unix sockets.
    #[must_use]
    pub fn uid(mut self, uid: u32) -> Self {
        self.uids.push(uid);
        self
    }

    /// Adds a group whose processes may connect to unix sockets. Only the one that a process runs with counts, as
    /// the system tells no other.
    #[must_use]
    pub fn gid(mut self, gid: u32) -> Self {
        self.gids.push(gid);
        self
    }

    /// Whether nobody is listed, so that everybody may connect.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && self.uids.is_empty() && self.gids.is_empty()
    }

    /// Checks a peer.
    ///
    /// # Errors
    ///
    /// Why it may not connect.
    pub fn check(&self, peer: &Peer) -> Result<(), NotAllowed> {
        match &peer.address {
            PeerAddress::Inet(address) => {
                let ip = address.ip().to_canonical();
                let listed = self.networks.iter().any(|network| network.contains(&ip));
                if self.networks.is_empty() || listed { Ok(()) } else { Err(NotAllowed::Address) }
            }
            PeerAddress::Unix(_) if self.uids.is_empty() && self.gids.is_empty() => Ok(()),
            PeerAddress::Unix(_) => {
                let who = peer.credentials.ok_or(NotAllowed::Unknown)?;
                let listed = self.uids.contains(&who.uid) || self.gids.contains(&who.gid);
                if listed { Ok(()) } else { Err(NotAllowed::User { uid: who.uid, gid: who.gid }) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::filter::Credentials;

    fn tcp(address: &str) -> Peer {
        Peer { id: 1, address: PeerAddress::Inet(address.parse().unwrap()), credentials: None }
    }

    fn unix(uid: u32, gid: u32) -> Peer {
        let credentials = Some(Credentials { uid, gid, pid: None });
        Peer { id: 1, address: PeerAddress::Unix(Path::new("").into()), credentials }
    }

    #[test]
    fn networks_are_for_tcp_and_users_for_unix_sockets() {
        let networks = AllowList::new().network("192.0.2.0/24".parse().unwrap());
        let networks = networks.network("2001:db8::/32".parse().unwrap());
        for (address, expected) in [
            ("192.0.2.255:1", Ok(())),
            ("192.0.3.0:1", Err(NotAllowed::Address)),
            ("[2001:db8:1::1]:1", Ok(())),
            ("[2001:db9::1]:1", Err(NotAllowed::Address)),
            ("[::ffff:192.0.2.1]:1", Ok(())),
        ] {
            assert_eq!(networks.check(&tcp(address)), expected, "{address}");
        }
        assert_eq!(networks.check(&unix(1, 1)), Ok(()), "nothing is listed for these");
        let users = AllowList::new().uid(103).gid(8);
        assert_eq!(users.check(&unix(103, 1)), Ok(()));
        assert_eq!(users.check(&unix(1, 8)), Ok(()));
        assert_eq!(users.check(&unix(8, 103)), Err(NotAllowed::User { uid: 8, gid: 103 }));
        let unknown = Peer { credentials: None, ..unix(0, 0) };
        assert_eq!(users.check(&unknown), Err(NotAllowed::Unknown));
        assert_eq!(users.check(&tcp("198.51.100.1:1")), Ok(()));
    }

    #[test]
    fn empty_list_allows_everybody() {
        let list = AllowList::new();
        assert!(list.is_empty());
        assert_eq!((list.check(&tcp("192.0.2.1:1")), list.check(&unix(0, 0))), (Ok(()), Ok(())));
    }
}
