//! Everything around a filter: an MTA, told where the filter listens, and a sink behind it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use crate::case::Config;
use crate::host::Listen;
use crate::mta::{Kind, Mta};
use crate::port;
use crate::sink::Sink;
use crate::{postfix, sendmail};

/// An MTA between a filter's address and a sink.
#[derive(Debug)]
pub struct Site {
    /// The MTA; stopped before the sink goes.
    pub mta: Box<dyn Mta>,
    /// Where the MTA delivers.
    pub sink: Sink,
    /// Where the filter must listen.
    pub listen: Listen,
}

impl Site {
    /// Starts all but the filter.
    ///
    /// # Panics
    ///
    /// As [`postfix::Builder::start`] and [`sendmail::Builder::start`].
    pub fn start(config: &Config) -> Self {
        match config.mta {
            Kind::Postfix => Self::start_postfix(config),
            Kind::Sendmail => Self::start_sendmail(config, 1).0,
        }
    }

    /// Starts all but two filters, both on TCP ports; the second one must listen where the address says.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn start_for_two(config: &Config) -> (Self, Listen) {
        match config.mta {
            Kind::Postfix => {
                let ports = [port::free(), port::free()];
                let milters = ports.map(|address| format!("inet:{address}")).join(" ");
                let mut config = config.clone();
                config.settings.push(("smtpd_milters".to_owned(), milters));
                let site = Self { listen: Listen::Tcp(ports[0]), ..Self::start_postfix(&config) };
                (site, Listen::Tcp(ports[1]))
            }
            Kind::Sendmail => {
                let (site, mut filters) = Self::start_sendmail(config, 2);
                (site, filters.remove(1))
            }
        }
    }

    fn start_postfix(config: &Config) -> Self {
        const SOCKET: &str = "tamis.sock";
        let sink = Sink::start();
        let mut builder = postfix::Builder::new(sink.address()).chroot(config.chroot);
        for (name, value) in &config.settings {
            builder = builder.setting(name, value);
        }
        if config.unix_socket {
            let postfix = builder.milter_unix(SOCKET).start();
            let listen = postfix.socket(SOCKET);
            Self { mta: Box::new(postfix), sink, listen }
        } else {
            let address = port::free();
            let postfix = builder.milter_tcp(address).start();
            Self { mta: Box::new(postfix), sink, listen: Listen::Tcp(address) }
        }
    }

    fn start_sendmail(config: &Config, filters: usize) -> (Self, Vec<Listen>) {
        let sink = Sink::start();
        let mut builder = sendmail::Builder::new(sink.address());
        for (name, value) in &config.settings {
            builder = builder.setting(name, value);
        }
        for _ in 0..filters {
            builder = if config.unix_socket { builder.milter_unix() } else { builder.milter_tcp() };
        }
        let sendmail = builder.start();
        let filters = sendmail.filters().to_vec();
        (Self { mta: Box::new(sendmail), sink, listen: filters[0].clone() }, filters)
    }
}

/// Sites that are ready for the next case of their configuration.
#[derive(Debug, Default)]
pub struct Sites(Mutex<VecDeque<(Config, Site)>>);

/// Idle instances that are kept; a Postfix is a dozen processes.
const KEPT: usize = 3;

impl Sites {
    /// Takes an idle site of this configuration, or starts one.
    ///
    /// # Panics
    ///
    /// As [`Site::start`].
    pub fn take(&self, config: &Config) -> Site {
        let mut idle = self.idle();
        if let Some((_, site)) = idle.iter().position(|(of, _)| of == config).and_then(|at| idle.remove(at)) {
            return site;
        }
        drop(idle);
        Site::start(config)
    }

    /// Keeps a site for another case; the one that was idle longest goes if there are too many.
    pub fn put_back(&self, config: &Config, site: Site) {
        let mut idle = self.idle();
        idle.push_back((config.clone(), site));
        let stopped = if idle.len() > KEPT { idle.pop_front() } else { None };
        drop(idle);
        drop(stopped);
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<(Config, Site)>> {
        self.0.lock().expect("nobody panics with the list")
    }
}
