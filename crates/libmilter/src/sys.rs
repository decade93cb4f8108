//! The system calls that the standard library has no safe form of, each in one.

use std::ffi::{CString, c_int};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    Write,
}

/// The kernel's set of what is waited for. What becomes ready is given to one of the threads that wait.
#[derive(Debug)]
pub(crate) struct Epoll(OwnedFd);

/// Something that became ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) token: u64,
    /// The peer has ended its side, or the connection is lost.
    pub(crate) hung_up: bool,
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor is new, so nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Adds a connection: each time that something comes, one thread is told.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd.as_raw_fd(), Interest::Read.edges(), token)
    }

    /// Changes what a connection waits for. If that is there already, a thread is told now.
    pub(crate) fn change(&self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, interest.edges(), token)
    }

    /// Adds a listening socket, of which one thread is told once.
    pub(crate) fn add_once(&self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd.as_raw_fd(), libc::EPOLLIN | libc::EPOLLONESHOT, token)
    }

    /// Has a thread told once more.
    pub(crate) fn arm_once(&self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd.as_raw_fd(), libc::EPOLLIN | libc::EPOLLONESHOT, token)
    }

    /// Adds a descriptor of which every thread is told, for as long as it can be read.
    pub(crate) fn add_for_all(&self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd.as_raw_fd(), libc::EPOLLIN, token)
    }

    fn control(&self, operation: c_int, fd: RawFd, events: c_int, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: events.cast_unsigned(), u64: token };
        // SAFETY: the event outlives the call.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, fd, &raw mut event) }).map(drop)
    }

    /// Waits until something is ready; nothing when the time is over.
    pub(crate) fn wait(&self, time: Duration) -> io::Result<Option<Ready>> {
        const HUNG_UP: u32 = (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR).cast_unsigned();
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: there is room for the one event that is asked for.
        let count =
            check(unsafe { libc::epoll_wait(self.0.as_raw_fd(), &raw mut event, 1, milliseconds(time)) })?;
        let (token, events) = (event.u64, event.events);
        Ok((count > 0).then_some(Ready { token, hung_up: events & HUNG_UP != 0 }))
    }

    /// Whether something is ready that no thread was told of.
    pub(crate) fn has_ready(&self) -> bool {
        wait([self.0.as_raw_fd()], libc::POLLIN, Some(Duration::ZERO)).is_ok_and(|[ready]| ready)
    }
}

impl Interest {
    /// Edges: a thread is told when something comes, not for as long as it is there.
    const fn edges(self) -> c_int {
        match self {
            Self::Read => libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET,
            // Nothing else, or it would be told again and again of what it does not look at.
            Self::Write => libc::EPOLLOUT | libc::EPOLLET,
        }
    }
}

/// Reads what is there; `WouldBlock` if nothing is, 0 at the end of the stream.
pub(crate) fn receive(fd: RawFd, buf: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length are those of a slice.
    let count = unsafe { libc::recv(fd, buf.as_mut_ptr().cast(), buf.len(), libc::MSG_DONTWAIT) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Writes what fits; `WouldBlock` if nothing does.
pub(crate) fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: pointer and length are those of a slice.
    let count = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Waits until one of these can be read; which ones can.
pub(crate) fn wait_readable<const N: usize>(
    fds: [BorrowedFd<'_>; N],
    time: Option<Duration>,
) -> io::Result<[bool; N]> {
    wait(fds.map(|fd| fd.as_raw_fd()), libc::POLLIN, time)
}

/// Waits until a socket takes bytes, or is gone; `false` when the time is over.
pub(crate) fn wait_writable(fd: RawFd, time: Option<Duration>) -> io::Result<bool> {
    Ok(wait([fd], libc::POLLOUT, time)?[0])
}

fn wait<const N: usize>(fds: [RawFd; N], events: i16, time: Option<Duration>) -> io::Result<[bool; N]> {
    let mut polled = fds.map(|fd| libc::pollfd { fd, events, revents: 0 });
    let count = libc::nfds_t::try_from(N).expect("a handful of descriptors");
    // SAFETY: pointer and length are those of an array.
    match check(unsafe { libc::poll(polled.as_mut_ptr(), count, time.map_or(-1, milliseconds)) }) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(polled.map(|fd| fd.revents != 0)),
    }
}

/// Accepts a connection that blocks nobody and that no child process inherits.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the address of the peer is not asked for.
    let fd = check(unsafe {
        libc::accept4(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut(), flags)
    })?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // Sockets that are not TCP take it and do nothing.
    let _ = set_option(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1);
    Ok(fd)
}

pub(crate) fn set_option(fd: RawFd, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of::<c_int>()).expect("the size of an int is small");
    // SAFETY: pointer and size are those of an int that outlives the call.
    check(unsafe { libc::setsockopt(fd, level, option, (&raw const value).cast(), size) }).map(drop)
}

