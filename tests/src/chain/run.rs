//! Runs a case of several filters in both ways, and compares.

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{ChainSite, Trace};
use crate::case::{Arrangement, ChainCase, Member, Mode};
use crate::filter::{RunningChain, TamisHost, start_chain};
use crate::host::{EventLog, FilterHost as _, RunningFilter};
use crate::runner::{Failure, check_lines, check_messages, converse, take_delivered, take_held};

/// How long Postfix may take to say goodbye to the filters.
const PATIENCE: Duration = Duration::from_secs(10);

/// Filters that run in one of the two ways; they stop when dropped.
pub struct Arranged {
    smtp: SocketAddr,
    filters: Vec<(String, EventLog)>,
    _running: Running,
}

/// What keeps them running.
enum Running {
    Separate { _filters: Vec<Box<dyn RunningFilter>> },
    Chain { _chain: RunningChain },
}

impl Arranged {
    /// Starts filters; when this returns they accept connections.
    pub fn start(
        arrangement: Arrangement,
        mode: Mode,
        members: &[Member],
        memory: Option<usize>,
        site: &ChainSite,
    ) -> Self {
        let (smtp, logs, running) = match arrangement {
            Arrangement::Separate => {
                let (smtp, listen) = site.separate(members.len());
                let host = TamisHost::new().memory(memory);
                let filters = members.iter().zip(&listen);
                let filters: Vec<_> =
                    filters.map(|(member, listen)| host.start(&member.script, listen)).collect();
                let logs = filters.iter().map(|filter| filter.log().clone()).collect();
                (smtp, logs, Running::Separate { _filters: filters })
            }
            Arrangement::Chain => {
                let (smtp, listen) = site.chain();
                let chain = start_chain(mode, members, memory, &listen);
                (smtp, chain.logs().to_vec(), Running::Chain { _chain: chain })
            }
        };
        let filters = members.iter().map(|member| member.name.clone()).zip::<Vec<_>>(logs).collect();
        Self { smtp, filters, _running: running }
    }

    /// Where the client finds the server that calls them.
    pub fn smtp(&self) -> SocketAddr {
        self.smtp
    }

    /// Waits until the filters have seen the end of so many sessions.
    pub fn wait_for_end(&self, sessions: usize) {
        let ended = |lines: &[String]| {
            // A filter is not told of a session that was over before it began for it.
            lines.is_empty() || lines.iter().filter(|line| *line == "close").count() >= sessions
        };
        for (_, log) in &self.filters {
            // If it does not come, it is missing in what is compared.
            log.wait(PATIENCE, ended);
        }
    }

    /// Adds what each filter saw to a trace, and returns it.
    pub fn seen(&self, trace: &mut Trace) -> Vec<Vec<String>> {
        self.filters.iter().map(|(name, log)| trace.events(name, log)).collect()
    }
}

/// Runs one case, given as it is for each way, on an instance with its configuration.
pub fn run_case(separate: &ChainCase, chain: &ChainCase, site: &ChainSite) -> Result<(), Failure> {
    let log_before = site.mta().log().len();
    let mut report = Report::default();
    let in_chain = report.play(Arrangement::Chain, chain, site);
    if chain.mode == Mode::Pipeline {
        let one_by_one = report.play(Arrangement::Separate, separate, site);
        report.problems.extend(one_by_one.differences(&in_chain, &chain.differing));
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
    fn play(&mut self, arrangement: Arrangement, case: &ChainCase, site: &ChainSite) -> Trace {
        let arranged = Arranged::start(arrangement, case.mode, &case.filters, case.memory, site);
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
            let seen = seen.map(|line| format!("{} {}: {line}", arrangement.name(), member.name));
            self.events.extend(seen);
        }
        self.problems.extend(problems.iter().map(|problem| format!("{}: {problem}", arrangement.name())));
        trace
    }
}
