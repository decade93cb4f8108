//! A peer that speaks something else: what is logged about it, and the answer to an HTTP health check (B8).

use std::time::Duration;

use tamis_proto::{Stranger, trace};
use tokio::time::timeout;

use super::call;
use super::connection::Connection;
use super::lost::Lost;
use super::work::Work;
use crate::filter::Filter;

/// Most bytes of an HTTP request's head.
const HEAD: usize = 8 * 1024;

/// How long the head may take.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// How long the end of the connection is waited for, so that unread bytes do not take the answer with them.
const LINGER: Duration = Duration::from_secs(1);

/// What an HTTP client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    status: &'static str,
    body: &'static str,
    /// Without its body, for HEAD.
    bare: bool,
}

impl<F: Filter> Connection<F> {
    /// Deals with a stranger whose first bytes are in the buffer; `None` if there is nothing to complain about.
    pub(super) async fn meet(&mut self, work: &mut Work<F>, stranger: Stranger) -> Option<Lost> {
        let answer = match stranger {
            Stranger::HttpClient => self.answer_http(work).await,
            _ => None,
        };
        let line = work.buf[..].split(|byte| *byte == b'\n').next().unwrap_or_default();
        let said = trace::Text(line.strip_suffix(b"\r").unwrap_or(line)).to_string();
        match answer {
            Some(answer) if answer.status == PONG => {
                tracing::debug!("health check {said}");
                None
            }
            _ => Some(Lost::Stranger { stranger, said }),
        }
    }

    /// Answers an HTTP request, if its head comes in time.
    async fn answer_http(&mut self, work: &mut Work<F>) -> Option<Answer> {
        let shutdown = &self.shared.shutdown;
        let head = async {
            while !is_whole(&work.buf) && work.buf.len() <= HEAD {
                work.buf.reserve(1024);
                if !matches!(self.stream.read(&mut work.buf).await, Ok(1..)) {
                    return false;
                }
            }
            true
        };
        tokio::select! {
            biased;
            () = shutdown.stopped() => return None,
            whole = timeout(HEAD_TIME, head) => if !whole.unwrap_or(false) { return None },
        }
        let answer = answer(&work.buf);
        let text = answer.text();
        let write_time = self.shared.options.write_time;
        call::write(&self.stream, &mut text.as_bytes(), write_time, shutdown).await.ok()?;
        // What is said from here on is thrown away.
        let mut rest = bytes::BytesMut::new();
        let end = async {
            self.stream.finish()?;
            while self.stream.read(&mut rest).await? > 0 && rest.len() < HEAD * 8 {
                rest.reserve(4096);
            }
            std::io::Result::Ok(())
        };
        tokio::select! {
            biased;
            () = shutdown.stopped() => {}
            _ = timeout(LINGER, end) => {}
        }
        Some(answer)
    }
}

const PONG: &str = "200 OK";

/// Whether the empty line has come.
fn is_whole(request: &[u8]) -> bool {
    let window = |ending: &[u8]| request.windows(ending.len()).any(|bytes| bytes == ending);
    window(b"\r\n\r\n") || window(b"\n\n")
}

fn answer(request: &[u8]) -> Answer {
    const MILTER: &str = "This is the port of a milter. GET /ping is all that is answered here.\n";
    if !is_whole(request) {
        return Answer { status: "431 Request Header Fields Too Large", body: MILTER, bare: false };
    }
    let line = request.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let bare = method == b"HEAD";
    if !bare && method != b"GET" {
        return Answer { status: "405 Method Not Allowed", body: MILTER, bare };
    }
    match path {
        b"/ping" => Answer { status: PONG, body: "pong\n", bare },
        _ => Answer { status: "404 Not Found", body: MILTER, bare },
    }
}

impl Answer {
    fn text(self) -> String {
        let Self { status, body, bare } = self;
        let (length, body) = (body.len(), if bare { "" } else { body });
        let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n{allow}\
             Connection: close\r\n\r\n{body}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ping_is_there() {
        let status = |request: &[u8]| answer(request).status;
        for request in ["GET /ping HTTP/1.1\r\n\r\n", "HEAD /ping?x HTTP/1.0\r\n\r\n", "GET /ping\n\n"] {
            assert_eq!(status(request.as_bytes()), PONG, "{request:?}");
        }
        for request in ["GET / HTTP/1.1\r\n\r\n", "GET /pings HTTP/1.1\r\n\r\n", "GET\r\n\r\n"] {
            assert_eq!(status(request.as_bytes()), "404 Not Found", "{request:?}");
        }
        assert_eq!(status(b"POST /ping HTTP/1.1\r\n\r\n"), "405 Method Not Allowed");
        assert_eq!(status(b"GET /ping HTTP/1.1\r\nX: y"), "431 Request Header Fields Too Large");
    }

    #[test]
    fn an_answer_to_head_has_the_length_and_no_body() {
        let text = answer(b"HEAD /ping HTTP/1.1\r\n\r\n").text();
        assert!(text.contains("Content-Length: 5\r\n") && text.ends_with("\r\n\r\n"), "{text}");
    }
}
