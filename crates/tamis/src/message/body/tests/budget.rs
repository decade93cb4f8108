use tokio::task::JoinSet;

use super::*;

/// No memory, and room in files for 100,000 bytes.
fn tight(wait: Duration) -> (Budget, TempDir) {
    budget(|options| {
        options.memory = 0;
        options.total_spool = 100_000;
        options.wait = wait;
    })
}

/// Nothing but an answer of the budget ends a wait of this length.
const FOREVER: Duration = Duration::from_mins(1);

async fn body_of(budget: &Budget, len: usize) -> Result<Body, BodyError> {
    collect(&budget.message(), &pattern(len), 20_000).await
}

#[tokio::test]
async fn body_waits_for_room_and_goes_on_when_there_is() {
    let (budget, _folder) = tight(FOREVER);
    let first = body_of(&budget, 60_000).await.unwrap();
    let other = budget.clone();
    let second = tokio::spawn(async move { body_of(&other, 60_000).await });
    while budget.usage().waiting == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(budget.usage().spool, 100_000);
    drop(first);
    assert_eq!(second.await.unwrap().unwrap().len(), 60_000);
    assert_eq!(budget.usage(), Usage::default());
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_an_error_and_gives_back_everything() {
    let (budget, _folder) = tight(Duration::from_secs(5));
    let first = body_of(&budget, 60_000).await.unwrap();
    let error = body_of(&budget, 60_000).await.unwrap_err();
    assert!(
        matches!(error, BodyError::NoRoom { wanted: 20_000, limit: 100_000, waited } if waited.as_secs() == 5),
        "{error}"
    );
    assert_eq!(budget.usage(), Usage { spool: 60_000, ..Usage::default() });
    drop(first);
    assert!(body_of(&budget, 100_000).await.is_ok());
}

#[tokio::test]
async fn who_waits_for_each_other_is_found_out_at_once_and_the_last_gives_way() {
    let (budget, _folder) = tight(FOREVER);
    let [old, young] = [budget.message(), budget.message()];
    let holds = [old.spool(50_000).await.unwrap(), young.spool(40_000).await.unwrap()];
    let mut old_waits = pin!(old.spool(20_000));
    assert!(begin(old_waits.as_mut()).is_pending());
    // Holds nothing, so its failure would help nobody.
    let poor = budget.message();
    let mut poor_waits = pin!(poor.spool(5_000));
    assert!(begin(poor_waits.as_mut()).is_pending());
    let error = young.spool(20_000).await.unwrap_err();
    assert!(matches!(error, BodyError::GaveWay { wanted: 20_000, limit: 100_000 }), "{error}");
    assert!(begin(old_waits.as_mut()).is_pending() && begin(poor_waits.as_mut()).is_pending());
    let [old_holds, young_holds] = holds;
    drop(young_holds);
    let old_more = old_waits.await.unwrap();
    let poor_holds = poor_waits.await.unwrap();
    assert_eq!(budget.usage().spool, 75_000);
    drop((old_holds, old_more, poor_holds));
    assert_eq!(budget.usage(), Usage::default());
}

#[tokio::test]
async fn stalemate_that_a_give_back_leaves_behind_is_found_out_too() {
    let (budget, _folder) = tight(FOREVER);
    let [one, two, three] = [budget.message(), budget.message(), budget.message()];
    let _one = one.spool(45_000).await.unwrap();
    let _two = two.spool(45_000).await.unwrap();
    let three_holds = three.spool(10_000).await.unwrap();
    let (mut one_waits, mut two_waits) = (pin!(one.spool(50_000)), pin!(two.spool(50_000)));
    assert!(begin(one_waits.as_mut()).is_pending() && begin(two_waits.as_mut()).is_pending());
    drop(three_holds);
    assert!(begin(one_waits.as_mut()).is_pending());
    assert!(matches!(two_waits.await, Err(BodyError::GaveWay { .. })));
}

#[tokio::test]
async fn two_waits_of_one_message_are_a_stalemate_with_itself() {
    let (budget, _folder) = tight(FOREVER);
    let message = budget.message();
    let other = budget.message().spool(30_000).await.unwrap();
    let holds = message.spool(50_000).await.unwrap();
    let (mut first, mut second) = (pin!(message.spool(25_000)), pin!(message.spool(25_000)));
    assert!(begin(first.as_mut()).is_pending() && begin(second.as_mut()).is_pending());
    assert_eq!(budget.usage().waiting, 2);
    drop(other);
    // There is room for both now.
    let more = (first.await.unwrap(), second.await.unwrap());
    assert_eq!(budget.usage(), Usage { spool: 100_000, ..Usage::default() });
    drop((holds, more));
    assert_eq!(budget.usage(), Usage::default());
}

#[tokio::test]
async fn nobody_overtakes_who_waits() {
    let (budget, _folder) = tight(FOREVER);
    let held = budget.message().spool(90_000).await.unwrap();
    let [large, small] = [budget.message(), budget.message()];
    let (mut large, mut small) = (pin!(large.spool(50_000)), pin!(small.spool(1_000)));
    assert!(begin(large.as_mut()).is_pending());
    assert!(begin(small.as_mut()).is_pending(), "there is room for it, but another came first");
    drop(held);
    assert!(begin(large.as_mut()).is_ready() && begin(small.as_mut()).is_ready());
}

#[tokio::test]
async fn wait_that_is_cancelled_leaves_the_queue_to_those_behind() {
    let (budget, _folder) = tight(FOREVER);
    let held = budget.message().spool(90_000).await.unwrap();
    let [large, small] = [budget.message(), budget.message()];
    let mut small_waits = pin!(small.spool(1_000));
    {
        let mut large_waits = pin!(large.spool(50_000));
        assert!(begin(large_waits.as_mut()).is_pending() && begin(small_waits.as_mut()).is_pending());
    }
    let small_holds = small_waits.await.unwrap();
    assert_eq!(budget.usage(), Usage { spool: 91_000, ..Usage::default() });
    drop((held, small_holds));
    assert_eq!(budget.usage(), Usage::default());
}

#[tokio::test]
async fn room_that_was_granted_and_not_fetched_comes_back() {
    let (budget, _folder) = tight(FOREVER);
    let held = budget.message().spool(90_000).await.unwrap();
    let other = budget.message();
    {
        let mut waits = pin!(other.spool(50_000));
        assert!(begin(waits.as_mut()).is_pending());
        drop(held);
        assert_eq!(budget.usage().spool, 50_000);
    }
    assert_eq!(budget.usage(), Usage::default());
}

/// Many messages of different sizes with room for hardly any of them.
async fn crowd() {
    let (budget, folder) = budget(|options| {
        options.memory = 20_000;
        options.total_memory = 50_000;
        options.total_spool = 150_000;
        options.wait = FOREVER;
    });
    let mut tasks = JoinSet::new();
    for nr in 0..200 {
        let budget = budget.clone();
        tasks.spawn(async move {
            let whole = pattern(nr * 701 % 100_000);
            let allowance = budget.message();
            let body = collect(&allowance, &whole, 7_000).await?;
            let new = Replacement::read(&allowance, body.reader()).await?;
            assert_eq!(new.body().to_bytes(whole.len()).await?, whole);
            Ok(())
        });
    }
    let mut done = 0;
    while let Some(ended) = tasks.join_next().await {
        match ended.unwrap() {
            Ok(()) => done += 1,
            Err(BodyError::GaveWay { .. } | BodyError::TooLong { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(done > 0);
    assert_eq!(budget.usage(), Usage::default());
    assert!(is_empty(folder.path()));
    // Nobody is left out for good.
    assert!(body_of(&budget, 150_000).await.is_ok());
}

#[tokio::test]
async fn crowd_in_a_tiny_budget_ends_on_one_thread() {
    crowd().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn crowd_in_a_tiny_budget_ends_on_many_threads() {
    crowd().await;
}
