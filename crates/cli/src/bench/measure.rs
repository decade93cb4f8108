//! The course of a measurement.

use anyhow::{Result, anyhow};
use clap::ValueEnum;
use mio::Poll;
use tamis::SocketSpec;
use tamis::client::Client;
use tamis::proto::{Agreement, MtaConfig};

use super::check::Check;
use super::load::{Interrupted, Load};
use super::process::{self, Process, Usage};
use super::progress::Progress;
use super::report::{Ending, Results, Server};
use super::socket::Target;
use super::stint::Stint;
use super::tally::Tally;
use super::world::World;
use super::{Args, files};

pub(super) fn measure(args: &Args) -> Result<Results> {
    let process = args.server_pid.map(Process::find).transpose()?;
    let look = || process.map(Process::usage).transpose();
    files::allow(args.amount.connections + args.amount.idle)?;
    let agreement = ask(&args.to, args.config())?;
    let mut load = load(args)?;
    load.open().map_err(|error| at_filter(args, error))?;
    if args.check {
        learn(args, &mut load)?;
    }
    let without_idle = look()?;
    load.hold(args.amount.idle).map_err(|error| at_filter(args, error))?;
    let with_idle = look()?;
    let warm_up = args.amount.warm_up();
    load.send(warm_up, "warming up")?;
    if load.is_interrupted() {
        return Err(Interrupted.into());
    }
    load.world().reset();

    let before = look()?;
    let own = process::own();
    if !load.has_given_up() {
        load.send(args.amount.stint(), "measuring")?;
    }
    let client = process::own().since(own);
    let after = look();
    let stint = load.world().stint.clone();
    let ending = match () {
        () if load.is_interrupted() => Ending::Interrupted,
        () if load.has_given_up() => Ending::GivenUp,
        () => Ending::Done,
    };
    // Ctrl-C leaves no time for goodbyes.
    if ending == Ending::Done {
        load.leave()?;
    }
    let world = load.world();
    let mut tally = std::mem::replace(&mut world.tally, Tally::new());
    let server = match (process, before, after) {
        (Some(process), Some(before), Ok(Some(after))) => {
            let idle = idle_bytes(args.amount.idle, without_idle, with_idle);
            Some(Server { pid: process.pid(), spent: after.since(&before), usage: after, idle })
        }
        (_, _, Err(gone)) => {
            tally.error("server-gone", || gone.to_string());
            None
        }
        _ => None,
    };
    let check = world.check.take().map(|mut check| {
        tally.mismatches(check.mismatches, check.explained.take());
        (check.messages, check.mismatches)
    });
    let message_bytes = world.shape.bytes();
    Ok(Results {
        tally,
        elapsed: stint.elapsed(),
        missed: stint.missed(),
        message_bytes,
        agreement,
        client,
        server,
        check,
        ending,
    })
}

fn load(args: &Args) -> Result<Load> {
    let poll = Poll::new()?;
    let registry = poll.registry().try_clone()?;
    let mut world = World::new(registry, Target::find(&args.to)?, args.config(), args.shape());
    world.timeout = args.timeout;
    world.check = args.check.then(Check::default);
    let progress = Progress::new(args.quiet);
    Load::new(poll, world, args.amount.connections, args.amount.per_connection, progress)
}

/// Connects once as an MTA would, which tells best what is wrong where nothing can be measured.
fn ask(to: &SocketSpec, config: MtaConfig) -> Result<Agreement> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::connect(to, config).await?;
        let agreement = client.agreement().clone();
        client.quit().await?;
        Ok(agreement)
    })
}

/// Sends the message that all others are compared with.
fn learn(args: &Args, load: &mut Load) -> Result<()> {
    load.send(Stint::new(1, None, None), "first message")?;
    if load.is_interrupted() {
        return Err(Interrupted.into());
    }
    let world = load.world();
    let Some(check) = &world.check else { return Ok(()) };
    check.verify(args.expect, world.shape.pieces()).map_err(|why| match args.expect {
        Some(expect) if check.has_learned() => {
            let name = expect.to_possible_value().expect("no expectation is hidden");
            anyhow!(
                "{}: the first message is not treated as --expect {} says: {why}",
                args.to,
                name.get_name()
            )
        }
        _ => anyhow!("{}: the first message failed: {}", args.to, world.tally.any_error().unwrap_or(&why)),
    })
}

/// Resident bytes of each idle connection.
fn idle_bytes(count: usize, without: Option<Usage>, with: Option<Usage>) -> Option<f64> {
    let (without, with) = (without?.resident_kib as f64, with?.resident_kib as f64);
    (count > 0).then(|| (with - without) * 1024.0 / count as f64)
}

fn at_filter(args: &Args, error: anyhow::Error) -> anyhow::Error {
    if error.is::<Interrupted>() { error } else { anyhow!("{}: {error}", args.to) }
}
