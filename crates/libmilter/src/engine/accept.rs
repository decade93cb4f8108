//! Taking in connections.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Engine, LISTENER};
use crate::listen::Listener;
use crate::settings::CONNECTIONS;
use crate::{log, process, sys};

/// The listening socket, and what went wrong with it.
#[derive(Debug)]
pub(super) struct Accepting {
    listener: Mutex<Option<Listener>>,
    /// There are as many connections as there may be.
    full: AtomicBool,
    said_full: AtomicBool,
    /// Nobody waits for connections until this is over.
    resting: AtomicBool,
    /// Failures in a row that are not for want of something.
    failures: AtomicU32,
    failed: AtomicBool,
}

/// At most so many connections are accepted before something else may be done.
const AT_ONCE: usize = 64;
/// After so many failures in a row nobody tries again.
const GIVE_UP: u32 = 16;

impl Accepting {
    pub(super) fn new(listener: Listener) -> Self {
        Self {
            listener: Mutex::new(Some(listener)),
            full: AtomicBool::new(false),
            said_full: AtomicBool::new(false),
            resting: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            failed: AtomicBool::new(false),
        }
    }

    /// Whether accepting is over for good.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// How long nobody accepts, if that is so.
    pub(super) fn rest(&self) -> Option<Duration> {
        let failures = self.failures.load(Ordering::SeqCst).min(8);
        self.resting.load(Ordering::SeqCst).then(|| Duration::from_millis(100 << failures))
    }

    /// Goes on after a rest.
    pub(super) fn wake(&self, epoll: &sys::Epoll) {
        if self.resting.swap(false, Ordering::SeqCst) {
            self.arm(epoll);
        }
    }

    /// Goes on if there were too many connections: now there is one less.
    pub(super) fn have_room(&self, epoll: &sys::Epoll) {
        if self.full.load(Ordering::SeqCst) && self.full.swap(false, Ordering::SeqCst) {
            self.arm(epoll);
        }
    }

    /// Ends accepting.
    pub(super) fn close(&self) {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(listener) = listener {
            listener.close();
        }
    }

    fn arm(&self, epoll: &sys::Epoll) {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = listener.as_ref()
            && let Err(error) = epoll.arm_once(listener.fd(), LISTENER)
        {
            log::error(format_args!("cannot wait for new connections: {error}"));
            self.fail();
        }
    }

    fn fail(&self) {
        self.failed.store(true, Ordering::SeqCst);
        process::ring();
    }
}

impl Engine {
    /// Accepts who is there, and waits for others again.
    pub(super) fn accept(&self) {
        for _ in 0..AT_ONCE {
            if self.connections.load(Ordering::Relaxed) >= self.settings.connections {
                if !self.accepting.said_full.swap(true, Ordering::Relaxed) {
                    log::warning(format_args!(
                        "{} connections are open: others wait ({CONNECTIONS} sets how many there may be)",
                        self.settings.connections
                    ));
                }
                self.accepting.full.store(true, Ordering::SeqCst);
                // One may have ended meanwhile.
                if self.connections.load(Ordering::SeqCst) >= self.settings.connections {
                    return;
                }
                self.accepting.have_room(&self.epoll);
                return;
            }
            let accepted = {
                let listener = self.accepting.listener.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(listener) = listener.as_ref() else { return };
                sys::accept(listener.fd())
            };
            match accepted {
                Ok(socket) => {
                    self.accepting.failures.store(0, Ordering::SeqCst);
                    self.open(socket);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR | libc::ECONNABORTED) => {}
                    _ => return self.rest(&error),
                },
            }
        }
        self.accepting.arm(&self.epoll);
    }

    /// Waits a while after a failure: something is used up, which may come back.
    fn rest(&self, error: &io::Error) {
        let used_up = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
        log::error(format_args!("cannot accept a connection: {error}"));
        let accepting = &self.accepting;
        if error.raw_os_error().is_none_or(|code| !used_up.contains(&code))
            && accepting.failures.fetch_add(1, Ordering::SeqCst) >= GIVE_UP
        {
            return accepting.fail();
        }
        accepting.resting.store(true, Ordering::SeqCst);
        process::ring();
    }
}
