//! Runs attacks, and looks at the server afterwards.
//!
//! After each attack, whatever it was, the server has to be as before: it judges the message of a bystander that was
//! open all the time, it serves new sessions, and memory, descriptors and threads are back.

use std::path::Path;
use std::sync::Mutex;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::PATIENCE;
use crate::attack::{Attack, Bytes, Server};
use crate::honest::{Message, Session};
use crate::process::Usage;
use crate::target::Target;
use crate::wire::ALL_STEPS;

/// What came of an attack.
#[derive(Debug)]
pub struct Outcome {
    /// Its name.
    pub name: &'static str,
    /// How long it took.
    pub time: Duration,
    /// Connections and bytes.
    pub done: (u64, u64),
    /// Before all attacks, and after this one.
    pub usage: (Usage, Usage),
    /// What went wrong.
    pub result: Result<()>,
}

/// Runs attacks against servers that it starts: one for all that need none of their own, each of which meanwhile has
/// one. Reports each outcome when it is there, and returns whether all went well.
pub fn run(program: &Path, attacks: &[Attack], report: impl Fn(&Outcome) + Sync) -> Result<bool> {
    let well = Mutex::new(true);
    let note = |outcome: &Outcome| {
        *well.lock().expect("nobody panics with it") &= outcome.result.is_ok();
        report(outcome);
    };
    let (shared, own): (Vec<_>, Vec<_>) = attacks.iter().partition(|attack| attack.server == Server::Shared);
    thread::scope(|scope| -> Result<()> {
        let own: Vec<_> = own
            .into_iter()
            .map(|attack: &Attack| {
                let note = &note;
                scope.spawn(move || -> Result<()> {
                    let (options, short): (&[&str], _) = match attack.server {
                        Server::With(options) => (options, false),
                        server => (&[], server == Server::Short),
                    };
                    note(&one(attack, &Target::start(program, options, short)?));
                    Ok(())
                })
            })
            .collect();
        if !shared.is_empty() {
            let target = Target::start(program, &[], false)?;
            for attack in shared {
                note(&one(attack, &target));
            }
        }
        own.into_iter().try_for_each(|thread| thread.join().expect("an attack fails without a panic"))
    })
    .map(|()| well.into_inner().expect("nobody panics with it"))
}

/// Runs one attack and looks at the server.
pub fn one(attack: &Attack, target: &Target) -> Outcome {
    let start = Instant::now();
    let result = survive(attack, target);
    let (base, now) = (target.base(), target.usage().unwrap_or_default());
    Outcome {
        name: attack.name,
        time: start.elapsed(),
        done: target.tally.take(),
        usage: (base, now),
        result: result.with_context(|| format!("attack {}", attack.name)),
    }
}

fn survive(attack: &Attack, target: &Target) -> Result<()> {
    let mark = target.log.as_ref().map_or(0, |log| log.mark());
    let mut bystander = Session::begin(target, ALL_STEPS).context("the bystander")?;
    let message = Message::new(1, 2, b"Hello.\r\n".to_vec());
    let steps = bystander.steps();
    let (begin, rest) =
        message.exchanges(steps).into_iter().enumerate().partition::<Vec<_>, _>(|(at, _)| *at < 3);
    begin.iter().try_for_each(|(_, exchange)| bystander.exchange(exchange))?;

    (attack.run)(target)?;

    let mut finish = || -> Result<()> {
        rest.iter().try_for_each(|(_, exchange)| bystander.exchange(exchange))?;
        bystander.finish(&message)
    };
    finish().context("the bystander, whose message was open all the time")?;
    bystander.end().context("the bystander")?;
    recovered(target)?;
    if let Some(log) = &target.log {
        let unexpected = log.unexpected(mark);
        let some = unexpected.iter().take(5).map(String::as_str).collect::<Vec<_>>().join("\n");
        ensure!(
            unexpected.is_empty(),
            "{} log lines that nobody expected, such as\n{some}",
            unexpected.len()
        );
    }
    declared(attack, target.tally.peek())
}

/// Serves sessions until nothing is left of what the attack took.
fn recovered(target: &Target) -> Result<()> {
    let (base, start) = (target.base(), Instant::now());
    loop {
        target.settle().context("a session after the attack")?;
        let now = target.usage()?;
        if now.descriptors <= base.descriptors
            && now.threads <= base.threads
            && now.resident <= target.memory()
        {
            return Ok(());
        }
        ensure!(
            start.elapsed() < PATIENCE,
            "not back as before: {} KiB of memory, {} descriptors, {} threads; before {}, {}, {}",
            now.resident >> 10,
            now.descriptors,
            now.threads,
            base.resident >> 10,
            base.descriptors,
            base.threads
        );
        sleep(Duration::from_millis(50));
    }
}

/// Holds what was done against what the attack says that it does.
fn declared(attack: &Attack, (connections, bytes): (u64, u64)) -> Result<()> {
    let right = match attack.bytes {
        Bytes::Exactly(count) => count == bytes,
        Bytes::AtLeast(count) => count <= bytes,
    };
    ensure!(
        right && attack.connections == connections,
        "it made {connections} connections and sent {bytes} bytes; it declares {} and {}",
        attack.connections,
        attack.bytes
    );
    Ok(())
}
