//! Ports for the servers of a test.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that the kernel gives to outgoing connections, so that none of those can take one of ours
/// while its server is being restarted.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

/// The kernel's number for the state of a socket that listens.
const LISTEN: &str = "0A";

static NEXT: AtomicU16 = AtomicU16::new(0);

/// Returns an address on loopback where nobody listens, never the same twice in one process.
///
/// # Panics
///
/// When no port is free.
pub fn free() -> SocketAddr {
    let start = u16::try_from(std::process::id() * 97 % u32::from(COUNT)).expect("less than COUNT");
    for _ in 0..COUNT {
        let port = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}

/// Tells whether somebody listens at this address, without connecting to it.
pub fn is_listening(address: SocketAddr) -> bool {
    let table = if address.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    let port = format!(":{:04X}", address.port());
    fs::read_to_string(table).is_ok_and(|table| {
        table.lines().any(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            let local = fields.next().is_some_and(|local| local.ends_with(&port));
            local && fields.nth(1) == Some(LISTEN)
        })
    })
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use super::*;

    #[test]
    fn ports_differ_and_can_be_bound() {
        let (one, two) = (free(), free());
        assert_ne!(one, two);
        TcpListener::bind(one).unwrap();
    }

    #[test]
    fn listeners_are_seen_without_connecting() {
        for loopback in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            let listener = TcpListener::bind((loopback, 0)).unwrap();
            let address = listener.local_addr().unwrap();
            assert!(is_listening(address));
            drop(listener);
            assert!(!is_listening(address));
        }
    }
}
