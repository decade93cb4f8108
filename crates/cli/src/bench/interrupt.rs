//! Ctrl-C and SIGTERM, which end the measuring early.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use mio::{Registry, Token, Waker};
use tokio::signal::unix::{SignalKind, signal};

/// Whether somebody has had enough.
#[derive(Debug)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on, on a thread that costs nothing; the reactor wakes up with the token.
    pub(super) fn listen(registry: &Registry, token: Token) -> io::Result<Self> {
        let waker = Waker::new(registry, token)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (mut terminate, mut interrupt) = {
            let _inside = runtime.enter();
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
        };
        let flag = Arc::new(AtomicBool::new(false));
        let raised = flag.clone();
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            });
            raised.store(true, Ordering::Relaxed);
            // Without it the reactor finds out at its next tick.
            let _ = waker.wake();
        })?;
        Ok(Self(flag))
    }

    pub(super) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
