use std::io;

use tokio::io::{AsyncWriteExt, BufReader};

use super::*;
use crate::filter::BoxError;

async fn packets(replacement: &Replacement) -> Vec<Bytes> {
    let mut packets = replacement.packets();
    let mut all = Vec::new();
    while let Some(packet) = packets.next().await {
        all.push(packet.unwrap());
    }
    all
}

#[tokio::test]
async fn packets_are_legal_and_make_the_new_body() {
    let whole = pattern(300_000);
    let (budget, _folder) = budget(|options| options.memory = 0);
    let spooled = Replacement::read(&budget.message(), &whole[..]).await.unwrap();
    assert!(spooled.body().is_spooled());
    for replacement in [Replacement::from(whole.clone()), spooled] {
        let packets = packets(&replacement).await;
        assert_eq!(packets.len(), 5);
        assert!(packets.iter().all(|packet| (1..=65_535).contains(&packet.len())));
        assert_eq!(packets.concat(), whole);
    }
}

#[tokio::test]
async fn empty_body_is_one_empty_packet() {
    let (budget, _folder) = budget(|_| ());
    for replacement in [
        Replacement::default(),
        "".into(),
        Replacement::read(&budget.message(), &b""[..]).await.unwrap(),
        budget.message().writer().finish().await.unwrap(),
    ] {
        assert_eq!(packets(&replacement).await, [Bytes::new()]);
    }
}

#[tokio::test]
async fn bytes_of_any_kind_are_a_new_body() {
    let bytes = Bytes::from_static(b"new");
    for replacement in [
        Replacement::from("new"),
        b"new"[..].into(),
        "new".to_owned().into(),
        b"new".to_vec().into(),
        bytes.clone().into(),
        Body::from(bytes).into(),
    ] {
        assert_eq!(packets(&replacement).await, ["new"]);
    }
}

#[tokio::test]
async fn reader_that_fails_is_told_from_the_disk() {
    let (budget, _folder) = budget(|_| ());
    let error = Replacement::read(&budget.message(), Broken).await.unwrap_err();
    assert!(matches!(error, BodyError::Source(_)));
    assert_eq!(error.to_string(), "cannot read the new body: oops");
    assert_eq!(budget.usage(), Usage::default());
}

struct Broken;

impl tokio::io::AsyncRead for Broken {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Err(io::Error::other("oops")))
    }
}

/// Half of the lines, through the interfaces of `tokio::io`.
async fn every_other_line(from: BodyReader, to: &mut BodyWriter) -> Result<(), BoxError> {
    use tokio::io::AsyncBufReadExt;
    let mut lines = BufReader::new(from).lines();
    let mut keep = true;
    while let Some(line) = lines.next_line().await? {
        if keep {
            to.write_all(line.as_bytes()).await?;
            to.write_all(b"\r\n").await?;
        }
        keep = !keep;
    }
    Ok(())
}

#[tokio::test]
async fn transform_of_any_size_runs_in_little_memory() {
    for lines in [0, 10, 20_000] {
        let (budget, folder) = budget(|options| options.memory = 30_000);
        let allowance = budget.message();
        let old = collect(&allowance, &b"one\r\ntwo\r\n".repeat(lines), 1_000).await.unwrap();
        let new = Replacement::transform(&allowance, &old, every_other_line).await.unwrap();
        assert_eq!(packets(&new).await.concat(), b"one\r\n".repeat(lines));
        assert_eq!(new.body().is_spooled(), lines == 20_000);
        assert!(budget.usage().memory <= 30_000 && is_empty(folder.path()));
        drop((old, new));
        assert_eq!(budget.usage(), Usage::default());
    }
}

#[tokio::test]
async fn transform_may_be_a_closure_in_a_task_that_moves_between_threads() {
    let (budget, _folder) = budget(|_| ());
    let allowance = budget.message();
    let mark = String::from("> ");
    let task = tokio::spawn(async move {
        let old = Body::from("text\r\n");
        let new =
            Replacement::transform(&allowance, &old, async |mut from: BodyReader, to: &mut BodyWriter| {
                to.push(mark.clone()).await?;
                while let Some(chunk) = from.next_chunk().await {
                    to.push(chunk?).await?;
                }
                Ok(())
            });
        new.await
    });
    assert_eq!(packets(&task.await.unwrap().unwrap()).await.concat(), b"> text\r\n");
}

#[tokio::test]
async fn transform_that_fails_leaves_nothing() {
    let (budget, _folder) = budget(|options| options.memory = 0);
    let fails = async |_: BodyReader, to: &mut BodyWriter| {
        to.push(pattern(100_000)).await?;
        Err("no key".into())
    };
    let error = Replacement::transform(&budget.message(), &Body::default(), fails).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot transform the body: no key");
    assert_eq!(budget.usage(), Usage::default());
}

