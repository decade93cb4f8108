//! Ending a server, gently or at once.

use tokio_util::sync::CancellationToken;

/// Ends a server. Clones belong together.
///
/// ```
/// # async fn wait_for_signal() {}
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// # let (listeners, make) = (Vec::new(), |_: &tamis::Peer| -> tamis::BoxFilter { unimplemented!() });
/// let shutdown = tamis::Shutdown::new();
/// let signals = shutdown.clone();
/// tokio::spawn(async move {
///     wait_for_signal().await;
///     signals.drain();
///     wait_for_signal().await;
///     signals.stop();
/// });
/// tamis::serve(listeners, make, shutdown).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    retire: CancellationToken,
    drain: CancellationToken,
    stop: CancellationToken,
}

impl Shutdown {
    /// Nothing is ended yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Accepts no more connections, and leaves those that are open to their MTAs, for as long as these like: another
    /// server has taken over.
    pub fn retire(&self) {
        self.retire.cancel();
    }

    /// Accepts no more connections, closes those without a message and lets the others finish theirs, within
    /// [`Options::drain_time`](crate::Options::drain_time).
    #[doc(alias = "smfi_stop")]
    pub fn drain(&self) {
        self.retire.cancel();
        self.drain.cancel();
    }

    /// Closes everything now. Messages in work are aborted; their clients get a 4xx from the MTA.
    pub fn stop(&self) {
        self.retire.cancel();
        self.drain.cancel();
        self.stop.cancel();
    }

    /// Whether [`drain`](Self::drain) or [`stop`](Self::stop) was called.
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    pub(crate) async fn retiring(&self) {
        self.retire.cancelled().await;
    }

    pub(crate) async fn draining(&self) {
        self.drain.cancelled().await;
    }

    pub(crate) async fn stopped(&self) {
        self.stop.cancelled().await;
    }
}
