//! What a large body takes of memory. Alone in its process, whose memory it looks at.

use bytes::Bytes;
use tamis::message::{BodyOptions, BodyReader, BodyWriter, Budget, Replacement};

const MIB: u64 = 1 << 20;
const BODY: u64 = 256 * MIB;
const PIECE: usize = 65_535;

/// The most memory that the process had so far, in bytes.
fn most_resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn body_of_any_size_is_collected_transformed_and_sent_in_little_memory() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut options = BodyOptions::default();
    options.folder = folder.path().to_owned();
    options.total_memory = 2 << 20;
    let budget = Budget::new(options);
    let before = most_resident();

    let allowance = budget.message();
    let mut collector = allowance.collector();
    let mut most_counted = 0;
    while collector.len() < BODY {
        collector.push(Bytes::from(vec![b'x'; PIECE])).await.unwrap();
        most_counted = most_counted.max(budget.usage().memory);
    }
    let body = collector.finish().await.unwrap();
    assert!((MIB / 2..=MIB).contains(&(most_counted as u64)), "{most_counted}");
    assert_eq!((budget.usage().memory, budget.usage().spool), (0, body.len()));

    let copy = async |mut from: BodyReader, to: &mut BodyWriter| {
        while let Some(chunk) = from.next_chunk().await {
            to.push(chunk?).await?;
        }
        Ok(())
    };
    let new = Replacement::transform(&allowance, &body, copy).await.unwrap();
    let mut packets = new.packets();
    let mut sent = 0;
    while let Some(packet) = packets.next().await {
        sent += packet.unwrap().len() as u64;
    }
    assert_eq!(sent, body.len());

    let more = most_resident() - before;
    assert!(more < 6 * MIB, "{more} bytes for a body of {BODY}");
}
