//! What the peers are put through.

use super::peer::{CHAINS, FLOOR, FLOOR_TOKIO, HANDLERS, LIBMILTER, LIBMILTER_ON_TAMIS, Peer};

/// A load on peers that all do one thing.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What the peers are told to do.
    task: &'static str,
    pub(crate) load: Load,
    pub(crate) unit: Unit,
    /// What chains are told to do.
    of_chains: &'static str,
    /// Whom it is about, if not everybody.
    only: Option<&'static [&'static str]>,
    /// Without one of these it would say nothing.
    about: &'static [&'static str],
}

/// What the load generator does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) connections: u32,
    pub(crate) idle: u32,
    pub(crate) recipients: u32,
    pub(crate) headers: u32,
    /// In bytes.
    pub(crate) body: u64,
    /// Messages before the measurement.
    pub(crate) warm_up: u32,
    /// Messages, or as many as go into some time.
    pub(crate) messages: Option<u64>,
    pub(crate) seconds: f64,
    /// Server and load generator share a CPU. With one connection each sleeps while the other works: what would be
    /// measured on two is mostly how long a CPU takes to wake up.
    pub(crate) one_cpu: bool,
}

/// What is looked at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// CPU time for a message.
    Message,
    /// CPU time for a body.
    Body,
    /// Memory for an idle connection.
    IdleConnection,
    /// CPU time for a message in each filter that a chain has more.
    AddedFilter,
}

/// A usual message: 47 frames in, 23 answers out.
pub(crate) const USUAL: Load = Load {
    connections: 10,
    idle: 0,
    recipients: 3,
    headers: 15,
    body: 4 << 10,
    warm_up: 1_000,
    messages: None,
    seconds: 1.0,
    one_cpu: false,
};

/// All there are, in the order in which they run.
pub(crate) const ALL: [Scenario; 21] = [
    usual("answered", "Every step answered, no edits"),
    usual("header", "One header field added"),
    usual("footer", "Body replaced by itself and a footer"),
    usual("no-reply", "Every step seen, the end of message answered"),
    Scenario { load: crowd(2_000), ..usual("wait50", "2,000 connections, 50 ms wait at end of message") },
    large("look", "Body of 25 MiB looked at"),
    large("replace25", "Body of 25 MiB replaced by itself and a footer"),
    Scenario {
        load: Load { idle: 10_000, ..USUAL },
        unit: Unit::IdleConnection,
        ..usual("idle", "10,000 idle connections")
    },
    library("libmilter-1", "answered", 1, "One C program, two libraries: 1 connection, all on one CPU"),
    library("libmilter-50", "answered", 50, "One C program, two libraries: 50 connections"),
    library("libmilter-500", "answered", 500, "One C program, two libraries: 500 connections"),
    Scenario {
        load: Load { warm_up: 10, seconds: 2.0, ..crowd(1) },
        ..library(
            "libmilter-wait-1",
            "wait50",
            1,
            "One C program, two libraries: 1 connection, 50 ms wait, one CPU",
        )
    },
    library("libmilter-wait-50", "wait50", 50, "One C program, two libraries: 50 connections, 50 ms wait"),
    library("libmilter-wait-500", "wait50", 500, "One C program, two libraries: 500 connections, 50 ms wait"),
    library(
        "libmilter-wait-2000",
        "wait50",
        2_000,
        "One C program, two libraries: 2,000 connections, 50 ms wait",
    ),
    chain("chain-answered", "answered:parallel", "Chains in parallel, every step answered"),
    chain("chain-answered-async", "answered:parallel:async", "The same, `async` handlers"),
    chain("chain-pipeline", "answered:pipeline", "Chains as pipelines, every step answered"),
    chain("chain-no-reply", "no-reply:parallel", "Chains in parallel, the end of message answered"),
    chain("chain-no-reply-async", "no-reply:parallel:async", "The same, `async` handlers"),
    chain("chain-pipeline-no-reply", "no-reply:pipeline", "Chains as pipelines, the end of message answered"),
];

const fn usual(name: &'static str, title: &'static str) -> Scenario {
    Scenario {
        name,
        title,
        task: name,
        load: USUAL,
        unit: Unit::Message,
        of_chains: "",
        only: None,
        about: &[],
    }
}

const fn large(name: &'static str, title: &'static str) -> Scenario {
    let load = Load { body: 25 << 20, warm_up: 5, ..crowd(1) };
    Scenario { load, unit: Unit::Body, ..usual(name, title) }
}

const fn library(name: &'static str, task: &'static str, connections: u32, title: &'static str) -> Scenario {
    let only: &[&str] = &[FLOOR, FLOOR_TOKIO, LIBMILTER, LIBMILTER_ON_TAMIS];
    let about: &[&str] = &[LIBMILTER_ON_TAMIS];
    Scenario { task, load: crowd(connections), only: Some(only), about, ..usual(name, title) }
}

/// Chains, and what they are compared with.
const BESIDE_CHAINS: [&str; 6] = [FLOOR_TOKIO, HANDLERS, CHAINS[0], CHAINS[1], CHAINS[2], CHAINS[3]];

const fn chain(name: &'static str, of_chains: &'static str, title: &'static str) -> Scenario {
    // The first word of what they are told.
    let task = match of_chains.as_bytes() {
        [b'a', ..] => "answered",
        _ => "no-reply",
    };
    Scenario {
        task,
        unit: Unit::AddedFilter,
        of_chains,
        only: Some(&BESIDE_CHAINS),
        about: &CHAINS,
        ..usual(name, title)
    }
}

/// Many connections need a while until all have carried something.
pub(crate) const fn crowd(connections: u32) -> Load {
    let warm_up = if connections < 1_000 { 1_000 } else { connections };
    let seconds = if connections < 1_000 { 1.0 } else { 2.0 };
    Load { connections, warm_up, seconds, one_cpu: connections == 1, ..USUAL }
}

