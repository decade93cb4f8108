//! Requests and their answers, over sockets.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;

use tamis::chain::Observer;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{members, passed, state};
use crate::admin::routes::ReloadSender;
use crate::admin::{Listeners, State, serve};
use crate::config::Admin;

/// A state that is shown at both sockets.
struct Shown {
    state: Arc<State>,
    folder: TempDir,
    address: std::net::SocketAddr,
    reload: mpsc::Receiver<oneshot::Sender<Result<String, String>>>,
    listeners: Option<Listeners>,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// An answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

fn admin(folder: &TempDir) -> Admin {
    let socket = folder.path().join("admin.sock").to_str().unwrap().to_owned();
    Admin { socket, metrics: "inet:0@127.0.0.1".to_owned(), history: 10 }
}

impl Shown {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listeners = Listeners::bind(&admin(&folder), None).unwrap();
        let address = listeners.metrics_address().unwrap();
        let state = state(members());
        let (sender, reload): (ReloadSender, _) = mpsc::channel(1);
        let (end, ended) = oneshot::channel();
        let until = async move { drop(ended.await) };
        let kept = Some(listeners.clone());
        let task = tokio::spawn(serve(state.clone(), listeners, sender, until));
        Self { state, folder, address, reload, listeners: kept, end, task }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("admin.sock")
    }

    async fn tcp(&self, request: &str) -> Answer {
        exchange(TcpStream::connect(self.address).await.unwrap(), request).await
    }

    async fn unix(&self, request: &str) -> Answer {
        exchange(UnixStream::connect(self.socket()).await.unwrap(), request).await
    }
}

/// Sends a request line, and reads to the end of the connection.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Answer {
    stream.write_all(format!("{request} HTTP/1.1\r\nHost: tamis\r\n\r\n").as_bytes()).await.unwrap();
    read(stream).await
}

