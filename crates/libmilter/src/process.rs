//! What the program has set for the whole process, before it calls `smfi_main`.

use std::ffi::c_int;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use crate::descr::Filter;
use crate::listen::Listener;
use crate::sys;

/// The filter that was registered.
static FILTER: RwLock<Option<Arc<Filter>>> = RwLock::new(None);

pub(crate) fn register(filter: Filter) {
    *FILTER.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(filter));
}

pub(crate) fn filter() -> Option<Arc<Filter>> {
    FILTER.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Where to listen.
#[derive(Debug, Default)]
pub(crate) struct Listening {
    /// What `smfi_setconn` was given.
    pub(crate) spec: Option<Vec<u8>>,
    /// What `smfi_setbacklog` was given.
    pub(crate) backlog: Option<c_int>,
    /// The socket, from when it is open until `smfi_main` takes it.
    pub(crate) listener: Option<Listener>,
}

pub(crate) fn listening() -> MutexGuard<'static, Listening> {
    static LISTENING: Mutex<Listening> = Mutex::new(Listening { spec: None, backlog: None, listener: None });
    LISTENING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `MI_TIMEOUT`, in seconds.
const TIMEOUT: c_int = 7210;
static PATIENCE: AtomicI32 = AtomicI32::new(TIMEOUT);

pub(crate) fn set_timeout(seconds: c_int) {
    PATIENCE.store(seconds, Ordering::Relaxed);
}

/// What the administrator wants instead.
static OTHER_PATIENCE: OnceLock<Duration> = OnceLock::new();

/// Sets a timeout that stands above the program's.
pub(crate) fn override_timeout(time: Duration) {
    let _ = OTHER_PATIENCE.set(time);
}

/// How long to wait for a peer; `None` is for ever.
pub(crate) fn timeout() -> Option<Duration> {
    let own = || u64::try_from(PATIENCE.load(Ordering::Relaxed)).ok().map(Duration::from_secs);
    OTHER_PATIENCE.get().copied().or_else(own)
}

/// `MILTER_MAX_DATA_SIZE`.
static MAX_DATA: AtomicUsize = AtomicUsize::new(tamis_proto::frame::MAX_PAYLOAD);

/// Sets the largest payload; the one before.
pub(crate) fn set_max_data(bytes: usize) -> usize {
    MAX_DATA.swap(bytes, Ordering::Relaxed)
}

pub(crate) fn max_data() -> usize {
    MAX_DATA.load(Ordering::Relaxed)
}

/// Whether `smfi_main` is to return, and how soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// Go on.
    No = 0,
    /// Open messages may come to their end, for a while.
    Soon = 1,
    /// At the next command.
    Now = 2,
}

static STOP: AtomicU8 = AtomicU8::new(Stop::No as u8);
/// What wakes `smfi_main` up; negative while it does not run.
static BELL: AtomicI32 = AtomicI32::new(-1);

/// Asks `smfi_main` to return; also from a signal handler. There is no way back.
pub(crate) fn stop(how: Stop) {
    STOP.fetch_max(how as u8, Ordering::SeqCst);
    ring();
}

pub(crate) fn stopping() -> Stop {
    match STOP.load(Ordering::SeqCst) {
        0 => Stop::No,
        1 => Stop::Soon,
        _ => Stop::Now,
    }
}

/// Makes `smfi_main` look around.
pub(crate) fn ring() {
    let bell = BELL.load(Ordering::SeqCst);
    if bell >= 0 {
        sys::set_off(bell);
    }
}

/// Says what wakes `smfi_main` up. The descriptor must stay open for the life of the process.
pub(crate) fn set_bell(bell: RawFd) {
    BELL.store(bell, Ordering::SeqCst);
}