impl Load {
    /// The same for a look.
    pub(crate) fn brief(self) -> Self {
        Self { seconds: self.seconds / 3.0, warm_up: self.warm_up.min(self.connections.max(200)), ..self }
    }

    /// Messages of two runs whose difference is counted: enough that chance makes no difference, and few where each takes
    /// its time.
    pub(crate) fn counted(&self) -> (u64, u64) {
        if self.warm_up < 100 { (5, 15) } else { (1_000, 3_000) }
    }

    /// The options of `tamis bench`.
    pub(crate) fn options(&self) -> Vec<String> {
        let numbers = [
            ("--connections", u64::from(self.connections)),
            ("--idle", self.idle.into()),
            ("--recipients", self.recipients.into()),
            ("--headers", self.headers.into()),
            ("--body", self.body),
            ("--warmup", self.warm_up.into()),
        ];
        let numbers = numbers.into_iter().map(|(name, value)| (name, value.to_string()));
        let amount = match self.messages {
            Some(messages) => ("--messages", messages.to_string()),
            None => ("--seconds", self.seconds.to_string()),
        };
        numbers.chain([amount]).flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }
}

impl Scenario {
    /// What a peer is told to do in it, if it takes part.
    pub(crate) fn task(&self, peer: &Peer) -> Option<&'static str> {
        let wanted = self.only.is_none_or(|only| only.contains(&peer.name));
        let task = if peer.is_chain() { self.of_chains } else { self.task };
        peer.task(task).filter(|_| wanted)
    }

    /// Whether it says something about these.
    pub(crate) fn is_about(&self, peers: &[&Peer]) -> bool {
        self.about.is_empty() || peers.iter().any(|peer| self.about.contains(&peer.name))
    }
}

/// How cost grows with something.
#[derive(Debug)]
pub(crate) struct Growth {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What peers are told to do.
    pub(crate) task: &'static str,
    /// What the steps are called in the table, and the load of each.
    pub(crate) steps: Vec<(&'static str, Load)>,
}

/// What `--growth` runs.
pub(crate) fn growth() -> [Growth; 4] {
    let bodies = [
        ("1 KiB", 1 << 10),
        ("10 KiB", 10 << 10),
        ("100 KiB", 100 << 10),
        ("1 MiB", 1 << 20),
        ("10 MiB", 10 << 20),
        ("100 MiB", 100 << 20),
    ];
    let counts = [("1", 1), ("10", 10), ("100", 100), ("1,000", 1_000)];
    let connections =
        [("1, all on one CPU", 1), ("10", 10), ("100", 100), ("1,000", 1_000), ("10,000", 10_000)];
    [
        Growth {
            name: "connections",
            title: "Connections",
            task: "answered",
            steps: connections.map(|(name, number)| (name, crowd(number))).to_vec(),
        },
        Growth {
            name: "body",
            title: "Size of the body",
            task: "look",
            steps: bodies.map(|(name, body)| (name, Load { body, warm_up: warm_up(body), ..USUAL })).to_vec(),
        },
        Growth {
            name: "headers",
            title: "Header fields",
            task: "answered",
            steps: counts.map(|(name, headers)| (name, Load { headers, warm_up: 50, ..USUAL })).to_vec(),
        },
        Growth {
            name: "recipients",
            title: "Recipients",
            task: "answered",
            steps: counts
                .map(|(name, recipients)| (name, Load { recipients, warm_up: 50, ..USUAL }))
                .to_vec(),
        },
    ]
}

/// A few megabytes of bodies will do, and at least a message for each connection.
fn warm_up(body: u64) -> u32 {
    u32::try_from((16 << 20) / body).unwrap_or(u32::MAX).clamp(10, 1_000)
}

#[cfg(test)]
mod tests {
    use super::super::peer;
    use super::*;

    #[test]
    fn every_scenario_has_a_name_of_its_own() {
        for (at, scenario) in ALL.iter().enumerate() {
            assert!(ALL[..at].iter().all(|other| other.name != scenario.name), "{}", scenario.name);
        }
    }

    #[test]
    fn body_through_a_file_is_compared_where_bodies_are_replaced_and_nowhere_else() {
        let spool = peer::ALL.iter().find(|peer| peer.name == peer::HANDLERS_SPOOL).unwrap();
        for scenario in &ALL {
            let task = (scenario.name == "replace25").then_some("replace25-spool");
            assert_eq!(scenario.task(spool), task, "{}", scenario.name);
        }
    }

    #[test]
    fn scenarios_about_a_few_leave_others_out() {
        let linear = peer::ALL.iter().find(|peer| peer.name == peer::LINEAR).unwrap();
        for scenario in ALL.iter().filter(|scenario| scenario.only.is_some()) {
            assert_eq!(scenario.task(linear), None, "{}", scenario.name);
        }
    }

    #[test]
    fn chains_are_told_how_to_run_and_run_in_scenarios_about_chains_alone() {
        let peer = |name: &str| peer::ALL.iter().find(|peer| peer.name == name).unwrap();
        let scenario = |name: &str| ALL.iter().find(|scenario| scenario.name == name).unwrap();
        let chain = peer(CHAINS[2]);
        assert_eq!(scenario("chain-no-reply-async").task(chain), Some("no-reply:parallel:async"));
        assert_eq!(scenario("chain-no-reply-async").task(peer(HANDLERS)), Some("no-reply"));
        assert_eq!(scenario("no-reply").task(chain), None);
        assert!(scenario("chain-pipeline").is_about(&[peer(HANDLERS), chain]));
        assert!(!scenario("chain-pipeline").is_about(&[peer(HANDLERS)]));
    }
}
