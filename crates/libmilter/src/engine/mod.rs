//! The threads that serve connections, and the one that `smfi_main` keeps for everything else.
//!
//! One epoll set has the listening socket and every connection. All threads of the pool wait on it; the kernel tells one
//! of them when something came. That thread reads, runs callbacks, writes the answers and comes back: nothing is handed
//! from thread to thread. If more comes meanwhile, another thread is told, which leaves a note for the first one.

mod accept;
mod buffer;
mod limits;
mod main_loop;
mod pool;
mod serve;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use tamis_proto::{FilterSession, Rules};

use crate::connection::Connection;
use crate::context::{Handle, SLOTS};
use crate::descr::Filter;
use crate::listen::Listener;
use crate::settings::Settings;
use crate::{log, metrics, process, sys, trace};

pub(crate) use main_loop::run;

/// What all threads share.
pub(crate) struct Engine {
    filter: Arc<Filter>,
    settings: Settings,
    epoll: sys::Epoll,
    pool: pool::Pool,
    limits: limits::CurrentLimits,
    /// Connections that are open.
    connections: AtomicUsize,
    /// The number of the next one, for logs.
    next_number: AtomicU32,
    accepting: accept::Accepting,
    /// `smfi_main` is about to return.
    over: AtomicBool,
}

/// Tokens of what is no connection: a generation is never 0.
const LISTENER: u64 = 0;
const LEAVE: u64 = 1;

impl Engine {
    fn new(filter: Arc<Filter>, settings: Settings, listener: Listener) -> std::io::Result<Self> {
        let epoll = sys::Epoll::new()?;
        epoll.add_once(listener.fd(), LISTENER)?;
        let pool = pool::Pool::new(settings.threads)?;
        let limits = limits::CurrentLimits::new(settings.frame.unwrap_or(0));
        Ok(Self {
            filter,
            settings,
            epoll,
            pool,
            limits,
            connections: AtomicUsize::new(0),
            next_number: AtomicU32::new(1),
            accepting: accept::Accepting::new(listener),
            over: AtomicBool::new(false),
        })
    }

    /// Whether threads have to leave, and the program alone.
    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    fn open(&self, socket: std::os::fd::OwnedFd) {
        let session = FilterSession::new(Rules::libmilter(), self.limits.get());
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let connection = Box::new(Connection::new(socket, number, session));
        trace::note(number, format_args!("{} opened", connection.name()));
        self.connections.fetch_add(1, Ordering::Relaxed);
        if let Some(metrics) = metrics::get() {
            metrics.connections.add(1);
        }
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
            log::error(format_args!("{}: private data is not NULL at its end", connection.name()));
        }
        trace::note(connection.number(), format_args!("closed"));
        drop(connection);
        if let Some(metrics) = metrics::get() {
            metrics.connections_closed.add(1);
        }
        let open = self.connections.fetch_sub(1, Ordering::Relaxed) - 1;
        self.accepting.have_room(&self.epoll);
        if open == 0 && process::stopping() != process::Stop::No {
            process::ring();
        }
    }
}
