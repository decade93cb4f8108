//! Sockets: every kind and syntax, what can go wrong, and what is left behind (D1–D5, B11).

mod common;

use std::fs;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use common::frames::*;
use common::{Mta, Probe, patient, within};
use tamis::server::{BindError, BindOptions, Listener, bind_with};
use tamis::{PeerAddress, Server, Shutdown, SocketSpec};
use tempfile::TempDir;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("filter.sock");
    (folder, path)
}

fn unix(path: &Path) -> SocketSpec {
    SocketSpec::Unix(path.to_owned())
}

fn spec(text: &str) -> SocketSpec {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[track_caller]
fn refused(spec: &SocketSpec) -> BindError {
    match tamis::bind(std::slice::from_ref(spec)) {
        Ok(_) => panic!("{spec} was bound"),
        Err(error) => error,
    }
}

/// Serves a message on each listener; returns where the filter thinks its MTAs are.
async fn served(listeners: Vec<Listener>) -> Vec<PeerAddress> {
    let addresses: Vec<_> =
        listeners.iter().map(|listener| (listener.local_addr(), listener.spec().clone())).collect();
    let (peers, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let shutdown = Shutdown::new();
    let (probe, _notes) = Probe::quiet();
    let make = move |peer: &tamis::Peer| {
        peers.send(peer.address.clone()).unwrap();
        probe.for_connection(peer.id)
    };
    let task = tokio::spawn(Server::new(make).options(patient()).serve(listeners, shutdown.clone()));
    for (address, spec) in addresses {
        let mut mta = match (address, spec) {
            (Some(address), _) => Mta::tcp(address).await,
            (None, SocketSpec::Unix(path)) => Mta::unix(&path).await,
            (None, spec) => panic!("{spec} has no address"),
        };
        mta.negotiate().await;
        mta.go([connect(), helo("h")]).await;
        mta.go(message("<>")).await;
        mta.quit().await;
    }
    shutdown.drain();
    within(task).await.unwrap().unwrap();
    let mut peers = Vec::new();
    while let Some(peer) = seen.recv().await {
        peers.push(peer);
    }
    peers
}

fn loopback_v6() -> SocketAddr {
    let address = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    TcpListener::bind(address)
        .expect("this host has no IPv6 loopback address ::1, which the tests of IPv6 need");
    address
}

#[tokio::test]
async fn several_listeners_of_all_kinds_serve_at_once() {
    loopback_v6();
    let (_folder, path) = folder();
    let specs = [spec("inet:0@127.0.0.1"), spec("inet6:0@[::1]"), unix(&path), spec("inet:0@127.0.0.1")];
    let peers = served(tamis::bind(&specs).unwrap()).await;
    assert_eq!(peers.len(), 4);
    assert!(matches!(&peers[0], PeerAddress::Inet(peer) if peer.is_ipv4()), "{peers:?}");
    assert!(matches!(&peers[1], PeerAddress::Inet(peer) if peer.is_ipv6()), "{peers:?}");
    assert_eq!(peers[2], PeerAddress::Unix(path.as_path().into()));
    assert!(matches!(&peers[3], PeerAddress::Inet(peer) if peer.is_ipv4()), "{peers:?}");
}

#[tokio::test]
async fn every_syntax_of_a_tcp_address_is_listened_on() {
    loopback_v6();
    for text in ["inet:0@127.0.0.1", "inet:0@[127.0.0.1]", "inet:0@localhost", "inet:0", "INET:0@127.0.0.1"] {
        let listeners = tamis::bind(&[spec(text)]).unwrap_or_else(|error| panic!("{text}: {error}"));
        let address = listeners[0].local_addr().unwrap();
        assert!(address.is_ipv4() && address.port() != 0, "{text}: {address}");
        assert_eq!(served(listeners).await.len(), 1, "{text}");
    }
    for text in ["inet6:0@[::1]", "inet6:0@::1", "inet6:0"] {
        let listeners = tamis::bind(&[spec(text)]).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(listeners[0].local_addr().unwrap().is_ipv6(), "{text}");
        assert_eq!(served(listeners).await.len(), 1, "{text}");
    }
}

#[tokio::test]
async fn host_first_and_short_forms_are_listened_on() {
    // These have no way to ask for a free port, so one is found before.
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for form in ["inet:127.0.0.1:PORT", "127.0.0.1:PORT", "inet:localhost:PORT", "inet:PORT@127.0.0.1"] {
        let text = form.replace("PORT", &free().to_string());
        let listeners = tamis::bind(&[spec(&text)]).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(served(listeners).await.len(), 1, "{text}");
    }
}

#[tokio::test]
async fn every_syntax_of_a_unix_socket_is_listened_on() {
    for prefix in ["unix:", "local:", ":", "", "UNIX:"] {
        let (_folder, path) = folder();
        let text = format!("{prefix}{}", path.display());
        let listeners = tamis::bind(&[spec(&text)]).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(listeners[0].local_addr(), None);
        assert_eq!(served(listeners).await, [PeerAddress::Unix(path.into())], "{text}");
    }
}

#[tokio::test]
async fn both_families_listen_on_one_port() {
    loopback_v6();
    let first = tamis::bind(&[spec("inet6:0")]).unwrap();
    let port = first[0].local_addr().unwrap().port();
    tamis::bind(&[spec(&format!("inet:{port}@127.0.0.1"))]).unwrap();
}

#[tokio::test]
async fn ports_in_use_are_said_to_be() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!("inet:{}@127.0.0.1", taken.local_addr().unwrap().port());
    let error = refused(&spec(&text));
    assert!(matches!(error, BindError::InUse(_)), "{error}");
    assert_eq!(error.to_string(), format!("cannot listen on {text}: it is in use by another process"));
}

#[tokio::test]
async fn unix_socket_in_use_is_left_alone() {
    let (_folder, path) = folder();
    let owner = UnixListener::bind(&path).unwrap();
    assert!(matches!(refused(&unix(&path)), BindError::InUse(_)));
    // It still answers, and nothing was left beside it.
    std::os::unix::net::UnixStream::connect(&path).unwrap();
    owner.accept().unwrap();
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[tokio::test]
async fn unix_socket_whose_owner_is_too_busy_to_accept_is_in_use() {
    let (_folder, path) = folder();
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(0).unwrap();
    // One fits, and whoever comes next would wait for ever.
    let _waiting = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let spec = unix(&path);
    let refused = within(tokio::task::spawn_blocking({
        let runtime = tokio::runtime::Handle::current();
        move || {
            let _entered = runtime.enter();
            refused(&spec)
        }
    }))
    .await
    .unwrap();
    assert!(matches!(refused, BindError::InUse(_)), "{refused}");
}

#[tokio::test]
async fn stale_unix_socket_is_replaced() {
    let (_folder, path) = folder();
    drop(UnixListener::bind(&path).unwrap());
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
    let listeners = tamis::bind(&[unix(&path)]).unwrap();
    assert_eq!(served(listeners).await.len(), 1);
}

#[tokio::test]
async fn files_that_are_no_sockets_are_left_alone() {
    let (folder, path) = folder();
    fs::write(&path, "precious").unwrap();
    let error = refused(&unix(&path));
    assert!(matches!(error, BindError::NotASocket(_)), "{error}");
    assert!(error.to_string().contains("is not a socket; remove it or choose another path"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    assert!(matches!(refused(&unix(folder.path())), BindError::NotASocket(_)));
}

#[tokio::test]
async fn missing_and_forbidden_folders_are_named() {
    let (folder, _) = folder();
    let missing = folder.path().join("missing");
    let error = refused(&unix(&missing.join("filter.sock"))).to_string();
    let expected = format!("creating a file in {}: No such file or directory", missing.display());
    assert!(error.contains(&expected), "{error}");
    assert!(error.contains(&format!("; there is no folder {}; ", missing.display())), "{error}");
    // Nobody, whoever they are, may create files there.
    let error = refused(&spec("unix:/sys/filter.sock")).to_string();
    assert!(error.contains("creating a file in /sys: "), "{error}");
    assert!(["Permission denied", "not permitted"].iter().any(|text| error.contains(text)), "{error}");
}

#[tokio::test]
async fn hosts_and_services_that_do_not_exist_are_named() {
    let error = refused(&spec("inet:no-such-service@127.0.0.1")).to_string();
    assert!(error.contains("service no-such-service is not in"), "{error}");
    let error = refused(&spec("inet:0@no-such-host.invalid")).to_string();
    assert!(error.contains("host no-such-host.invalid has no IPv4 address"), "{error}");
}

#[tokio::test]
async fn none_is_listened_on_when_one_fails() {
    let (_folder, path) = folder();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = spec(&format!("inet:{}@127.0.0.1", taken.local_addr().unwrap().port()));
    assert!(tamis::bind(&[unix(&path), busy]).is_err());
    assert!(!path.exists());
}

#[tokio::test]
async fn socket_is_never_seen_with_another_mode_or_before_it_listens() {
    let (folder, path) = folder();
    let done = AtomicBool::new(false);
    let runtime = tokio::runtime::Handle::current();
    let seen = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = 0;
            while !done.load(Ordering::Relaxed) {
                let Ok(found) = fs::symlink_metadata(&path) else { continue };
                assert_eq!(found.permissions().mode() & 0o777, 0o606);
                seen += 1;
                // Refused is what a socket says that does not listen.
                if seen < 100 {
                    std::os::unix::net::UnixStream::connect(&path).unwrap();
                }
            }
            seen
        });
        let _entered = runtime.enter();
        let mut options = BindOptions::default();
        options.unix_mode = 0o606;
        let listener = bind_with(&[unix(&path)], options).unwrap();
        let begin = std::time::Instant::now();
        while begin.elapsed() < std::time::Duration::from_millis(100) {
            std::thread::yield_now();
        }
        done.store(true, Ordering::Relaxed);
        let seen = watcher.join().unwrap();
        drop(listener);
        seen
    });
    assert!(seen > 0);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "temporary names are gone");
}

