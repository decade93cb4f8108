//! The budgets, and whether they are met. A budget that is not met is told and fails nothing: times are the machine's.

use super::peer::{
    CHAINS, FLOOR, FLOOR_TOKIO, HANDLERS, HANDLERS_SPOOL, LIBMILTER, LIBMILTER_ON_TAMIS, LINEAR, MILTR,
    PYMILTER,
};
use super::table::{Row, Table, markdown, number};

struct Budget {
    mark: &'static str,
    scenario: &'static str,
    peers: &'static [&'static str],
    what: What,
    against: Against,
    bound: Bound,
}

/// What is looked at.
#[derive(Clone, Copy)]
enum What {
    Cpu,
    Rate,
    IdleKib,
    Allocations,
    SystemCalls,
    /// CPU time of each filter that a chain has more.
    AddedFilter,
}

/// What that is divided by.
#[derive(Clone, Copy)]
enum Against {
    /// It counts as it is.
    Nothing,
    /// The same of another peer in the same scenario; the least of several.
    Peers(&'static [&'static str]),
    /// The same of this peer in another scenario.
    Itself(&'static str),
    /// CPU time per message of another peer.
    CpuOf(&'static str),
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

const OTHERS: Against = Against::Peers(&[MILTR, LIBMILTER, PYMILTER]);
const STYLES: &[&str] = &[HANDLERS, LINEAR];

#[rustfmt::skip]
const BUDGETS: [Budget; 25] = [
    budget("foundation", "answered", STYLES, What::Cpu, Against::Peers(&[FLOOR]), Bound::AtMost(1.35)),
    budget("foundation", "answered", STYLES, What::Cpu, OTHERS, Bound::AtMost(1.0)),
    budget("foundation", "no-reply", STYLES, What::Cpu, Against::Peers(&[FLOOR]), Bound::AtMost(2.0)),
    budget("foundation", "wait50", STYLES, What::Cpu, Against::Peers(&[FLOOR]), Bound::AtMost(1.6)),
    budget("foundation", "wait50", STYLES, What::Rate, Against::Peers(&[FLOOR]), Bound::AtLeast(0.6)),
    budget("foundation", "look", STYLES, What::Cpu, OTHERS, Bound::AtMost(1.0)),
    budget("foundation", "replace25", STYLES, What::Cpu, OTHERS, Bound::AtMost(1.0 / 1.1)),
    budget("foundation", "replace25", &[HANDLERS_SPOOL], What::Cpu, Against::Peers(&[MILTR]), Bound::AtMost(1.0)),
    budget("foundation", "idle", STYLES, What::IdleKib, Against::Nothing, Bound::AtMost(1.5)),
    budget("foundation", "answered", STYLES, What::Allocations, Against::Nothing, Bound::AtMost(2.0)),
    budget("foundation", "header", STYLES, What::SystemCalls, Against::Itself("answered"), Bound::AtMost(1.02)),
    budget("moonshot", "answered", STYLES, What::Cpu, Against::Peers(&[FLOOR_TOKIO]), Bound::AtMost(1.08)),
    budget("moonshot", "no-reply", STYLES, What::Cpu, Against::Peers(&[FLOOR_TOKIO]), Bound::AtMost(1.3)),
    budget("libmilter", "libmilter-1", &[LIBMILTER_ON_TAMIS], What::Cpu, SYSTEM, Bound::AtMost(0.4)),
    budget("libmilter", "libmilter-50", &[LIBMILTER_ON_TAMIS], What::Cpu, SYSTEM, Bound::AtMost(0.4)),
    budget("libmilter", "libmilter-500", &[LIBMILTER_ON_TAMIS], What::Cpu, SYSTEM, Bound::AtMost(0.4)),
    budget("libmilter", "libmilter-wait-500", &[LIBMILTER_ON_TAMIS], What::Rate, SYSTEM, Bound::AtLeast(1.0)),
    budget("libmilter", "libmilter-wait-2000", &[LIBMILTER_ON_TAMIS], What::Rate, SYSTEM, Bound::AtLeast(2.0)),
    budget("libmilter", "idle", &[LIBMILTER_ON_TAMIS], What::IdleKib, SYSTEM, Bound::AtMost(1.0)),
    budget("chain", "chain-answered", LONGEST, What::AddedFilter, ONE_FILTER, Bound::AtMost(0.03)),
    budget("chain", "chain-answered-async", LONGEST, What::AddedFilter, ONE_FILTER, Bound::AtMost(0.03)),
    budget("chain", "chain-pipeline", LONGEST, What::AddedFilter, ONE_FILTER, Bound::AtMost(0.03)),
    budget("chain", "chain-no-reply", LONGEST, What::AddedFilter, ONE_FILTER, Bound::AtMost(0.15)),
    budget("chain", "chain-no-reply-async", LONGEST, What::AddedFilter, ONE_FILTER, Bound::AtMost(0.15)),
    budget("chain", "chain-pipeline-no-reply", LONGEST, What::AddedFilter, ONE_FILTER, Bound::AtMost(0.15)),
];

const LONGEST: &[&str] = &[CHAINS[CHAINS.len() - 1]];
/// All of its cost, while an added filter has only what is more.
const ONE_FILTER: Against = Against::CpuOf(HANDLERS);

const SYSTEM: Against = Against::Peers(&[LIBMILTER]);

const fn budget(
    mark: &'static str,
    scenario: &'static str,
    peers: &'static [&'static str],
    what: What,
    against: Against,
    bound: Bound,
) -> Budget {
    Budget { mark, scenario, peers, what, against, bound }
}

/// A table of the budgets that the measurements say something about.
pub(crate) fn report(tables: &[Table]) -> Option<String> {
    let rows: Vec<_> = BUDGETS.iter().flat_map(|budget| budget.judge(tables)).collect();
    let head = ["budget", "scenario", "peer", "of what", "bound", "measured", "met"].map(String::from);
    (!rows.is_empty()).then(|| format!("### Budgets\n\n{}", markdown(5..6, &head, rows)))
}

impl Budget {
    fn judge(&self, tables: &[Table]) -> Vec<Vec<String>> {
        self.peers.iter().filter_map(|peer| self.judge_peer(peer, tables)).collect()
    }

    fn judge_peer(&self, peer: &str, tables: &[Table]) -> Option<Vec<String>> {
        let table = |scenario: &str| tables.iter().find(|table| table.scenario.name == scenario);
        let own = table(self.scenario)?;
        let value = self.what.of(own, own.row(peer)?)?;
        let (reference, name) = match self.against {
            Against::Nothing => (1.0, String::new()),
            Against::Peers(others) => {
                let others = others.iter().filter_map(|other| {
                    let row = own.row(other)?;
                    Some((self.what.of(own, row)?, row.peer.name))
                });
                let (value, name) = others.min_by(|a, b| a.0.total_cmp(&b.0))?;
                (value, format!(" × {name}"))
            }
            Against::Itself(other) => {
                let table = table(other)?;
                (self.what.of(table, table.row(peer)?)?, format!(" × {other}"))
            }
            Against::CpuOf(other) => (own.row(other)?.sample.cpu, format!(" × {other}")),
        };
        let value = value / reference;
        let (bound, met) = match self.bound {
            Bound::AtMost(bound) => (format!("≤ {}{name}", number(bound)), value <= bound),
            Bound::AtLeast(bound) => (format!("≥ {}{name}", number(bound)), value >= bound),
        };
        let met = if met { "yes" } else { "**no**" };
        let row = [self.mark, self.scenario, peer, self.what.name(), &bound, &number(value), met];
        Some(row.map(String::from).to_vec())
    }
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU per message",
            Self::Rate => "messages/s",
            Self::IdleKib => "KiB per idle connection",
            Self::Allocations => "allocations per message",
            Self::SystemCalls => "system calls per message",
            Self::AddedFilter => "CPU per message and added filter",
        }
    }

    fn of(self, table: &Table, row: &Row) -> Option<f64> {
        match self {
            Self::Cpu => Some(row.sample.cpu),
            Self::Rate => Some(row.sample.rate),
            Self::IdleKib => row.sample.idle.map(|bytes| bytes / 1024.0),
            Self::Allocations => row.counts.allocations,
            Self::SystemCalls => row.counts.system_calls,
            Self::AddedFilter => table.added_filter(row),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::count::Counts;
    use super::super::run::Sample;
    use super::super::{peer, scenario};
    use super::*;

    fn table(name: &str, cpu: &[(&str, f64)]) -> Table {
        let row = |&(name, cpu): &(&str, f64)| Row {
            peer: peer::ALL.iter().find(|peer| peer.name == name).unwrap(),
            sample: Sample { cpu, ..Sample::default() },
            counts: Counts::default(),
        };
        let scenario = scenario::ALL.iter().find(|scenario| scenario.name == name).unwrap();
        Table { scenario, rows: cpu.iter().map(row).collect() }
    }

    #[test]
    fn budget_names_what_it_compares_with_and_by_how_much_it_is_missed() {
        let answered =
            table("answered", &[(FLOOR, 50.0), (HANDLERS, 70.0), (MILTR, 69.0), (LIBMILTER, 200.0)]);
        let report = report(&[answered]).unwrap();
        let row = |end: &str| assert!(report.lines().any(|line| line.ends_with(end)), "{end}\n{report}");
        row("| tamis-handlers | CPU per message | ≤ 1.35 × floor | 1.40 | **no** |");
        row("| tamis-handlers | CPU per message | ≤ 1.00 × miltr | 1.01 | **no** |");
    }

    #[test]
    fn nothing_is_said_about_what_was_not_measured() {
        assert_eq!(report(&[table("answered", &[(HANDLERS, 70.0)])]), None);
    }

    #[test]
    fn every_budget_is_about_peers_and_scenarios_that_exist() {
        for budget in BUDGETS {
            assert!(scenario::ALL.iter().any(|scenario| scenario.name == budget.scenario));
            for name in budget.peers {
                assert!(peer::ALL.iter().any(|peer| peer.name == *name), "{name}");
            }
        }
    }
}
