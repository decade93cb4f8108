//! The driver for tests of filters.

mod failures;
mod filter;
mod message;
mod order;
mod refusals;
mod sessions;
mod time;
mod transcript;

/// What the client sends where it does not matter.
const MESSAGE: &str = "Subject: hello\nTo: you\n\nHi!\n";
