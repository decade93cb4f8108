//! Who is talking, where the first bytes of a peer are not the milter protocol at all.
//!
//! What should be the length of a frame is then text, and "frame of 1162364999 bytes" tells an administrator
//! nothing. The length of a frame that is accepted never begins like any of these, so nothing here is asked
//! before a frame was refused.

use std::fmt;

use crate::error::{Error, Fault, Role};

/// A program that speaks something else. Its [`Display`](fmt::Display) says who it is and what to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stranger {
    /// Asks for a page: a browser, a health check, a scraper.
    HttpClient,
    /// Delivers mail.
    SmtpClient,
    /// Asks clamd or spamd for a verdict.
    ScannerClient,
    /// Asks a Postfix policy service.
    PolicyClient,
    /// Begins a TLS session.
    TlsClient,
    /// Logs in.
    SshClient,
    /// A proxy that tells for whom it connects.
    ProxyHeader,
    /// A mail server that waits for mail.
    SmtpServer,
    /// A web server.
    HttpServer,
    /// clamd.
    Clamd,
    /// A TLS server.
    TlsServer,
    /// An SSH server.
    SshServer,
    /// Text, and nobody known.
    Text,
}

use Stranger::{
    Clamd, HttpClient, HttpServer, PolicyClient, ProxyHeader, ScannerClient, SmtpClient, SmtpServer,
    SshClient, SshServer, TlsClient, TlsServer,
};

/// How those begin who connect to a filter.
const CALLERS: &[(&[u8], Stranger)] = &[
    (b"GET ", HttpClient),
    (b"HEAD ", HttpClient),
    (b"POST ", HttpClient),
    (b"PUT ", HttpClient),
    (b"DELETE ", HttpClient),
    (b"OPTIONS ", HttpClient),
    (b"CONNECT ", HttpClient),
    (b"PRI * ", HttpClient),
    (b"EHLO", SmtpClient),
    (b"HELO", SmtpClient),
    (b"LHLO", SmtpClient),
    (b"MAIL", SmtpClient),
    (b"QUIT", SmtpClient),
    (b"NOOP", SmtpClient),
    (b"RSET", SmtpClient),
    (b"STARTTLS", SmtpClient),
    // clamd's commands come plain, or with a letter for the kind of line end before them.
    (b"PING", ScannerClient),
    (b"zPING", ScannerClient),
    (b"nPING", ScannerClient),
    (b"VERSION", ScannerClient),
    (b"zVERSION", ScannerClient),
    (b"nVERSION", ScannerClient),
    (b"STREAM", ScannerClient),
    (b"INSTREAM", ScannerClient),
    (b"zINSTREAM", ScannerClient),
    (b"nINSTREAM", ScannerClient),
    (b"zIDSESSION", ScannerClient),
    (b"nIDSESSION", ScannerClient),
    (b"SCAN ", ScannerClient),
    (b"zSCAN ", ScannerClient),
    (b"nSCAN ", ScannerClient),
    (b"CONTSCAN ", ScannerClient),
    // spamd's.
    (b"CHECK ", ScannerClient),
    (b"SYMBOLS ", ScannerClient),
    (b"PROCESS ", ScannerClient),
    (b"REPORT", ScannerClient),
    (b"request=", PolicyClient),
    (b"\x16\x03", TlsClient),
    (b"SSH-", SshClient),
    (b"PROXY ", ProxyHeader),
    (b"\r\n\r\n\0\r\nQUIT\n", ProxyHeader),
];

/// How those begin whom an MTA connects to.
const CALLED: &[(&[u8], Stranger)] = &[
    (b"220 ", SmtpServer),
    (b"220-", SmtpServer),
    (b"421 ", SmtpServer),
    (b"500 ", SmtpServer),
    (b"554 ", SmtpServer),
    (b"554-", SmtpServer),
    (b"HTTP/", HttpServer),
    (b"UNKNOWN COMMAND", Clamd),
    (b"\x15\x03", TlsServer),
    (b"\x16\x03", TlsServer),
    (b"SSH-", SshServer),
];

/// Bytes that look like text are enough to say so.
const TEXT: usize = 4;

impl Stranger {
    /// Guesses who sent the bytes that a session refused with `error`, if they are the first of the session.
    ///
    /// ```
    /// use tamis_proto::{FilterSession, Stranger};
    ///
    /// let error = FilterSession::default().next(b"EHLO mail.example\r\n").unwrap_err();
    /// assert_eq!(Stranger::guess(&error, b"EHLO mail.example\r\n"), Some(Stranger::SmtpClient));
    /// ```
    pub fn guess(error: &Error, bytes: &[u8]) -> Option<Self> {
        if error.offset != 0 || !matches!(error.fault, Fault::FrameTooLong { .. }) {
            return None;
        }
        let known = match error.peer {
            Role::Mta => CALLERS,
            Role::Filter => CALLED,
        };
        // The first read may have brought a part only.
        let begins = |start: &[u8]| {
            let count = start.len().min(bytes.len());
            start[..count] == bytes[..count]
        };
        let found = known.iter().find(|(start, _)| begins(start));
        found.map(|(_, stranger)| *stranger).or_else(|| is_text(bytes).then_some(Self::Text))
    }
}