/// Makes a socket that no child process inherits.
pub(crate) fn stream_socket(family: c_int) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: takes no pointers.
    let fd = check(unsafe { libc::socket(family, kind, 0) })?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Gives a socket its address.
pub(crate) fn bind(fd: BorrowedFd<'_>, address: &SocketAddress) -> io::Result<()> {
    let (pointer, size) = address.raw();
    // SAFETY: pointer and size are those of an address that outlives the call.
    check(unsafe { libc::bind(fd.as_raw_fd(), pointer, size) }).map(drop)
}

pub(crate) fn listen(fd: BorrowedFd<'_>, backlog: c_int) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::listen(fd.as_raw_fd(), backlog) }).map(drop)
}

/// Ends both directions of a connection, so that whoever waits for it sees its end.
pub(crate) fn shut_down(fd: RawFd) {
    // SAFETY: takes no pointers. A failure means that it has ended already.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}

/// An address in C's form.
pub(crate) enum SocketAddress {
    V4(libc::sockaddr_in),
    V6(libc::sockaddr_in6),
    Unix(Box<libc::sockaddr_un>),
}

impl SocketAddress {
    pub(crate) fn inet(address: std::net::SocketAddr) -> Self {
        match address {
            std::net::SocketAddr::V4(v4) => {
                // SAFETY: all of its fields are numbers.
                let mut raw: libc::sockaddr_in = unsafe { std::mem::zeroed() };
                raw.sin_family = family(libc::AF_INET);
                raw.sin_port = v4.port().to_be();
                raw.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
                Self::V4(raw)
            }
            std::net::SocketAddr::V6(v6) => {
                // SAFETY: all of its fields are numbers.
                let mut raw: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
                raw.sin6_family = family(libc::AF_INET6);
                raw.sin6_port = v6.port().to_be();
                raw.sin6_addr.s6_addr = v6.ip().octets();
                raw.sin6_scope_id = v6.scope_id();
                Self::V6(raw)
            }
        }
    }

    /// An address with as much of the path as fits.
    pub(crate) fn unix(path: &[u8]) -> Self {
        // SAFETY: all of its fields are numbers.
        let mut raw: Box<libc::sockaddr_un> = Box::new(unsafe { std::mem::zeroed() });
        raw.sun_family = family(libc::AF_UNIX);
        let room = raw.sun_path.len() - 1;
        for (to, from) in raw.sun_path[..room].iter_mut().zip(path) {
            *to = from.cast_signed() as libc::c_char;
        }
        Self::Unix(raw)
    }

    /// Pointer and size, valid while the address is.
    pub(crate) fn raw(&self) -> (*const libc::sockaddr, libc::socklen_t) {
        let (pointer, size): (*const libc::sockaddr, usize) = match self {
            Self::V4(raw) => ((&raw const *raw).cast(), size_of_val(raw)),
            Self::V6(raw) => ((&raw const *raw).cast(), size_of_val(raw)),
            Self::Unix(raw) => ((&raw const **raw).cast(), size_of_val(&**raw)),
        };
        (pointer, libc::socklen_t::try_from(size).expect("addresses are small"))
    }

    /// A pointer for a program that may change the address.
    pub(crate) fn raw_mut(&mut self) -> *mut libc::sockaddr {
        match self {
            Self::V4(raw) => (&raw mut *raw).cast(),
            Self::V6(raw) => (&raw mut *raw).cast(),
            Self::Unix(raw) => (&raw mut **raw).cast(),
        }
    }
}

fn family(number: c_int) -> libc::sa_family_t {
    libc::sa_family_t::try_from(number).expect("address families are small numbers")
}

/// The port of a TCP service by its name in the system's lists.
pub(crate) fn service_port(name: &str) -> Option<u16> {
    let name = CString::new(name).ok()?;
    // SAFETY: both are C strings. The answer may be in static memory, which only this reads, before `smfi_main`.
    let entry = unsafe { libc::getservbyname(name.as_ptr(), c"tcp".as_ptr()) };
    // SAFETY: null, or an entry that stays until the next call.
    let entry = unsafe { entry.as_ref() }?;
    u16::try_from(entry.s_port & 0xffff).ok().map(u16::from_be)
}

/// Makes something that one thread can wait for and any can set off, also from a signal handler.
pub(crate) fn event_fd() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets off an [`event_fd`].
pub(crate) fn set_off(fd: RawFd) {
    let one = 1_u64;
    // SAFETY: eight bytes of a number. It can only fail when it was set off already.
    unsafe { libc::write(fd, (&raw const one).cast(), 8) };
}

/// Makes something that can be waited for, and is set off when a time is over.
pub(crate) fn timer_fd() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = check(unsafe {
        libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK)
    })?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets a [`timer_fd`], once.
pub(crate) fn set_timer(timer: BorrowedFd<'_>, time: Duration) {
    let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let once = libc::itimerspec { it_interval: never, it_value: timespec(time) };
    // SAFETY: the time outlives the call. It cannot fail with a timer and a time that is one.
    unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &raw const once, std::ptr::null_mut()) };
}

