//! Peers that speak something else: what the log says about them, and what health checks are answered (B8).

mod common;

use std::time::Duration;

use common::frames::{connect, helo, message};
use common::{Captured, Probe, Running, patient, serve_probe, serve_tcp, within};
use tamis::SocketSpec;
use tamis::client::{Client, ClientError};
use tamis::proto::{MtaConfig, Profile, Stranger};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

/// Says these pieces, with a pause between them, and returns what comes back until the connection is closed.
async fn say(server: &Running, pieces: &[&[u8]]) -> String {
    let mut stream = UnixStream::connect(&server.path).await.unwrap();
    for piece in pieces {
        stream.write_all(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut said = String::new();
    within(stream.read_to_string(&mut said)).await.unwrap();
    said
}

/// Serves a filter that is good for nothing but being asked.
fn server() -> Running {
    serve_probe(patient(), &Probe::quiet().0)
}

async fn still_serves(server: &Running) {
    let mut mta = server.mta().await;
    mta.go([connect(), helo("h")]).await;
    mta.go(message("<>")).await;
    mta.quit().await;
}

#[tokio::test]
async fn the_log_says_who_it_is_and_what_to_change() {
    let log = Captured::new("info");
    let server = server();
    let strangers: [(&[u8], &[&str]); 6] = [
        (b"EHLO mail.example\r\n", &["SMTP client", "smtpd_milters", "EHLO mail.example"]),
        (b"zINSTREAM\0", &["clamd", "zINSTREAM\\\\x00"]),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", &["TLS client", "without TLS"]),
        (b"request=smtpd_access_policy\n", &["policy service", "check_policy_service"]),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", &["PROXY header", "send-proxy"]),
        (b"hello\x1b[2J\r\n", &["some other program", "hello\\\\x1b[2J"]),
    ];
    for (said, words) in strangers {
        assert_eq!(say(&server, &[said]).await, "", "nobody but HTTP is answered");
        let words: Vec<_> = words.iter().map(|word| word.replace("\\\\", "\\")).collect();
        let mut words: Vec<_> = words.iter().map(String::as_str).collect();
        words.extend(["WARN", "connection ended"]);
        log.expect(&words);
    }
    assert_eq!(log.count("exceeds the limit"), 0);
    still_serves(&server).await;
    server.drain().await;
}

#[tokio::test]
async fn a_length_above_the_limit_that_is_no_text_is_still_told_as_such() {
    let log = Captured::new("info");
    let server = server();
    assert_eq!(say(&server, &[&[0x00, 0x20, 0, 0, b'O']]).await, "");
    log.expect(&["frame of 2097151 bytes exceeds the limit of 1048575"]);
    server.drain().await;
}

#[tokio::test]
async fn ping_is_answered_and_no_cause_for_a_warning() {
    let log = Captured::new("info");
    let server = server();
    let pong = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\
                Connection: close\r\n\r\npong\n";
    assert_eq!(say(&server, &[b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"]).await, pong);
    assert_eq!(say(&server, &[b"HEAD /ping HTTP/1.1\r\nHost: x\r\n\r\n"]).await, &pong[..pong.len() - 5]);
    assert_eq!(log.text(), "");
    still_serves(&server).await;
    server.drain().await;
}

#[tokio::test]
async fn a_request_may_come_in_pieces() {
    let server = server();
    let request: Vec<&[u8]> = b"GET /ping HTTP/1.1\r\n\r\n".chunks(1).collect();
    assert!(say(&server, &request).await.ends_with("\r\n\r\npong\n"));
    server.drain().await;
}

#[tokio::test]
async fn other_pages_do_not_exist() {
    let log = Captured::new("info");
    let server = server();
    for path in ["/", "/metrics", "/ping/x"] {
        let said = say(&server, &[format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()]).await;
        assert!(said.starts_with("HTTP/1.1 404 ") && said.contains("milter"), "{said}");
    }
    log.expect(&["WARN", "HTTP client", "GET /metrics HTTP/1.1"]);
    server.drain().await;
}

#[tokio::test]
async fn a_head_without_end_is_answered_and_closed() {
    let server = server();
    let endless = ["GET /ping HTTP/1.1\r\n", &"X: y\r\n".repeat(2_000)].concat();
    assert!(say(&server, &[endless.as_bytes()]).await.starts_with("HTTP/1.1 431 "));
    still_serves(&server).await;
    server.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_is_not_waited_for_long() {
    let server = server();
    let begun = tokio::time::Instant::now();
    assert_eq!(say(&server, &[b"GET /ping HTTP/1.1\r\n"]).await, "");
    assert!(begun.elapsed() < Duration::from_secs(6));
    server.drain().await;
}

#[tokio::test]
async fn an_answer_arrives_although_not_all_of_the_request_was_read() {
    let (server, address) = serve_tcp(patient(), &Probe::quiet().0);
    for _ in 0..20 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = ["POST /ping HTTP/1.1\r\nContent-Length: 30000\r\n\r\n", &"x".repeat(30_000)].concat();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut said = String::new();
        within(stream.read_to_string(&mut said)).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 405 ") && said.contains("\r\nAllow: GET, HEAD\r\n"), "{said}");
    }
    server.drain().await;
}

#[tokio::test]
async fn stopping_does_not_wait_for_half_a_request() {
    let server = server();
    let mut stream = UnixStream::connect(&server.path).await.unwrap();
    stream.write_all(b"GET /ping HTTP/1.1\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    server.shutdown.stop();
    within(server.ended()).await;
}

#[tokio::test]
async fn the_mtas_side_says_who_answered_instead_of_a_filter() {
    let answers: [(&[u8], Stranger); 3] = [
        (b"220 mail.example ESMTP\r\n", Stranger::SmtpServer),
        (b"UNKNOWN COMMAND\n", Stranger::Clamd),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Stranger::HttpServer),
    ];
    for (said, expected) in answers {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let spec: SocketSpec =
            format!("inet:{}@127.0.0.1", listener.local_addr().unwrap().port()).parse().unwrap();
        let answering = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(said).await.unwrap();
            stream
        };
        let (client, _stream) = within(async {
            tokio::join!(Client::connect(&spec, MtaConfig::new(Profile::Postfix)), answering)
        })
        .await;
        match client.map(drop) {
            Err(ClientError::Stranger { stranger, .. }) => assert_eq!(stranger, expected),
            other => panic!("{other:?}"),
        }
    }
}
