use std::io::{self, SeekFrom};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt};

use super::*;

/// The same bytes in one block, in many and in a file.
async fn everywhere(whole: &[u8]) -> Vec<(Body, TempDir)> {
    let mut bodies = Vec::new();
    for (memory, piece) in [(1 << 20, whole.len()), (1 << 20, 999), (0, 50_000)] {
        let (budget, folder) = budget(|options| options.memory = memory);
        bodies.push((collect(&budget.message(), whole, piece).await.unwrap(), folder));
    }
    bodies
}

#[tokio::test]
async fn reader_reads_everything_and_then_nothing() {
    let whole = pattern(200_000);
    for (body, _folder) in everywhere(&whole).await {
        let mut reader = body.reader();
        let mut got = Vec::new();
        reader.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, whole);
        assert_eq!(reader.read(&mut [0; 10]).await.unwrap(), 0);
        assert!(reader.next_chunk().await.is_none());
    }
}

#[tokio::test]
async fn chunks_are_never_empty_and_make_the_body() {
    let whole = pattern(200_000);
    for (body, _folder) in everywhere(&whole).await {
        let mut chunks = body.chunks();
        let mut got = Vec::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.unwrap();
            assert!(!chunk.is_empty());
            got.extend_from_slice(&chunk);
            assert_eq!(chunks.remaining(), (whole.len() - got.len()) as u64);
        }
        assert_eq!(got, whole);
    }
}

#[tokio::test]
async fn part_of_a_body_ends_at_its_end() {
    let whole = pattern(200_000);
    for (body, _folder) in everywhere(&whole).await {
        for (from, to) in [(0, 0), (0, 1), (70_000, 140_001), (199_999, 300_000), (300_000, 400_000)] {
            let mut got = Vec::new();
            let mut chunks = body.chunks_of(from..to);
            while let Some(chunk) = chunks.next().await {
                got.extend_from_slice(&chunk.unwrap());
            }
            let end = whole.len().min(usize::try_from(to).unwrap());
            assert_eq!(got, whole[usize::try_from(from).unwrap().min(end)..end], "{from}..{to}");
        }
    }
}

#[tokio::test]
async fn seeks_go_anywhere_but_before_the_start() {
    let whole = pattern(200_000);
    for (body, _folder) in everywhere(&whole).await {
        let mut reader = body.reader();
        assert_eq!(reader.seek(SeekFrom::End(-5)).await.unwrap(), 199_995);
        let mut got = Vec::new();
        reader.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, whole[199_995..]);
        assert_eq!(reader.seek(SeekFrom::Start(10)).await.unwrap(), 10);
        assert_eq!(reader.read_u8().await.unwrap(), whole[10]);
        assert_eq!(reader.seek(SeekFrom::Current(100)).await.unwrap(), 111);
        assert_eq!(reader.read_u8().await.unwrap(), whole[111]);
        assert_eq!(reader.seek(SeekFrom::Current(-12)).await.unwrap(), 100);
        assert_eq!(reader.read_u8().await.unwrap(), whole[100]);
        let error = reader.seek(SeekFrom::Current(-102)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(reader.position(), 101);
        assert_eq!(reader.seek(SeekFrom::End(5)).await.unwrap(), 200_005);
        assert_eq!(reader.read(&mut [0; 10]).await.unwrap(), 0);
    }
}

#[test]
fn seek_while_a_block_is_on_its_way_reads_from_the_new_place() {
    let whole = pattern(200_000);
    let (budget, _folder) = budget(|options| options.memory = 0);
    let collected = tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(async { collect(&budget.message(), &whole, 50_000).await.unwrap() });
    while_disk_is_slow(async |busy| {
        let mut reader = collected.reader();
        assert!(begin(pin!(reader.read_u8())).is_pending());
        reader.seek(SeekFrom::Start(150_000)).await.unwrap();
        assert!(begin(pin!(reader.read_u8())).is_pending());
        drop(busy);
        assert_eq!(reader.read_u8().await.unwrap(), whole[150_000]);
    });
}

#[tokio::test]
async fn lines_may_be_read() {
    for (body, _folder) in everywhere(&b"one\r\ntwo\r\n".repeat(30_000)).await {
        let mut lines = body.reader().lines();
        let mut count = 0;
        while let Some(line) = lines.next_line().await.unwrap() {
            assert_eq!(line, ["one", "two"][count % 2]);
            count += 1;
        }
        assert_eq!(count, 60_000);
    }
}

#[tokio::test]
async fn several_readers_do_not_disturb_each_other() {
    let whole = pattern(200_000);
    for (body, _folder) in everywhere(&whole).await {
        let mut readers: Vec<_> = (0..4).map(|_| body.reader()).collect();
        for (nr, reader) in readers.iter_mut().enumerate() {
            reader.seek(SeekFrom::Start(nr as u64 * 60_000)).await.unwrap();
        }
        for at in 0..3_000 {
            for (nr, reader) in readers.iter_mut().enumerate() {
                assert_eq!(reader.read_u8().await.unwrap(), whole[nr * 60_000 + at]);
            }
        }
    }
}

#[tokio::test]
async fn whole_body_is_given_up_to_the_limit_only() {
    let whole = pattern(200_000);
    for (body, _folder) in everywhere(&whole).await {
        assert_eq!(body.to_bytes(200_000).await.unwrap(), whole);
        let error = body.to_bytes(199_999).await.unwrap_err();
        assert_eq!(error.to_string(), "body of 200000 bytes exceeds the limit of 199999 bytes");
    }
}

#[tokio::test]
async fn reader_keeps_the_body() {
    let (budget, _folder) = budget(|options| options.memory = 0);
    let mut reader = collect(&budget.message(), &pattern(100_000), 50_000).await.unwrap().reader();
    assert_eq!(budget.usage().spool, 100_000);
    let mut got = Vec::new();
    reader.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, pattern(100_000));
    drop(reader);
    assert_eq!(budget.usage().spool, 0);
}

#[test]
fn bytes_are_a_body_as_they_are() {
    let bytes = Bytes::from(pattern(10));
    let body = Body::from(bytes.clone());
    assert_eq!((body.len(), format!("{body:?}")), (10, "Body(10 bytes in memory)".to_owned()));
    assert!(Body::default().is_empty());
}
