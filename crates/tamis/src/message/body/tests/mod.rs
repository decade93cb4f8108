//! Bodies against plain vectors, in a folder of the test's own.

mod budget;
mod collect;
mod line_ends;
mod properties;
mod read;
mod replace;

use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::mpsc;
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;

/// A budget whose files are in a folder of their own, and the folder.
fn budget(set: impl FnOnce(&mut BodyOptions)) -> (Budget, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut options = BodyOptions { folder: folder.path().to_owned(), ..BodyOptions::default() };
    set(&mut options);
    (Budget::new(options), folder)
}

/// Bytes that are different wherever they are.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at * 7 + at / 251) % 256).unwrap()).collect()
}

async fn collect(allowance: &Allowance, whole: &[u8], piece: usize) -> Result<Body, BodyError> {
    let mut collector = allowance.collector();
    for piece in whole.chunks(piece) {
        collector.push(Bytes::copy_from_slice(piece)).await?;
    }
    collector.finish().await
}

fn is_empty(folder: &Path) -> bool {
    folder.read_dir().unwrap().next().is_none()
}

/// Room of files larger than this comes back a moment after the drop; tests that look at once stay below.
const SMALL: usize = 512 * 1024;

/// Runs on a runtime whose only thread for blocking work is busy until the sender is dropped.
fn while_disk_is_slow<T>(work: impl AsyncFnOnce(mpsc::Sender<()>) -> T) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (busy, until) = mpsc::channel();
        super::spool::NOTHING_CACHED.set(true);
        tokio::task::spawn_blocking(move || until.recv());
        work(busy).await
    })
}

/// Polls once.
fn begin<T>(work: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    work.poll(&mut Task::from_waker(Waker::noop()))
}
