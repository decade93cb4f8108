//! A Postfix that several filters can be put to in either way.

use std::net::SocketAddr;

use crate::case::Config;
use crate::host::Listen;
use crate::mta::Mta;
use crate::postfix::{Builder, Postfix};
use crate::sink::Sink;

/// The sockets of filters on connections of their own, in order.
const SOCKETS: [&str; 4] = ["1.sock", "2.sock", "3.sock", "4.sock"];
const CHAIN: &str = "chain.sock";
/// A server for fewer than two would be no comparison.
const FEWEST: usize = 2;

/// A Postfix with an SMTP server for the chain, and one for each number of separate filters.
#[derive(Debug)]
pub struct ChainSite {
    postfix: Postfix,
    sink: Sink,
}

impl ChainSite {
    /// Starts all but the filters.
    ///
    /// # Panics
    ///
    /// As [`Builder::start`].
    pub fn start(config: &Config) -> Self {
        let sink = Sink::start();
        let mut builder = Builder::new(sink.address()).milter_unix(CHAIN);
        for count in FEWEST..=SOCKETS.len() {
            builder = builder.server(&SOCKETS[..count]);
        }
        for (name, value) in &config.settings {
            builder = builder.setting(name, value);
        }
        Self { postfix: builder.start(), sink }
    }

    /// The server that calls a chain, and where the chain must listen.
    pub fn chain(&self) -> (SocketAddr, Listen) {
        (self.postfix.smtp(), self.postfix.socket(CHAIN))
    }

    /// The server that calls so many filters one after the other, and where they must listen.
    ///
    /// # Panics
    ///
    /// Where there is no server for that many.
    pub fn separate(&self, count: usize) -> (SocketAddr, Vec<Listen>) {
        let sockets = SOCKETS[..count].iter().map(|name| self.postfix.socket(name));
        (self.postfix.others()[count - FEWEST], sockets.collect())
    }

    /// Postfix itself.
    pub fn mta(&self) -> &dyn Mta {
        &self.postfix
    }

    /// Where it delivers.
    pub fn sink(&self) -> &Sink {
        &self.sink
    }
}