fn is_text(bytes: &[u8]) -> bool {
    let printable = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    bytes.len() >= TEXT && bytes[..TEXT].iter().all(printable)
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HttpClient => {
                "this is an HTTP client: the port is for milters; GET /ping is all that is answered on it"
            }
            Self::SmtpClient => {
                "this is an SMTP client: the port is for milters; in Postfix it belongs in smtpd_milters, \
                 not in relayhost, content_filter or transport_maps"
            }
            Self::ScannerClient => {
                "this is a client of clamd or spamd: the port is for milters; give that program the port of \
                 its scanner"
            }
            Self::PolicyClient => {
                "this is Postfix asking a policy service: the port is for milters; in Postfix it belongs in \
                 smtpd_milters, not behind check_policy_service"
            }
            Self::TlsClient => {
                "this is a TLS client: milters are spoken without TLS; leave it off there, or put a program \
                 that ends it in between"
            }
            Self::SshClient => "this is an SSH client: the port is for milters",
            Self::ProxyHeader => {
                "this is a proxy that begins with a PROXY header: switch send-proxy off there, MTAs tell the \
                 client's address themselves"
            }
            Self::SmtpServer => {
                "this is an SMTP server, not a milter: look for the milter's port, not that of the mail server"
            }
            Self::HttpServer => "this is a web server, not a milter: look for the milter's own port",
            Self::Clamd => "this is clamd, not a milter: use the socket of clamav-milter (MilterSocket)",
            Self::TlsServer => {
                "this is a TLS server: milters are spoken without TLS; use a port where nothing expects it"
            }
            Self::SshServer => "this is an SSH server, not a milter",
            Self::Text => "this is text, not the milter protocol: some other program has the wrong port",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FilterSession, Limits};

    fn caller(bytes: &[u8]) -> Option<Stranger> {
        Stranger::guess(&FilterSession::default().next(bytes).unwrap_err(), bytes)
    }

    #[test]
    fn every_known_start_is_no_frame_and_is_recognised_from_its_first_four_bytes_on() {
        for (start, stranger) in CALLERS {
            for end in 4..=start.len() {
                let guessed = caller(&start[..end]);
                assert!(guessed.is_some(), "{stranger:?}, {end} bytes");
            }
            let mut whole = start.to_vec();
            whole.extend(b" and more\r\n");
            assert_eq!(caller(&whole), Some(*stranger));
        }
    }

    #[test]
    fn those_who_are_called_are_told_from_those_who_call() {
        let error = |fault| Error { peer: Role::Filter, fault, code: None, state: "fresh", offset: 0 };
        let too_long = error(Fault::FrameTooLong { length: 1 << 30, limit: 10 });
        for (start, stranger) in CALLED {
            assert_eq!(Stranger::guess(&too_long, start), Some(*stranger));
        }
        assert_eq!(Stranger::guess(&too_long, b"EHLO x"), Some(Stranger::Text));
        assert_eq!(Stranger::guess(&error(Fault::EmptyFrame), b"220 x"), None);
    }

    #[test]
    fn starts_of_tls_and_text_by_their_first_bytes() {
        assert_eq!(caller(b"\x16\x03\x01\x02\x00\x01"), Some(Stranger::TlsClient));
        assert_eq!(caller(b"*1\r\n$4\r\nPING"), Some(Stranger::Text));
        assert_eq!(caller(&[0xff; 8]), None);
        assert_eq!(caller(&[0x20, 0, 0, 0]), None);
    }

    #[test]
    fn nobody_is_a_stranger_after_a_frame() {
        let mut session = FilterSession::default();
        let offer = [0, 0, 0, 13, b'O', 0, 0, 0, 6, 0, 0, 1, 0xff, 0, 0x1f, 0xff, 0xff];
        let (used, _) = session.next(&offer).unwrap();
        session.negotiate(&crate::Needs::new()).unwrap();
        let error = session.next(b"GET / HTTP/1.1\r\n").unwrap_err();
        assert_eq!((error.offset, used), (17, 17));
        assert_eq!(Stranger::guess(&error, b"GET / HTTP/1.1\r\n"), None);
    }

    #[test]
    fn a_frame_within_the_limit_is_waited_for_whatever_it_looks_like() {
        let mut session = FilterSession::new(crate::Rules::default(), Limits::new().with_payload(1 << 31));
        assert_eq!(session.next(b"GET / HTTP/1.1\r\n\r\n"), Ok((0, None)));
    }
}
