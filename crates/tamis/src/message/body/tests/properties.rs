use std::io::SeekFrom;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::super::queue::{Answer, Asked, Queue};
use super::*;

fn on_a_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[derive(Clone, Debug)]
enum Act {
    Read(usize),
    Chunk,
    Start(u64),
    End(i64),
    Current(i64),
}

fn act() -> impl Strategy<Value = Act> {
    let far = 80_000_i64;
    prop_oneof![
        (0..40_000_usize).prop_map(Act::Read),
        Just(Act::Chunk),
        (0..80_000_u64).prop_map(Act::Start),
        (-far..10).prop_map(Act::End),
        (-far..far).prop_map(Act::Current),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn body_reads_as_a_vector_does(
        pieces in prop::collection::vec(0..30_000_usize, 0..8),
        memory in prop_oneof![Just(0_usize), 0..100_000_usize],
        total_memory in prop_oneof![Just(0_usize), 0..100_000_usize],
        acts in prop::collection::vec(act(), 0..20),
    ) {
        let whole = pattern(pieces.iter().sum());
        let (budget, folder) = budget(|options| {
            options.memory = memory;
            options.total_memory = total_memory;
        });
        on_a_runtime(async {
            let mut collector = budget.message().collector();
            let mut at = 0;
            for len in pieces {
                collector.push(Bytes::copy_from_slice(&whole[at..at + len])).await.unwrap();
                at += len;
                assert_eq!(collector.len(), at as u64);
                assert!(budget.usage().memory <= total_memory);
            }
            let body = collector.finish().await.unwrap();
            assert_eq!(body.len(), whole.len() as u64);
            assert!(body.is_spooled() || whole.len() <= memory);
            assert!(!body.is_spooled() || budget.usage().spool == body.len());
            let mut reader = body.reader();
            let mut at = 0_i64;
            let end = i64::try_from(whole.len()).unwrap();
            for act in acts {
                let here = usize::try_from(at.min(end)).unwrap();
                let to = match act {
                    Act::Read(count) => {
                        let mut got = Vec::new();
                        (&mut reader).take(count as u64).read_to_end(&mut got).await.unwrap();
                        assert_eq!(got, whole[here..whole.len().min(here + count)]);
                        at += i64::try_from(got.len()).unwrap();
                        continue;
                    }
                    Act::Chunk => {
                        let got = reader.next_chunk().await.transpose().unwrap();
                        assert_eq!(got.is_none(), at >= end);
                        let got = got.unwrap_or_default();
                        assert_eq!(got, whole[here..here + got.len()]);
                        at += i64::try_from(got.len()).unwrap();
                        continue;
                    }
                    Act::Start(to) => SeekFrom::Start(to),
                    Act::End(by) => SeekFrom::End(by),
                    Act::Current(by) => SeekFrom::Current(by),
                };
                let wanted = match to {
                    SeekFrom::Start(to) => i64::try_from(to).unwrap(),
                    SeekFrom::End(by) => end + by,
                    SeekFrom::Current(by) => at + by,
                };
                let got = reader.seek(to).await.ok();
                assert_eq!(got, u64::try_from(wanted).ok());
                if got.is_some() {
                    at = wanted;
                }
            }
        });
        prop_assert_eq!(budget.usage(), Usage::default());
        prop_assert!(is_empty(folder.path()));
    }

    #[test]
    fn queue_never_gives_too_much_and_never_stands_still(
        acts in prop::collection::vec((0..6_u64, 1..60_u64, 0..4_u8), 0..200)
    ) {
        let limit = 100;
        let mut queue = Queue::new(limit);
        let mut held: Vec<(u64, u64)> = Vec::new();
        let mut waiting = Vec::new();
        for (message, bytes, act) in acts {
            match act {
                0 | 1 => match queue.ask(message, bytes, 80) {
                    Asked::Granted => held.push((message, bytes)),
                    Asked::Wait(place, answer) => waiting.push((message, bytes, place, answer)),
                    Asked::TooMuch => {}
                },
                2 if !held.is_empty() => {
                    let (message, bytes) = held.swap_remove(usize::try_from(bytes).unwrap() % held.len());
                    queue.give_back(message, bytes);
                }
                3 if !waiting.is_empty() => {
                    let at = usize::try_from(bytes).unwrap() % waiting.len();
                    let (message, bytes, place, mut answer) = waiting.swap_remove(at);
                    if !queue.leave(place) && answer.try_recv() == Ok(Answer::Granted) {
                        queue.give_back(message, bytes);
                    }
                }
                _ => {}
            }
            let mut gave_way = Vec::new();
            waiting.retain_mut(|(message, bytes, _, answer)| match answer.try_recv() {
                Ok(Answer::Granted) => {
                    held.push((*message, *bytes));
                    false
                }
                Ok(Answer::GiveWay) => {
                    gave_way.push(*message);
                    false
                }
                Err(_) => true,
            });
            let holds = |message| held.iter().any(|(owner, _)| *owner == message);
            prop_assert!(gave_way.iter().copied().all(holds), "its failure helps nobody");
            let waits = |owner: u64| waiting.iter().any(|(message, ..)| *message == owner);
            let stands = |owner: u64| waits(owner) || gave_way.contains(&owner);
            prop_assert!(
                gave_way.is_empty() || held.iter().all(|(owner, _)| stands(*owner)),
                "somebody could have given back"
            );
            let used: u64 = held.iter().map(|(_, bytes)| bytes).sum();
            prop_assert_eq!((queue.used(), queue.waiting()), (used, waiting.len()));
            prop_assert!(used <= limit);
            for message in 0..6 {
                let of_it: u64 = held.iter().filter(|(owner, _)| *owner == message).map(|(_, bytes)| bytes).sum();
                prop_assert!(of_it <= 80);
            }
            if let Some((_, first, ..)) = waiting.iter().min_by_key(|(_, _, place, _)| *place) {
                prop_assert!(used + first > limit, "the first could have been granted");
                let moves = held.iter().any(|(owner, _)| !waits(*owner));
                prop_assert!(moves, "nobody can give anything back");
            }
        }
        // Whoever is left gives back, and the others are granted.
        while let Some((message, bytes)) = held.pop() {
            queue.give_back(message, bytes);
            waiting.retain_mut(|(message, bytes, _, answer)| match answer.try_recv() {
                Ok(Answer::Granted) => {
                    held.push((*message, *bytes));
                    false
                }
                Ok(Answer::GiveWay) => false,
                Err(_) => true,
            });
        }
        prop_assert_eq!((queue.used(), queue.waiting()), (0, 0));
    }
}
