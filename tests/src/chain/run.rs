//! Runs a case of several filters in both ways, and compares.

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{ChainSite, Trace};
use crate::case::{ChainCase, Member, Mode};
use crate::filter::{RunningChain, TamisHost};
use crate::host::{EventLog, FilterHost as _, RunningFilter};
use crate::runner::{Failure, check_lines, check_messages, converse, take_delivered, take_held};

/// How long Postfix may take to say goodbye to the filters.
const PATIENCE: Duration = Duration::from_secs(10);

/// The ways to put several filters to Postfix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Each on a socket of its own, which Postfix connects to.
    Separate,
    /// As a chain.
    Chain,
    /// As a chain that asks filters on sockets of their own.
    ChainOfRemotes,
}

impl Way {
    /// Those that have to be as separate filters are.
    pub const CHAINS: [Self; 2] = [Self::Chain, Self::ChainOfRemotes];

    fn name(self) -> &'static str {
        match self {
            Self::Separate => "separate",
            Self::Chain => "chain",
            Self::ChainOfRemotes => "chain of remotes",
        }
    }
}

/// Filters that run in one of the ways; they stop when dropped.
pub struct Arranged {
    smtp: SocketAddr,
    filters: Vec<Filter>,
    _running: Running,
}

/// What is known of a filter that runs.
struct Filter {
    name: String,
    log: EventLog,
    /// It logs nothing before its first message.
    is_function: bool,
}

/// What keeps them running.
enum Running {
    Separate { _filters: Vec<Box<dyn RunningFilter>> },
    Chain { _chain: RunningChain },
}

impl Arranged {
    /// Starts filters; when this returns they accept connections.
    pub fn start(way: Way, mode: Mode, members: &[Member], memory: Option<usize>, site: &ChainSite) -> Self {
        let (smtp, logs, running) = match way {
            Way::Separate => {
                let (smtp, listen) = site.separate(members.len());
                let host = TamisHost::new().memory(memory);
                let filters = members.iter().zip(&listen);
                let filters: Vec<_> =
                    filters.map(|(member, listen)| host.start(&member.script, listen)).collect();
                let logs = filters.iter().map(|filter| filter.log().clone()).collect();
                (smtp, logs, Running::Separate { _filters: filters })
            }
            Way::Chain | Way::ChainOfRemotes => {
                let (smtp, listen) = site.chain();
                let chain = match way {
                    Way::Chain => RunningChain::start(mode, members, memory, &listen),
                    _ => RunningChain::start_remote(mode, members, memory, &listen),
                };
                (smtp, chain.logs().to_vec(), Running::Chain { _chain: chain })
            }
        };
        let filter = |(member, log): (&Member, EventLog)| Filter {
            name: member.name.clone(),
            log,
            is_function: member.script.needs.function,
        };
        let filters = members.iter().zip::<Vec<_>>(logs).map(filter).collect();
        Self { smtp, filters, _running: running }
    }

    /// Where the client finds the server that calls them.
    pub fn smtp(&self) -> SocketAddr {
        self.smtp
    }

    /// Waits until the filters have seen the end of so many sessions.
    pub fn wait_for_end(&self, sessions: usize) {
        for Filter { log, is_function, .. } in &self.filters {
            let ended = |lines: &[String]| {
                // A filter is not told of a session that was over before it began for it.
                let saw_nothing = lines.is_empty() && !is_function;
                saw_nothing || lines.iter().filter(|line| *line == "close").count() >= sessions
            };
            // If it does not come, it is missing in what is compared.
            log.wait(PATIENCE, ended);
        }
    }

    /// Adds what each filter saw to a trace, and returns it.
    pub fn seen(&self, trace: &mut Trace) -> Vec<Vec<String>> {
        self.filters.iter().map(|filter| trace.events(&filter.name, &filter.log)).collect()
    }
}

/// Runs one case, given as it is for each way, on an instance with its configuration.
pub fn run_case(separate: &ChainCase, chain: &ChainCase, site: &ChainSite) -> Result<(), Failure> {
    let log_before = site.mta().log().len();
    let mut report = Report::default();
    let one_by_one = (chain.mode == Mode::Pipeline).then(|| report.play(Way::Separate, separate, site));
    for way in Way::CHAINS {
        let in_chain = report.play(way, chain, site);
        let differences = one_by_one.as_ref().map(|one| one.differences(&in_chain, &chain.differing));
        let differences = differences.into_iter().flatten();
        report.problems.extend(differences.map(|difference| format!("{}: {difference}", way.name())));
    }
    if report.problems.is_empty() {
        return Ok(());
    }
    let log = site.mta().log().get(log_before..).unwrap_or_default().to_owned();
    Err(Failure { path: path(chain), problems: report.problems, events: report.events, log })
}

fn path(case: &ChainCase) -> PathBuf {
    case.path.clone()
}

/// What went otherwise than expected, and what the filters saw.
#[derive(Default)]
struct Report {
    problems: Vec<String>,
    events: Vec<String>,
}

impl Report {
    fn play(&mut self, way: Way, case: &ChainCase, site: &ChainSite) -> Trace {
        let arranged = Arranged::start(way, case.mode, &case.filters, case.memory, site);
        let (mut problems, mut replies, mut trace) = (Vec::new(), Vec::new(), Trace::default());
        let sessions = Cell::new(0);
        let ended = || {
            sessions.set(sessions.get() + 1);
            arranged.wait_for_end(sessions.get());
        };
        problems.extend(converse(&case.dialogue, arranged.smtp(), &mut replies, &ended).err());
        trace.replies(&replies);
        let delivered = take_delivered(site.mta(), site.sink());
        let held = take_held(site.mta());
        for (place, expected, got) in [("delivered", &case.delivered, delivered), ("held", &case.held, held)]
        {
            match got {
                Ok(got) => {
                    trace.messages(place, &got);
                    problems.extend(check_messages(place, expected, got));
                }
                Err(problem) => problems.push(problem),
            }
        }
        ended();
        for (member, lines) in case.filters.iter().zip(arranged.seen(&mut trace)) {
            let unexpected = check_lines(&member.events, &lines);
            problems.extend(unexpected.into_iter().map(|problem| format!("{}: {problem}", member.name)));
            let seen = lines.iter().filter(|line| !line.starts_with("> "));
            let seen = seen.map(|line| format!("{} {}: {line}", way.name(), member.name));
            self.events.extend(seen);
        }
        self.problems.extend(problems.iter().map(|problem| format!("{}: {problem}", way.name())));
        trace
    }
}