async fn read(mut stream: impl AsyncRead + Unpin) -> Answer {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

#[tokio::test]
async fn over_tcp_there_are_metrics_and_health_and_nothing_about_messages() {
    let shown = Shown::new();
    shown.state.message(&passed("4Rx8Kq0Lz9z1"));
    let metrics = shown.tcp("GET /metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(
        metrics.head.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{metrics:?}"
    );
    assert!(metrics.body.ends_with("# EOF\n") && !metrics.body.contains("4Rx8"), "{metrics:?}");
    let health = shown.tcp("GET /healthz").await;
    assert_eq!((health.status, &*health.body), (200, "ok\n"));
    for request in ["GET /records", "GET /records/4Rx8Kq0Lz9z1", "POST /reload", "GET /", "GET /metrics/x"] {
        assert_eq!(shown.tcp(request).await.status, 404, "{request}");
    }
}

#[tokio::test]
async fn readiness_says_why_not() {
    let shown = Shown::new();
    let starting = shown.tcp("GET /readyz").await;
    assert_eq!((starting.status, &*starting.body), (503, "starting: nothing is listened on yet\n"));
    shown.state.set_ready(true);
    assert_eq!(shown.tcp("GET /readyz").await.status, 200);
    assert_eq!(shown.unix("GET /readyz").await.status, 200);
    shown.state.set_ready(false);
    let draining = shown.tcp("GET /readyz?verbose").await;
    assert!(draining.status == 503 && draining.body.starts_with("draining: "), "{draining:?}");
    assert_eq!(shown.tcp("GET /healthz").await.status, 200, "the process lives");
}

#[tokio::test]
async fn other_methods_are_refused_and_told_which_are_not() {
    let shown = Shown::new();
    for path in ["/metrics", "/healthz", "/readyz"] {
        let answer = shown.tcp(&format!("DELETE {path}")).await;
        assert!(answer.status == 405 && answer.head.contains("allow: get, head"), "{answer:?}");
    }
    let answer = shown.unix("GET /reload").await;
    assert!(answer.status == 405 && answer.head.contains("allow: post"), "{answer:?}");
    assert_eq!(shown.unix("POST /records").await.status, 405);
    let head = shown.tcp("HEAD /metrics").await;
    assert_eq!((head.status, &*head.body), (200, ""));
}

#[tokio::test]
async fn records_are_found_over_the_unix_socket() {
    let shown = Shown::new();
    for id in ["a", "b/c ü", "a"] {
        shown.state.message(&passed(id));
    }
    let numbers = |answer: &Answer| -> Vec<u64> {
        let value: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        value["records"].as_array().unwrap().iter().map(|record| record["number"].as_u64().unwrap()).collect()
    };
    for (path, expected) in [
        ("/records", &[1, 2, 3][..]),
        ("/records?limit=2", &[2, 3]),
        ("/records?limit=99999999999", &[1, 2, 3]),
        ("/records?number=2", &[2]),
        ("/records/a", &[1, 3]),
        ("/records/b%2Fc%20%C3%BC", &[2]),
    ] {
        let answer = shown.unix(&format!("GET {path}")).await;
        assert_eq!((answer.status, &numbers(&answer)[..]), (200, expected), "{path}");
    }
    for path in ["/records/d", "/records/", "/records?number=4"] {
        let answer = shown.unix(&format!("GET {path}")).await;
        assert_eq!((answer.status, numbers(&answer).len()), (404, 0), "{path}");
        assert!(answer.body.contains("\"kept\":3,\"history\":100,\"since\":\"20"), "{answer:?}");
    }
    for path in ["/records?limit=ten", "/records?number=-1", "/records?last=3", "/records?limit"] {
        assert_eq!(shown.unix(&format!("GET {path}")).await.status, 400, "{path}");
    }
}

#[tokio::test]
async fn a_reload_is_asked_for_and_its_findings_are_told() {
    let mut shown = Shown::new();
    for (said, status, reloaded) in [(Ok("a warning"), 200, true), (Err("a mistake"), 422, false)] {
        let answer = async {
            let asked = shown.reload.recv().await.unwrap();
            asked.send(said.map(str::to_owned).map_err(str::to_owned)).unwrap();
        };
        let stream = UnixStream::connect(shown.folder.path().join("admin.sock")).await.unwrap();
        let (response, ()) = tokio::join!(exchange(stream, "POST /reload"), answer);
        assert_eq!(response.status, status);
        let value: serde_json::Value = serde_json::from_str(&response.body).unwrap();
        assert_eq!(value["reloaded"], reloaded);
        assert_eq!(value["findings"], said.unwrap_or_else(|mistake| mistake));
    }
    shown.reload.close();
    let answer = shown.unix("POST /reload").await;
    assert!(answer.status == 503 && answer.body.contains("reloads no more"), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn clients_that_say_nothing_or_little_make_way_for_others() {
    let shown = Shown::new();
    let mut slow = Vec::new();
    for _ in 0..64 {
        let mut stream = TcpStream::connect(shown.address).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nX-Slow: ").await.unwrap();
        slow.push(stream);
    }
    // Its turn comes when the time of those before it is over.
    assert_eq!(shown.tcp("GET /healthz").await.status, 200);
    for mut stream in slow {
        let mut rest = Vec::new();
        // Closed, with or without a word.
        let _ = stream.read_to_end(&mut rest).await;
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{rest:?}");
    }
}

#[tokio::test]
async fn requests_that_are_too_long_or_none_are_refused() {
    let shown = Shown::new();
    let long = shown.tcp(&format!("GET /{}", "x".repeat(20_000))).await;
    assert!((400..500).contains(&long.status), "{long:?}");
    let many = "\r\nX-Other: x".repeat(100);
    let mut stream = TcpStream::connect(shown.address).await.unwrap();
    stream.write_all(format!("GET /metrics HTTP/1.1{many}\r\n\r\n").as_bytes()).await.unwrap();
    assert_eq!(read(stream).await.status, 431);
    let none = shown.tcp("\0\0\0\rO").await;
    assert_eq!(none.status, 400);
    assert_eq!(shown.tcp("GET /healthz").await.status, 200);
}

#[tokio::test]
async fn the_admin_socket_is_for_its_owner_and_goes_away_at_the_end() {
    let mut shown = Shown::new();
    shown.listeners = None;
    let path = shown.socket();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let names = || fs::read_dir(shown.folder.path()).unwrap().count();
    assert_eq!(names(), 1, "nothing is left of how it was made");
    let taken = Listeners::bind(&admin(&shown.folder), None).unwrap_err();
    assert!(taken.ends_with("admin.sock: it is in use by another process"), "{taken}");
    shown.end.send(()).unwrap();
    shown.task.await.unwrap();
    assert_eq!(fs::read_dir(shown.folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn sockets_that_stay_are_taken_over_and_whoever_asked_for_that_is_answered() {
    let mut shown = Shown::new();
    let before = shown.listeners.take().unwrap();
    let path = shown.folder.path().join("other.sock");
    let wanted = Admin { socket: path.to_str().unwrap().to_owned(), ..admin(&shown.folder) };
    let stream = UnixStream::connect(shown.socket()).await.unwrap();
    let reload = async {
        let asked = shown.reload.recv().await.unwrap();
        let listeners = before.rebind(&wanted, None).unwrap();
        assert_eq!(listeners.metrics_address(), Some(shown.address));
        drop(before);
        shown.task.abort();
        let (sender, _) = mpsc::channel(1);
        tokio::spawn(serve(shown.state.clone(), listeners, sender, std::future::pending()));
        asked.send(Ok(String::new())).unwrap();
    };
    let (answer, ()) = tokio::join!(exchange(stream, "POST /reload"), reload);
    assert_eq!(answer.status, 200);
    let answer = exchange(TcpStream::connect(shown.address).await.unwrap(), "GET /healthz").await;
    assert_eq!(answer.status, 200);
    let answer = exchange(UnixStream::connect(&path).await.unwrap(), "GET /records").await;
    assert_eq!(answer.status, 200);
    let _ = (&mut shown.task).await;
    assert!(!shown.socket().exists());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_file_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let listeners = Listeners::bind(&admin(&folder), None).unwrap();
    drop(listeners);
    fs::write(&path, "").unwrap();
    let error = Listeners::bind(&admin(&folder), None).unwrap_err();
    assert!(error.contains("is not a socket"), "{error}");
    let nowhere = Admin { socket: "/no/such/folder/s".to_owned(), metrics: String::new(), history: 0 };
    let error = Listeners::bind(&nowhere, None).unwrap_err();
    assert_eq!(error, "cannot make the admin socket /no/such/folder/s: its folder does not exist");
}
