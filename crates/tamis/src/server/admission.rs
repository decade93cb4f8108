//! Who may connect while how many are connected.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::limits::Limit;
use super::throttle::Throttle;
use super::{Options, Shared};
use crate::filter::{Peer, PeerAddress};

/// The log lines about connections that have no place.
#[derive(Debug, Default)]
pub(super) struct Admission {
    total: Throttle,
    per_peer: Throttle,
}

/// The connections that are open, to all servers that count together.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    total: usize,
    /// Peers without a connection are not in it.
    peers: HashMap<Party, usize>,
}

/// Whose connections are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Party {
    Ip(IpAddr),
    /// Whoever uses unix sockets.
    Unix,
}

/// The place of a connection among all that are open; free again when it is dropped.
pub(super) struct Place {
    shared: Arc<Shared>,
    peer: Peer,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full(pub(super) Limit);

impl Party {
    fn of(address: &PeerAddress) -> Self {
        match address {
            PeerAddress::Inet(address) => Self::Ip(address.ip().to_canonical()),
            PeerAddress::Unix(_) => Self::Unix,
        }
    }
}

impl Places {
    fn open(&self) -> MutexGuard<'_, Open> {
        // Nothing in here panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, peer: Party, options: &Options) -> Result<(), Full> {
        let mut open = self.open();
        if open.total >= options.max_connections {
            return Err(Full(Limit::Connections));
        }
        let count = open.peers.get(&peer).copied().unwrap_or(0);
        if count >= options.max_connections_per_peer {
            return Err(Full(Limit::ConnectionsPerPeer));
        }
        open.total += 1;
        open.peers.insert(peer, count + 1);
        Ok(())
    }

    fn give_back(&self, peer: Party) {
        let mut open = self.open();
        open.total -= 1;
        if let Entry::Occupied(mut count) = open.peers.entry(peer) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl Place {
    /// Takes a place. If there is none, that is logged and counted.
    pub(super) fn take(shared: &Arc<Shared>, peer: Peer) -> Result<Self, Full> {
        let (admission, options) = (&shared.admission, &shared.options);
        if let Err(full) = shared.counters.places().take(Party::of(&peer.address), options) {
            shared.counters.exceed(full.0);
            let (throttle, what, limit) = match full.0 {
                Limit::ConnectionsPerPeer => {
                    (&admission.per_peer, " of this peer", options.max_connections_per_peer)
                }
                _ => (&admission.total, "", options.max_connections),
            };
            if let Some(more) = throttle.pass() {
                tracing::warn!(peer = %peer.address, "connection refused: {limit} connections{what} are open, the limit ({}){more}", full.0);
            }
            return Err(full);
        }
        Ok(Self { shared: shared.clone(), peer })
    }

    /// Whose it is.
    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.counters.closed();
        self.shared.counters.places().give_back(Party::of(&self.peer.address));
    }
}
