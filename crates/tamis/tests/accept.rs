//! Who may connect (E2).

mod common;

use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};

use common::frames::*;
use common::{Captured, Mta, Probe, Running, patient, serve_accepting, until, within};
use tamis::server::AllowList;
use tamis::{Peer, PeerAddress, SocketSpec};

/// Serves on a unix socket and a TCP port with an accept hook.
fn serve(
    hook: impl Fn(&Peer) -> Result<(), tamis::BoxError> + Send + Sync + 'static,
) -> (Running, std::net::SocketAddr) {
    let (probe, _notes) = Probe::quiet();
    serve_accepting(patient(), &probe, hook)
}

/// Whether an MTA is answered; one that is refused is closed without a word.
async fn is_served(mut mta: Mta) -> bool {
    let _ = mta.write_slowly(&offer()).await;
    within(mta.next()).await.is_some()
}

/// User and group of this process.
fn own() -> (u32, u32) {
    let process = std::fs::metadata("/proc/self").unwrap();
    (process.uid(), process.gid())
}

#[tokio::test]
async fn hook_sees_who_connects_before_there_is_a_filter() {
    let seen: Arc<Mutex<Vec<Peer>>> = Arc::default();
    let peers = seen.clone();
    let (server, address) = serve(move |peer| {
        peers.lock().unwrap().push(peer.clone());
        Ok(())
    });
    assert!(is_served(Mta::unix(&server.path).await).await);
    assert!(is_served(Mta::tcp(address).await).await);
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].address, PeerAddress::Unix(server.path.as_path().into()));
    let who = seen[0].credentials.unwrap();
    assert_eq!(((who.uid, who.gid), who.pid), (own(), i32::try_from(std::process::id()).ok()));
    assert!(matches!(seen[1].address, PeerAddress::Inet(peer) if peer.ip() == address.ip()));
    assert_eq!(seen[1].credentials, None);
    server.drain().await;
}

#[tokio::test]
async fn refused_connections_are_closed_counted_and_logged_with_the_reason() {
    let log = Captured::new("info");
    let (server, address) = serve(|peer| match peer.address {
        PeerAddress::Inet(_) => Err("not today".into()),
        PeerAddress::Unix(_) => Ok(()),
    });
    for _ in 0..5 {
        assert!(!is_served(Mta::tcp(address).await).await);
    }
    assert!(is_served(Mta::unix(&server.path).await).await);
    assert_eq!((server.counters.refused(), server.counters.accepted()), (5, 1));
    log.expect(&["WARN", "peer=127.0.0.1:", "connection refused: not today"]);
    assert!(log.count("connection refused") < 5, "{}", log.text());
    server.drain().await;
}

#[tokio::test]
async fn panic_of_the_hook_refuses_that_connection_alone() {
    let log = Captured::new("info");
    let (server, address) = serve(|peer| match peer.address {
        PeerAddress::Inet(_) => panic!("out of range"),
        PeerAddress::Unix(_) => Ok(()),
    });
    assert!(!is_served(Mta::tcp(address).await).await);
    log.expect(&["connection refused: the accept hook panicked: out of range"]);
    assert!(is_served(Mta::unix(&server.path).await).await);
    server.drain().await;
}

#[tokio::test]
async fn allow_list_judges_real_peers() {
    let (uid, gid) = own();
    let log = Captured::new("info");
    for (list, over_unix, over_tcp) in [
        (AllowList::new(), true, true),
        (AllowList::new().network("127.0.0.0/8".parse().unwrap()), true, true),
        (AllowList::new().network("192.0.2.0/24".parse().unwrap()), true, false),
        (AllowList::new().uid(uid), true, true),
        (AllowList::new().gid(gid), true, true),
        (AllowList::new().uid(uid + 1).gid(gid + 1), false, true),
    ] {
        let shown = format!("{list:?}");
        let (server, address) = serve(move |peer| Ok(list.check(peer)?));
        assert_eq!(is_served(Mta::unix(&server.path).await).await, over_unix, "{shown}");
        assert_eq!(is_served(Mta::tcp(address).await).await, over_tcp, "{shown}");
        until(|| server.counters.open() == 0).await;
        server.drain().await;
    }
    log.expect(&["peer=127.0.0.1:", "connection refused: its address is in no network that is allowed"]);
    log.expect(&[
        "peer=unix:",
        &format!("connection refused: neither user {uid} nor group {gid} is allowed"),
    ]);
}

#[tokio::test]
async fn ready_list_fits_the_hook() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listeners = tamis::bind(&[SocketSpec::Unix(path.clone())]).unwrap();
    let list = AllowList::new().uid(own().0 + 1);
    let (probe, _notes) = Probe::quiet();
    let server = tamis::Server::new(move |peer: &Peer| probe.for_connection(peer.id));
    let server = server.accept(move |peer| list.check(peer));
    let (counters, shutdown) = (server.counters(), tamis::Shutdown::new());
    let task = tokio::spawn(server.serve(listeners, shutdown.clone()));
    assert!(!is_served(Mta::unix(&path).await).await);
    assert_eq!(counters.refused(), 1);
    shutdown.stop();
    within(task).await.unwrap().unwrap();
}
