//! How far it is, for people who wait: on stderr, if that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A line that is drawn anew.
#[derive(Debug)]
pub(super) struct Progress(ProgressBar);

/// All of it.
const WHOLE: u64 = 1_000;

impl Progress {
    pub(super) fn new(quiet: bool) -> Self {
        // Nothing is drawn where stderr is no terminal.
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let style = ProgressStyle::with_template("{prefix:>12} [{bar:30}] {percent:>3}%  {msg}")
            .expect("the template is well formed")
            .progress_chars("=> ");
        Self(ProgressBar::with_draw_target(Some(WHOLE), target).with_style(style))
    }

    /// Begins with something else.
    pub(super) fn phase(&self, name: &'static str) {
        self.0.set_prefix(name);
        self.show(0.0, String::new);
    }

    /// Shows which share is done.
    pub(super) fn show(&self, share: f64, message: impl FnOnce() -> String) {
        if self.0.is_hidden() {
            return;
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a share of 1000
        self.0.set_position((share.clamp(0.0, 1.0) * WHOLE as f64) as u64);
        self.0.set_message(message());
        self.0.tick();
    }

    /// Leaves the line empty.
    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
    }
}
