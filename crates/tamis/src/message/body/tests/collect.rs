use std::fs::{self, File};
use std::io;

use super::super::spool::SpoolFile;
use super::*;

#[tokio::test]
async fn small_body_stays_in_memory_and_takes_what_it_allocates() {
    let (budget, folder) = budget(|_| ());
    let whole = pattern(300_000);
    let body = collect(&budget.message(), &whole, 65_535).await.unwrap();
    assert!(!body.is_spooled() && is_empty(folder.path()));
    assert_eq!(body.to_bytes(whole.len()).await.unwrap(), whole);
    let usage = budget.usage();
    assert!((whole.len() - 16 * 1024..whole.len() + 65_535).contains(&usage.memory), "{usage:?}");
    drop(body);
    assert_eq!(budget.usage(), Usage::default());
}

#[tokio::test]
async fn body_of_one_piece_is_given_out_without_a_copy() {
    let (budget, _folder) = budget(|_| ());
    let body = collect(&budget.message(), &pattern(20_000), 20_000).await.unwrap();
    let [one, other] = [body.to_bytes(20_000).await.unwrap(), body.to_bytes(20_000).await.unwrap()];
    assert_eq!(one.as_ptr(), other.as_ptr());
}

#[tokio::test]
async fn memory_counts_until_the_last_slice_is_gone() {
    let (budget, _folder) = budget(|_| ());
    let body = collect(&budget.message(), &pattern(50_000), 10_000).await.unwrap();
    let slice = body.chunks().next().await.unwrap().unwrap().slice(..1);
    drop(body);
    assert!(budget.usage().memory > 0);
    drop(slice);
    assert_eq!(budget.usage().memory, 0);
}

#[tokio::test]
async fn pieces_are_not_kept_alive() {
    let (budget, _folder) = budget(|options| options.memory = 100_000);
    let mut collector = budget.message().collector();
    for _ in 0..30 {
        let piece = Bytes::from(pattern(10_000));
        collector.push(piece.clone()).await.unwrap();
        assert!(piece.is_unique());
    }
}

#[tokio::test]
async fn body_above_the_limit_of_its_message_moves_to_a_file_as_a_whole() {
    let (budget, folder) = budget(|options| options.memory = 100_000);
    let whole = pattern(SMALL);
    let body = collect(&budget.message(), &whole, 30_000).await.unwrap();
    assert!(body.is_spooled());
    assert_eq!(budget.usage(), Usage { memory: 0, spool: SMALL as u64, waiting: 0 });
    assert_eq!(body.to_bytes(whole.len()).await.unwrap(), whole);
    assert!(is_empty(folder.path()), "the file has a name");
    drop(body);
    assert_eq!(budget.usage(), Usage::default());
}

#[tokio::test]
async fn bodies_of_a_message_share_its_memory() {
    let (budget, _folder) = budget(|options| options.memory = 100_000);
    let allowance = budget.message();
    let first = collect(&allowance, &pattern(60_000), 60_000).await.unwrap();
    let second = collect(&allowance, &pattern(60_000), 60_000).await.unwrap();
    assert!(!first.is_spooled() && second.is_spooled());
    let of_another = collect(&budget.message(), &pattern(60_000), 60_000).await.unwrap();
    assert!(!of_another.is_spooled());
}

#[tokio::test]
async fn small_mail_has_memory_when_others_have_taken_all() {
    let (budget, _folder) = budget(|options| options.total_memory = 100_000);
    let others = collect(&budget.message(), &pattern(116_000), 116_000).await.unwrap();
    let large = collect(&budget.message(), &pattern(20_000), 5_000).await.unwrap();
    let small = collect(&budget.message(), &pattern(16_000), 16_000).await.unwrap();
    assert!(!others.is_spooled() && large.is_spooled() && !small.is_spooled());
}

#[tokio::test]
async fn many_small_pieces_make_few_blocks_and_few_bytes_for_nothing() {
    let (budget, _folder) = budget(|_| ());
    let body = collect(&budget.message(), &pattern(400_000), 3).await.unwrap();
    let mut chunks = body.chunks();
    let mut count = 0;
    while chunks.next().await.is_some() {
        count += 1;
    }
    assert!(count < 50, "{count} blocks");
    assert!(budget.usage().memory < 400_000 * 5 / 4, "{:?}", budget.usage());
}