fn timespec(time: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}

/// Reads what an event, timer or signal descriptor has, at most this many bytes.
pub(crate) fn read(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length are those of a slice.
    let count = unsafe { libc::read(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len()) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Keeps these signals from this thread and those it will start, and makes a descriptor that tells of them.
pub(crate) fn take_signals(signals: &[c_int]) -> io::Result<OwnedFd> {
    // SAFETY: a signal set is numbers, and is emptied next.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is ours.
    unsafe { libc::sigemptyset(&raw mut set) };
    for signal in signals {
        // SAFETY: the set is ours, and the signals exist.
        unsafe { libc::sigaddset(&raw mut set, *signal) };
    }
    // SAFETY: the set outlives the call; the old mask is not asked for.
    let failed = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    if failed != 0 {
        return Err(io::Error::from_raw_os_error(failed));
    }
    // SAFETY: the set outlives the call.
    let fd = check(unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) })?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes one signal off such a descriptor.
pub(crate) fn next_signal(fd: BorrowedFd<'_>) -> Option<c_int> {
    let mut record = [0; size_of::<libc::signalfd_siginfo>()];
    match read(fd, &mut record) {
        Ok(count) if count == record.len() => {
            let number = *record.first_chunk().expect("a record begins with the number of the signal");
            c_int::try_from(u32::from_ne_bytes(number)).ok()
        }
        _ => None,
    }
}

/// Makes writes to a lost peer an error and not a signal, also for what the program itself writes.
pub(crate) fn ignore_broken_pipes() {
    // SAFETY: ignoring a signal runs no code.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// The size that stacks of threads have which C programs start: callbacks may count on it.
pub(crate) fn default_stack_size() -> Option<usize> {
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: the pointer is to room for them.
    if unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    let mut size = 0;
    // SAFETY: the attributes were set up above, and the size is ours.
    let failed = unsafe { libc::pthread_attr_getstacksize(attributes.as_ptr(), &raw mut size) };
    // SAFETY: the attributes were set up above, and are not used any more.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    (failed == 0).then_some(size)
}

/// Whether the program runs as root.
pub(crate) fn is_root() -> bool {
    // SAFETY: takes no pointers and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Seconds since some moment, for comparing; cheap, and a few milliseconds late.
pub(crate) fn coarse_seconds() -> u32 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: there is room for the answer, and the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    // It starts at boot; a machine that runs for 136 years only closes a few connections late.
    u32::try_from(now.tv_sec & 0xffff_ffff).unwrap_or_default()
}

/// The time that processors have spent on this process.
pub(crate) fn processor_time() -> Duration {
    let mut taken = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: there is room for the answer, and every process has the clock.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut taken) };
    let seconds = u64::try_from(taken.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(taken.tv_nsec).unwrap_or_default())
}

/// Reads an environment variable; none has a value in a program with more rights than its user.
pub(crate) fn variable(name: &str) -> Option<String> {
    // SAFETY: takes no pointers.
    let more_rights = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    let value = std::env::var_os(name).filter(|_| !more_rights)?;
    Some(value.to_string_lossy().into_owned())
}

/// The address of a TCP peer.
pub(crate) fn peer(fd: RawFd) -> Option<std::net::SocketAddr> {
    // SAFETY: all of its fields are numbers.
    let mut address: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut size = libc::socklen_t::try_from(size_of_val(&address)).expect("addresses are small");
    // SAFETY: there is room for every address, and its size says so.
    check(unsafe { libc::getpeername(fd, (&raw mut address).cast(), &raw mut size) }).ok()?;
    match c_int::from(address.ss_family) {
        libc::AF_INET => {
            // SAFETY: an address of this family is there, and the room is aligned for all of them.
            let v4 = unsafe { (&raw const address).cast::<libc::sockaddr_in>().read() };
            let ip = std::net::Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some((ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { (&raw const address).cast::<libc::sockaddr_in6>().read() };
            let ip = std::net::Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some((ip, u16::from_be(v6.sin6_port)).into())
        }
        _ => None,
    }
}

/// Writes a line to the system's log, under the name that the program gave to `openlog`.
pub(crate) fn log(priority: c_int, line: &str) {
    let line: Vec<u8> = line.bytes().map(|byte| if byte == 0 { b' ' } else { byte }).collect();
    let line = CString::new(line).expect("NULs were replaced");
    // SAFETY: a format with one string, and a C string.
    unsafe { libc::syslog(priority, c"%s".as_ptr(), line.as_ptr()) };
}

fn milliseconds(time: Duration) -> c_int {
    // Rounded up, so that nobody wakes before the time.
    c_int::try_from(
        time.as_millis().saturating_add(u128::from(!time.subsec_nanos().is_multiple_of(1_000_000))),
    )
    .unwrap_or(c_int::MAX)
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