#[tokio::test]
async fn error_of_the_writer_stays_what_it_is_on_its_way_through_a_transform() {
    let (budget, _folder) = budget(|options| {
        options.memory = 0;
        options.spool = 50_000;
    });
    let (allowance, old) = (budget.message(), Body::from(pattern(100_000)));
    let pushes = async |_: BodyReader, to: &mut BodyWriter| Ok(to.push(pattern(100_000)).await?);
    let copies = async |mut from: BodyReader, to: &mut BodyWriter| {
        tokio::io::copy(&mut from, to).await?;
        Ok(())
    };
    let ignores = async |_: BodyReader, to: &mut BodyWriter| {
        let _ = to.push(pattern(100_000)).await;
        Ok(())
    };
    let result = Replacement::transform(&allowance, &old, pushes).await;
    assert!(matches!(result, Err(BodyError::TooLong { limit: 50_000 })), "{result:?}");
    let result = Replacement::transform(&allowance, &old, copies).await;
    assert!(matches!(result, Err(BodyError::TooLong { limit: 50_000 })), "{result:?}");
    let result = Replacement::transform(&allowance, &old, ignores).await;
    assert!(matches!(result, Err(BodyError::GivenUp)), "{result:?}");
}

#[tokio::test]
async fn writer_mends_line_ends_when_asked() {
    let text = b"one\ntwo\r\nthree\n".repeat(20_000);
    let mended = b"one\r\ntwo\r\nthree\r\n".repeat(20_000);
    let (budget, _folder) = budget(|_| ());
    let mut pushed = budget.message().writer().crlf_lines();
    pushed.push(text.clone()).await.unwrap();
    let mut written = budget.message().writer().crlf_lines();
    written.write_all(&text).await.unwrap();
    let mut plain = budget.message().writer();
    plain.write_from(&text[..]).await.unwrap();
    assert_eq!((pushed.len(), written.len(), plain.len()), (340_000, 340_000, 300_000));
    for (writer, expected) in [(pushed, &mended), (written, &mended), (plain, &text)] {
        assert_eq!(packets(&writer.finish().await.unwrap()).await.concat(), *expected);
    }
}

#[tokio::test]
async fn what_was_written_is_in_the_body_without_a_flush() {
    let (budget, _folder) = budget(|options| options.memory = 0);
    let mut writer = budget.message().writer();
    for piece in pattern(100_000).chunks(700) {
        writer.write_all(piece).await.unwrap();
    }
    let new = writer.finish().await.unwrap();
    assert_eq!(new.body().to_bytes(100_000).await.unwrap(), pattern(100_000));
}

#[tokio::test]
async fn what_a_new_body_has_of_the_old_one_takes_no_room_again() {
    for memory in [SMALL, 0] {
        // Too little for two of them.
        let (budget, _folder) = budget(|options| {
            options.memory = memory;
            options.spool = SMALL as u64;
        });
        let allowance = budget.message();
        let whole = pattern(SMALL * 2 / 3);
        let body = collect(&allowance, &whole, 60_000).await.unwrap();
        let before = budget.usage();
        let with_footer = Replacement::transform(&allowance, &body, async |mut from, to: &mut BodyWriter| {
            while let Some(piece) = from.next_chunk().await {
                to.push(piece?).await?;
            }
            assert_eq!(to.len(), whole.len() as u64);
            Ok(to.push("footer").await?)
        });
        let with_footer = with_footer.await.unwrap();
        assert_eq!(with_footer.body().is_spooled(), memory == 0);
        let (after, footer) = (budget.usage(), "footer".len());
        let taken = (after.memory - before.memory) as u64 + (after.spool - before.spool);
        assert!(taken <= footer as u64, "{taken} bytes for {footer}");
        // It holds on to what it has of the old one.
        drop(body);
        assert_eq!(packets(&with_footer).await.concat(), [&whole[..], b"footer"].concat());
        drop(with_footer);
        assert_eq!(budget.usage(), Usage::default());
    }
}

#[tokio::test]
async fn parts_of_the_old_body_and_new_ones_stand_in_the_order_in_which_they_were_pushed() {
    for memory in [1 << 20, 0] {
        let (budget, _folder) = budget(|options| options.memory = memory);
        let allowance = budget.message();
        let whole = pattern(SMALL);
        let body = collect(&allowance, &whole, 50_000).await.unwrap();
        let mut expected = Vec::new();
        let mixed = Replacement::transform(&allowance, &body, async |mut from, to: &mut BodyWriter| {
            let mut last = Bytes::new();
            while let Some(piece) = from.next_chunk().await {
                let piece = piece?;
                let half = piece.len() / 2;
                // Both ends in turn, with something between, a copy, little of it, and what was read long ago.
                let parts = [
                    piece.slice(half..),
                    Bytes::from_static(b"between"),
                    piece.slice(..half),
                    Bytes::copy_from_slice(&piece[..half.min(2_000)]),
                    piece.slice(2..5),
                    last.slice(..last.len() / 3),
                    piece.clone(),
                ];
                for part in parts {
                    expected.extend_from_slice(&part);
                    to.push(part).await?;
                }
                last = piece;
            }
            Ok(())
        });
        let mixed = mixed.await.unwrap();
        assert_eq!(mixed.body().len(), expected.len() as u64);
        assert_eq!(packets(&mixed).await.concat(), expected);
        let (from, to) = (100_000, 300_000);
        let mut part = mixed.body().chunks_of(from as u64..to as u64);
        let mut read = Vec::new();
        while let Some(piece) = part.next().await {
            read.extend_from_slice(&piece.unwrap());
        }
        assert!(read == expected[from..to]);
    }
}