#[tokio::test]
async fn empty_body_takes_nothing() {
    let (budget, _folder) = budget(|options| options.memory = 0);
    let body = collect(&budget.message(), b"", 1).await.unwrap();
    assert!(body.is_empty() && !body.is_spooled());
    assert_eq!(body.to_bytes(0).await.unwrap(), "");
}

#[tokio::test]
async fn folder_that_is_none_is_named_in_the_error() {
    for name in ["file", "missing"] {
        let (budget, folder) = budget(|options| {
            fs::write(options.folder.join("file"), "").unwrap();
            options.folder.push(name);
            options.memory = 10;
        });
        let error = collect(&budget.message(), &pattern(100), 100).await.unwrap_err();
        let begin = format!("cannot create a spool file in {}/{name}: ", folder.path().display());
        assert!(error.to_string().starts_with(&begin), "{error}");
        let kind = if name == "file" { io::ErrorKind::NotADirectory } else { io::ErrorKind::NotFound };
        assert_eq!(io::Error::from(error).kind(), kind);
        assert_eq!(budget.usage(), Usage::default());
    }
}

#[tokio::test]
async fn full_disk_is_named_in_the_error_and_everything_is_given_back() {
    let (budget, folder) = budget(|_| ());
    let allowance = budget.message();
    let mut collector = allowance.collector();
    let full = File::options().read(true).write(true).open("/dev/full").unwrap();
    collector.redirect(SpoolFile::of(full, allowance.clone()).await);
    collector.push(pattern(5_000).into()).await.unwrap();
    let error = collector.push(pattern(600_000).into()).await.unwrap_err();
    let begin = format!("cannot write a spool file in {}: ", folder.path().display());
    assert!(error.to_string().starts_with(&begin), "{error}");
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::StorageFull);
    assert_eq!(budget.usage(), Usage::default());
    assert!(matches!(collector.push("more".into()).await, Err(BodyError::GivenUp)));
    assert!(matches!(collector.finish().await, Err(BodyError::GivenUp)));
}

#[tokio::test]
async fn message_above_its_limit_of_files_fails_at_once() {
    let (budget, _folder) = budget(|options| {
        options.memory = 10_000;
        options.spool = 100_000;
        options.wait = Duration::MAX;
    });
    let error = collect(&budget.message(), &pattern(100_001), 30_000).await.unwrap_err();
    assert_eq!(error.to_string(), "bodies of one message exceed the limit of 100000 bytes in spool files");
    assert_eq!(budget.usage(), Usage::default());
    assert!(collect(&budget.message(), &pattern(100_000), 30_000).await.is_ok());
}

#[test]
fn cancelled_push_loses_and_doubles_nothing() {
    let (budget, _folder) = budget(|options| options.memory = 10);
    while_disk_is_slow(async |busy| {
        let mut collector = budget.message().collector();
        // Accepted, and on its way when the future is dropped.
        assert!(begin(pin!(collector.push(pattern(50_000).into()))).is_pending());
        assert_eq!(collector.len(), 50_000);
        // Not accepted: the other is in its way.
        assert!(begin(pin!(collector.push("never".into()))).is_pending());
        assert_eq!(collector.len(), 50_000);
        drop(busy);
        collector.push("end".into()).await.unwrap();
        let body = collector.finish().await.unwrap();
        assert_eq!(body.to_bytes(60_000).await.unwrap(), [&pattern(50_000)[..], b"end"].concat());
    });
}

#[test]
fn collector_that_is_dropped_gives_back_when_its_last_write_has_ended() {
    let (budget, _folder) = budget(|options| options.memory = 10);
    while_disk_is_slow(async |busy| {
        let mut collector = budget.message().collector();
        assert!(begin(pin!(collector.push(pattern(50_000).into()))).is_pending());
        drop(collector);
        assert_eq!(budget.usage().spool, 50_000);
        drop(busy);
        back_to_nothing(&budget).await;
    });
}

#[tokio::test]
async fn large_file_is_removed_by_another_thread_and_its_room_comes_back_then() {
    let (budget, _folder) = budget(|options| options.memory = 10);
    let body = collect(&budget.message(), &pattern(2 << 20), 1 << 20).await.unwrap();
    drop(body);
    back_to_nothing(&budget).await;
}

async fn back_to_nothing(budget: &Budget) {
    while budget.usage() != Usage::default() {
        tokio::task::yield_now().await;
    }
}
