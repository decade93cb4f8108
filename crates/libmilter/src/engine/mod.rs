//! The threads that serve connections, and the one that `smfi_main` keeps for everything else.
//!
//! One epoll set has the listening socket and every connection on which nothing happens. All threads of the pool wait
//! on it; the kernel gives each ready connection to one of them, and to no other until it is armed again. That thread
//! reads, runs callbacks, writes the answers and comes back.

mod accept;
mod buffer;
mod main_loop;
mod pool;
mod serve;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tamis_proto::{FilterSession, Limits, Rules};

use crate::connection::Connection;
use crate::context::{Handle, SLOTS};
use crate::descr::Filter;
use crate::listen::Listener;
use crate::settings::Settings;
use crate::{log, process, sys};

pub(crate) use main_loop::run;

/// What all threads share.
pub(crate) struct Engine {
    filter: Arc<Filter>,
    settings: Settings,
    epoll: sys::Epoll,
    pool: pool::Pool,
    /// Connections that are open.
    connections: AtomicUsize,
    accepting: accept::Accepting,
}

/// Tokens of what is no connection: a generation is never 0.
const LISTENER: u64 = 0;
const LEAVE: u64 = 1;

impl Engine {
    fn new(filter: Arc<Filter>, settings: Settings, listener: Listener) -> std::io::Result<Self> {
        let epoll = sys::Epoll::new()?;
        epoll.add(listener.fd(), LISTENER)?;
        let pool = pool::Pool::new(settings.threads);
        Ok(Self {
            filter,
            settings,
            epoll,
            pool,
            connections: AtomicUsize::new(0),
            accepting: accept::Accepting::new(listener),
        })
    }

    /// The limits of sessions, with what the program has set by now.
    fn limits(&self) -> Arc<Limits> {
        let payload = process::max_data().max(self.settings.frame.unwrap_or(0));
        let mut limits = Limits::new();
        // libmilter has no bound but that of the packet, and stores nothing that these would bound.
        limits.payload = payload;
        limits.argument = usize::MAX;
        limits.macros = usize::MAX;
        limits.macro_bytes = usize::MAX;
        limits.headers = usize::MAX;
        limits.header_bytes = usize::MAX;
        limits.recipients = usize::MAX;
        Arc::new(limits)
    }

    fn open(&self, socket: std::os::fd::OwnedFd) {
        let session = FilterSession::new(Rules::libmilter(), self.limits());
        let connection = Box::new(Connection::new(socket, session));
        self.connections.fetch_add(1, Ordering::Relaxed);
        let Some(handle) = SLOTS.add(connection) else {
            self.connections.fetch_sub(1, Ordering::Relaxed);
            return log::error(format_args!("no room for another connection"));
        };
        let added =
            SLOTS.with(handle, |connection| self.epoll.add(connection.borrow_fd(), handle.to_token()));
        if let Some(Err(error)) = added {
            log::error(format_args!("cannot wait for a connection: {error}"));
            self.drop_connection(handle);
        }
    }

    /// Lets a connection go; its callbacks have been called.
    fn drop_connection(&self, handle: Handle) {
        let Some(connection) = SLOTS.remove(handle) else { return };
        if !connection.private.0.is_null() {
            log::error(format_args!(
                "private data of a connection is not NULL at its end: memory may be lost"
            ));
        }
        drop(connection);
        let open = self.connections.fetch_sub(1, Ordering::Relaxed) - 1;
        self.accepting.have_room(&self.epoll);
        if open == 0 && process::stopping() != process::Stop::No {
            process::ring();
        }
    }
}
