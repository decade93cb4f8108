//! The page that Prometheus reads, in the text format of OpenMetrics.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, EncodeMetric, MetricEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use tamis::remote::{Breaker, BreakerState};
use tamis::server::{Buffered, Limit};

use crate::admin::generation::{Counted, Generation};
use crate::admin::state::State;

/// Older readers take it for their own format, and miss nothing but its end.
pub(in crate::admin) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Writes the page.
pub(in crate::admin) fn page(state: &Arc<State>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page(state.clone())));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("a string takes all");
    text
}

#[derive(Debug)]
struct Page(Arc<State>);

impl Collector for Page {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let state = &*self.0;
        let mut writer = Writer(encoder);
        let generation = state.generation();
        process(state, &mut writer)?;
        connections(state, &mut writer)?;
        messages(state, &mut writer)?;
        filters(&generation, &mut writer)?;
        breakers(&generation, &mut writer)?;
        configuration(state, &generation, &mut writer)
    }
}

fn process(state: &State, writer: &mut Writer<'_>) -> fmt::Result {
    writer.info("tamis_build", "The program that runs.", [[("version", env!("CARGO_PKG_VERSION"))]])?;
    let started = state.started().as_duration().as_secs_f64();
    writer.gauge(
        "process_start_time_seconds",
        "When the process started, in seconds since 1970.",
        [([], started)],
    )?;
    let ready = u64::from(state.readiness().is_ok());
    writer.gauge("tamis_ready", "Whether MTAs are served: what /readyz says.", [([], ready)])
}

fn connections(state: &State, writer: &mut Writer<'_>) -> fmt::Result {
    let counters = state.counters();
    writer.counter(
        "tamis_connections",
        "Connections of MTAs, accepted or refused by the lists of who may connect.",
        [([("result", "accepted")], counters.accepted()), ([("result", "refused")], counters.refused())],
    )?;
    writer.gauge("tamis_connections_open", "Connections of MTAs that are open.", [([], counters.open())])?;
    let buffers = |buffered: Buffered| {
        let Buffered { received, bodies, body_files, .. } = buffered;
        [("received", received as u64), ("bodies", bodies as u64), ("body-files", body_files)]
            .map(|(what, bytes)| ([("buffer", what)], bytes))
    };
    writer.gauge(
        "tamis_buffered_bytes",
        "Bytes in buffers: received from MTAs and not worked on yet, bodies in memory, bodies in files. Of the first two \
         16 KiB are free for each connection and each message, and are not counted.",
        buffers(counters.buffered()),
    )?;
    writer.gauge(
        "tamis_buffered_bytes_limit",
        "What they may be at most, as the configuration says.",
        buffers(counters.most_buffered()),
    )?;
    writer.counter(
        "tamis_limits_exceeded",
        "How often a connection of an MTA ran into a limit, which ended it.",
        Limit::ALL.map(|limit| ([("limit", limit.name())], counters.exceeded(limit))),
    )
}

fn messages(state: &State, writer: &mut Writer<'_>) -> fmt::Result {
    let totals = state.totals();
    writer.counter(
        "tamis_messages",
        "Messages that got a final verdict.",
        [([], state.counters().messages())],
    )?;
    writer.counter(
        "tamis_verdicts",
        "What MTAs were told at last about messages, all filters together, and at which stage.",
        totals
            .verdicts
            .iter()
            .map(|(stage, verdict, count)| ([("stage", stage), ("verdict", verdict)], count)),
    )?;
    writer.counter(
        "tamis_messages_given_up",
        "Messages that MTAs gave up before there was a verdict.",
        [([], totals.given_up.get())],
    )?;
    writer.counter(
        "tamis_edit_conflicts",
        "How often two filters of a parallel chain changed the same thing.",
        [([], totals.conflicts.get())],
    )?;
    let (records, bytes) = state.kept();
    writer.gauge(
        "tamis_history_records",
        "Messages and refused clients of which the record is kept.",
        [([], records)],
    )?;
    writer.gauge("tamis_history_bytes", "Memory of these records.", [([], bytes)])
}

fn filters(generation: &Generation, writer: &mut Writer<'_>) -> fmt::Result {
    let filters = &generation.filters;
    writer.info(
        "tamis_filter",
        "The filters of the chain.",
        filters.iter().map(|filter| {
            let [name, dry_run] = of(filter);
            [name, dry_run, ("type", &filter.member.kind), ("on_failure", filter.member.on_failure.name())]
        }),
    )?;
    writer.family(
        true,
        "tamis_filter_duration_seconds",
        "How long filters took, for all stages of a message together.",
        MetricType::Histogram,
        filters.iter().map(|filter| (of(filter), filter)),
        |filter, encoder| filter.counts.time.encode(encoder),
    )?;
    writer.counter(
        "tamis_filter_verdicts",
        "The last verdict of filters about a message but continue, and its stage; continue is the verdict of all stages.",
        filters.iter().flat_map(|filter| {
            let continued = ("all", "continue", filter.counts.continued.get());
            filter.counts.verdicts.iter().chain([continued]).map(move |(stage, verdict, count)| {
                let [name, dry_run] = of(filter);
                ([name, dry_run, ("stage", stage), ("verdict", verdict)], count)
            })
        }),
    )?;
    writer.counter(
        "tamis_filter_failures",
        "Messages on which filters failed.",
        filters.iter().map(|filter| (of(filter), filter.counts.failures.get())),
    )?;
    writer.counter(
        "tamis_filter_edits",
        "Changes that filters asked for.",
        filters.iter().flat_map(|filter| {
            filter.counts.edits().map(move |(edit, count)| {
                let [name, dry_run] = of(filter);
                ([name, dry_run, ("edit", edit)], count)
            })
        }),
    )
}

