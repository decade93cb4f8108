//! What the protocol costs without any I/O: `cargo bench --package tamis-proto`.

mod codec;
mod message;
mod sessions;

use criterion::{criterion_group, criterion_main};

criterion_group!(benches, codec::frames, codec::commands, codec::replies, sessions::filter, sessions::mta);
criterion_main!(benches);
