//! What is wrong with a socket specification, and what to write instead.

use std::error::Error;
use std::fmt;

use super::MAX_PATH;

/// Says which part of a socket specification is wrong, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadSpec {
    /// There is nothing.
    Empty,
    /// Postfix's braces with settings for one filter.
    Braces {
        /// The address inside the braces; may be empty.
        address: String,
    },
    /// There is no colon, and it is no absolute path.
    NoProtocol {
        /// The whole text.
        text: String,
        /// What was probably meant.
        instead: String,
    },
    /// The word before the first colon is no protocol.
    UnknownProtocol {
        /// The word.
        word: String,
    },
    /// The path of a unix socket is empty.
    EmptyPath,
    /// The path of a unix socket holds a NUL.
    NulInPath,
    /// The path of a unix socket does not fit the system's socket address.
    PathTooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// A path behind a bare colon is not absolute.
    RelativePath {
        /// The path.
        path: String,
    },
    /// A path without a protocol word holds a colon.
    ColonInPath {
        /// The whole text.
        path: String,
    },
    /// The port is missing.
    MissingPort {
        /// The form to use.
        instead: &'static str,
    },
    /// The port is neither a number nor a service name.
    BadPort {
        /// The text in its place.
        port: String,
    },
    /// The port is larger than 65535.
    PortTooLarge {
        /// The digits.
        port: String,
    },
    /// The host is missing although its separator is there.
    MissingHost {
        /// The form to use.
        instead: &'static str,
    },
    /// The host is no host name.
    BadHost {
        /// The text in its place.
        host: String,
    },
    /// The host looks like an address and is none.
    BadAddress {
        /// The text in its place.
        address: String,
    },
    /// An IPv6 address stands where its end cannot be told from the port.
    BareV6 {
        /// The text.
        address: String,
    },
    /// The address is not of the family that the protocol word names.
    WrongFamily {
        /// The address.
        host: String,
        /// The protocol word.
        word: &'static str,
        /// The specification with the other word.
        instead: String,
    },
    /// Host and port changed places.
    Swapped {
        /// The specification the right way round.
        instead: String,
    },
}

impl BadSpec {
    pub(super) fn host(text: &str) -> Self {
        Self::BadHost { host: text.to_owned() }
    }

    /// `inside` is what follows the opening brace.
    pub(super) fn braces(inside: &str) -> Self {
        let address = inside.split([',', '}']).next().unwrap_or_default().trim();
        Self::Braces { address: address.to_owned() }
    }

    pub(super) fn no_protocol(text: &str) -> Self {
        let instead = if super::all_digits(text) {
            format!("\"inet:{text}\"")
        } else {
            format!("\"unix:{text}\" for a path, \"inet:port@{text}\" for a host")
        };
        Self::NoProtocol { text: text.to_owned(), instead }
    }
}

impl fmt::Display for BadSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str(
                "socket specification is empty: write \"inet:port@host\", \"inet6:port@[address]\" or \"unix:/path\"",
            ),
            Self::Braces { address } => {
                f.write_str("braces with settings are Postfix's: write only the address")?;
                if !address.is_empty() {
                    write!(f, ", {address:?},")?;
                }
                f.write_str(" and set timeouts and the default action in the options of this filter")
            }
            Self::NoProtocol { text, instead } => {
                write!(f, "socket specification {text:?} has no protocol word: write {instead}")
            }
            Self::UnknownProtocol { word } => write!(
                f,
                "unknown protocol word {word:?}: write \"inet:port@host\", \"inet6:port@[address]\" or \"unix:/path\""
            ),
            Self::EmptyPath => f.write_str("path of the unix socket is empty: write \"unix:/path\""),
            Self::NulInPath => f.write_str("path of the unix socket contains a NUL: write it without"),
            Self::PathTooLong { length } => write!(
                f,
                "path of the unix socket has {length} bytes and exceeds the limit of {MAX_PATH}: write a shorter one"
            ),
            Self::RelativePath { path } => write!(
                f,
                "path {path:?} behind a bare colon is not absolute: write \":/path\", or \"unix:{path}\" if it is \
                 meant to be relative"
            ),
            Self::ColonInPath { path } => {
                write!(f, "path {path:?} contains a colon: write \"unix:{path}\"")
            }
            Self::MissingPort { instead } => write!(f, "port is missing: write {instead:?}"),
            Self::BadPort { port } => write!(
                f,
                "port {port:?} is neither a number nor a service name: write a number from 0 to 65535, as in \
                 \"inet:8899@127.0.0.1\""
            ),
            Self::PortTooLarge { port } => {
                write!(f, "port {port} exceeds the limit of 65535: write a number from 0 to 65535")
            }
            Self::MissingHost { instead } => {
                write!(f, "host is missing: write {instead:?}, or \"inet:port\" to listen on every address")
            }
            Self::BadHost { host } => write!(
                f,
                "host {host:?} is not a host name: write a name, an IPv4 address, or an IPv6 address in brackets"
            ),
            Self::BadAddress { address } => write!(
                f,
                "host {address:?} is not an address: write one like \"127.0.0.1\" or \"[::1]\", or a name"
            ),
            Self::BareV6 { address } => write!(
                f,
                "{address:?} does not tell the IPv6 address from the port: write \"inet6:port@[address]\" or \
                 \"[address]:port\""
            ),
            Self::WrongFamily { host, word, instead } => {
                write!(f, "host {host} is not of the family {word:?}: write {instead:?}")
            }
            Self::Swapped { instead } => {
                write!(f, "host and port are in the wrong order: write {instead:?}")
            }
        }
    }
}

impl Error for BadSpec {}