/// What tells filters apart; without effect they are another one.
fn of(filter: &Counted) -> [(&'static str, &str); 2] {
    [("filter", &filter.member.name), ("dry_run", if filter.member.dry_run { "true" } else { "false" })]
}

/// A number of a circuit breaker.
type Of = fn(&Breaker) -> u64;

fn breakers(generation: &Generation, writer: &mut Writer<'_>) -> fmt::Result {
    let each = |of: Of| {
        generation.milters.iter().map(move |(name, milter)| ([("milter", &**name)], of(milter.breaker())))
    };
    writer.gauge(
        "tamis_breaker_state",
        "What happens to the next connection to a milter: closed, it is tried; open, the milter is left alone; half-open, \
         another one that is tried is waited for. One of them is 1.",
        generation.milters.iter().flat_map(|(name, milter)| {
            let is = match milter.breaker().state() {
                BreakerState::Closed => "closed",
                BreakerState::Open(_) => "open",
                BreakerState::HalfOpen => "half-open",
            };
            let states = ["closed", "open", "half-open"].into_iter();
            states.map(move |state| ([("milter", &**name), ("state", state)], u64::from(state == is)))
        }),
    )?;
    writer.gauge(
        "tamis_breaker_failures_in_a_row",
        "Failures of a milter since it last did what it should.",
        each(|breaker| breaker.failures_in_a_row().into()),
    )?;
    let counters: [(&str, &str, Of); 4] = [
        ("tamis_breaker_attempts", "Connections that went to a milter.", |breaker| breaker.counts().attempts),
        ("tamis_breaker_failures", "Connections on which a milter failed.", |breaker| {
            breaker.counts().failures
        }),
        ("tamis_breaker_refused", "Connections that were kept from a milter.", |breaker| {
            breaker.counts().refused
        }),
        ("tamis_breaker_opened", "How often a milter was left alone.", |breaker| breaker.counts().opened),
    ];
    counters.into_iter().try_for_each(|(name, help, of)| writer.counter(name, help, each(of)))
}

fn configuration(state: &State, generation: &Generation, writer: &mut Writer<'_>) -> fmt::Result {
    let reloads = state.reloads();
    writer.counter(
        "tamis_config_reloads",
        "How often the configuration was read again; failed, if the old one stayed.",
        [([("result", "ok")], reloads.done.get()), ([("result", "failed")], reloads.failed.get())],
    )?;
    writer.gauge(
        "tamis_config_last_reload_successful",
        "Whether the configuration was sound when it was last read.",
        [([], u64::from(reloads.is_good()))],
    )?;
    writer.gauge(
        "tamis_config_loaded_timestamp_seconds",
        "Since when the configuration is in use, in seconds since 1970.",
        [([], reloads.since())],
    )?;
    writer.gauge(
        "tamis_config_generation",
        "Counts configurations that were in use.",
        [([], generation.number)],
    )
}

/// Writes families of metrics. One that nothing is in is left out.
struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    /// `name` is without `_total`, as the format has it.
    fn counter<'l, const N: usize, V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = ([(&'static str, &'l str); N], V)>,
    ) -> fmt::Result {
        let no_exemplar = None::<&prometheus_client::metrics::exemplar::Exemplar<[(&str, &str); 0], f64>>;
        let values = values.into_iter();
        self.family(N > 0, name, help, MetricType::Counter, values, |value, mut encoder| {
            encoder.encode_counter(&value, no_exemplar)
        })
    }

    fn gauge<'l, const N: usize, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = ([(&'static str, &'l str); N], V)>,
    ) -> fmt::Result {
        let values = values.into_iter();
        let encode = |value, mut encoder: MetricEncoder<'_>| encoder.encode_gauge(&value);
        self.family(N > 0, name, help, MetricType::Gauge, values, encode)
    }

    /// `name` is without `_info`.
    fn info<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        labels: impl IntoIterator<Item = [(&'static str, &'l str); N]>,
    ) -> fmt::Result {
        let mut labels = labels.into_iter().peekable();
        if labels.peek().is_none() {
            return Ok(());
        }
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Info)?;
        labels.try_for_each(|labels| encoder.encode_info(&labels))
    }

    fn family<L: EncodeLabelSet, V>(
        &mut self,
        has_labels: bool,
        name: &str,
        help: &str,
        kind: MetricType,
        values: impl Iterator<Item = (L, V)>,
        encode: impl Fn(V, MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let mut values = values.peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let mut encoder = self.0.encode_descriptor(name, help, None, kind)?;
        if !has_labels {
            // Not even `{}`.
            let (_, value) = values.next().expect("there is one");
            return encode(value, encoder);
        }
        values.try_for_each(|(labels, value)| encode(value, encoder.encode_family(&labels)?))
    }
}
