//! Waking up in time for the next message, more exactly than the reactor's milliseconds.

#[cfg(target_os = "linux")]
pub(super) use linux::Pacer;
#[cfg(not(target_os = "linux"))]
pub(super) use other::Pacer;

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::{AsFd, AsRawFd};
    use std::time::{Duration, Instant};

    use mio::unix::SourceFd;
    use mio::{Interest, Registry, Token};
    use nix::sys::time::TimeSpec;
    use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

    /// A timer of the system.
    #[derive(Debug)]
    pub(in crate::bench) struct Pacer {
        timer: TimerFd,
        set_to: Option<Instant>,
    }

    impl Pacer {
        pub(in crate::bench) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
            let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
            let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
            let fd = timer.as_fd().as_raw_fd();
            registry.register(&mut SourceFd(&fd), token, Interest::READABLE)?;
            Ok(Self { timer, set_to: None })
        }

        /// Has the reactor wake up then.
        pub(in crate::bench) fn wake_at(&mut self, due: Instant) -> io::Result<()> {
            if self.set_to == Some(due) {
                return Ok(());
            }
            // None at all would switch the timer off.
            let time = due.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
            let expiration = Expiration::OneShot(TimeSpec::from_duration(time));
            self.timer.set(expiration, TimerSetTimeFlags::empty())?;
            self.set_to = Some(due);
            Ok(())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use std::io;
    use std::time::Instant;

    use mio::{Registry, Token};

    /// Nothing: only epoll counts in milliseconds.
    #[derive(Debug)]
    pub(in crate::bench) struct Pacer;

    impl Pacer {
        pub(in crate::bench) fn new(_registry: &Registry, _token: Token) -> io::Result<Self> {
            Ok(Self)
        }

        pub(in crate::bench) fn wake_at(&mut self, _due: Instant) -> io::Result<()> {
            Ok(())
        }
    }
}