#[tokio::test]
async fn leftover_temporary_name_is_stepped_over() {
    let (folder, path) = folder();
    let left = folder.path().join(format!(".t{:x}.0", std::process::id()));
    let _other = UnixListener::bind(&left).unwrap();
    let listeners = tamis::bind(&[unix(&path)]).unwrap();
    assert!(left.exists(), "it may be somebody else's");
    assert_eq!(served(listeners).await.len(), 1);
}

#[tokio::test]
async fn socket_of_somebody_else_is_not_removed_at_the_end() {
    let (_folder, path) = folder();
    let listeners = tamis::bind(&[unix(&path)]).unwrap();
    fs::remove_file(&path).unwrap();
    let _successor = UnixListener::bind(&path).unwrap();
    drop(listeners);
    assert!(path.exists());
    // One's own is.
    let (_folder, path) = folder();
    let listeners = tamis::bind(&[unix(&path)]).unwrap();
    assert!(path.exists());
    drop(listeners);
    assert!(!path.exists());
}

#[tokio::test]
async fn socket_has_the_owner_and_group_that_were_asked_for() {
    let (_folder, path) = folder();
    let own = fs::metadata("/proc/self").unwrap();
    let mut options = BindOptions::default();
    // Giving it to oneself is what everybody may do, giving it away only root.
    let root = own.uid() == 0;
    let (uid, gid) = if root { (12_345, 23_456) } else { (own.uid(), own.gid()) };
    (options.unix_owner, options.unix_group) = (Some(uid), Some(gid));
    let listeners = bind_with(&[unix(&path)], options).unwrap();
    let made = fs::symlink_metadata(&path).unwrap();
    assert_eq!((made.uid(), made.gid(), made.mode() & 0o777), (uid, gid, 0o660));
    drop(listeners);
    if !root {
        options.unix_owner = Some(0);
        let error = bind_with(&[unix(&path)], options).unwrap_err().to_string();
        assert!(error.contains("giving it to user 0"), "{error}");
        assert!(error.ends_with("; only root may give a file away"), "{error}");
        assert!(!path.exists());
    }
}
