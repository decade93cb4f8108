//! A strict reader of the text format of OpenMetrics, as far as it is used.

use std::collections::{BTreeMap, BTreeSet, HashSet};

/// A family of metrics.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: String,
    pub(super) kind: String,
    /// By what is behind the family's name, and labels.
    pub(super) samples: Vec<(String, Labels, f64)>,
}

pub(super) type Labels = BTreeMap<String, String>;

/// Reads a page. Panics where it is not as it must be.
pub(super) fn parse(text: &str) -> Vec<Family> {
    let body = text.strip_suffix("# EOF\n").expect("the last line is the mark of the end");
    assert!(!body.contains('\r') && !body.contains("\n\n"), "no empty lines");
    let mut families: Vec<Family> = Vec::new();
    let mut seen = HashSet::new();
    let mut lines = body.lines().peekable();
    while let Some(line) = lines.next() {
        let (name, help) = line
            .strip_prefix("# HELP ")
            .and_then(|rest| rest.split_once(' '))
            .unwrap_or_else(|| panic!("a family begins with its help: {line:?}"));
        assert!(is_name(name) && help.len() > 10 && help.ends_with('.'), "{line:?}");
        assert!(seen.insert(name.to_owned()), "{name} is there twice");
        let line = lines.next().expect("a type behind the help");
        let kind =
            line.strip_prefix(&format!("# TYPE {name} ")).unwrap_or_else(|| panic!("a type: {line:?}"));
        let mut family = Family { name: name.to_owned(), kind: kind.to_owned(), samples: Vec::new() };
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            family.samples.push(sample(name, line));
        }
        family.check();
        families.push(family);
    }
    families
}

fn is_name(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase());
    first && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn sample(family: &str, line: &str) -> (String, Labels, f64) {
    let suffix = line.strip_prefix(family).unwrap_or_else(|| panic!("a sample of {family}: {line:?}"));
    let end = suffix.find(['{', ' ']).expect("a value");
    let (suffix, rest) = suffix.split_at(end);
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest),
        None => (Labels::new(), rest),
    };
    let value = value.strip_prefix(' ').expect("a space before the value");
    assert!(!value.contains(' '), "no time is told: {line:?}");
    let value: f64 = value.parse().unwrap_or_else(|_| panic!("a number: {line:?}"));
    assert!(value.is_finite() && value >= 0.0, "{line:?}");
    (suffix.to_owned(), labels, value)
}

/// Reads labels behind their brace, and what is behind them.
fn labels(mut rest: &str) -> (Labels, &str) {
    let mut labels = Labels::new();
    loop {
        let (name, tail) = rest.split_once("=\"").expect("a label");
        assert!(is_name(name), "{name:?}");
        let (value, tail) = quoted(tail);
        assert!(labels.insert(name.to_owned(), value).is_none(), "{name} is there twice");
        match tail.strip_prefix(',') {
            Some(tail) => rest = tail,
            None => return (labels, tail.strip_prefix('}').expect("the closing brace")),
        }
    }
}

fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match chars.next().expect("something is escaped").1 {
                'n' => '\n',
                c @ ('"' | '\\') => c,
                c => panic!("nobody escapes {c:?}"),
            }),
            c => value.push(c),
        }
    }
    panic!("no closing quote: {text:?}")
}

impl Family {
    /// The value with exactly these labels.
    pub(super) fn value(&self, suffix: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let wanted: Labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let found = self.samples.iter().find(|(other, labels, _)| other == suffix && *labels == wanted);
        found.map(|(.., value)| *value)
    }

    fn check(&self) {
        assert!(!self.samples.is_empty(), "{} has no samples", self.name);
        let mut seen = BTreeSet::new();
        for (suffix, labels, _) in &self.samples {
            assert!(seen.insert((suffix, labels)), "{}{suffix} {labels:?} is there twice", self.name);
        }
        match &*self.kind {
            "counter" => self.suffixes(&["_total"]),
            "gauge" => self.suffixes(&[""]),
            "info" => {
                self.suffixes(&["_info"]);
                assert!(self.samples.iter().all(|(.., value)| (*value - 1.0).abs() < f64::EPSILON));
            }
            "histogram" => self.check_histogram(),
            other => panic!("{}: no {other} is used", self.name),
        }
        let unit = ["seconds", "bytes"].iter().any(|unit| self.name.ends_with(unit));
        assert!(unit || self.kind != "histogram", "{} has no unit", self.name);
        assert!(!self.name.ends_with("_total"), "the suffix is the sample's");
    }

    fn suffixes(&self, allowed: &[&str]) {
        let bad = self.samples.iter().find(|(suffix, ..)| !allowed.contains(&&**suffix));
        assert!(bad.is_none(), "{}: {bad:?}", self.name);
    }

    /// Buckets ascend, each has those below it, and the last has all.
    fn check_histogram(&self) {
        self.suffixes(&["_bucket", "_count", "_sum"]);
        let mut all: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
        for (_, labels, value) in self.samples.iter().filter(|(suffix, ..)| suffix == "_bucket") {
            let mut labels = labels.clone();
            let bound = labels.remove("le").expect("a bucket has a bound");
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
            all.entry(labels).or_default().push((bound, *value));
        }
        for (labels, buckets) in all {
            let ascend = buckets.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1);
            assert!(ascend, "{} {labels:?}: {buckets:?}", self.name);
            let labels: Vec<_> = labels.iter().map(|(k, v)| (&**k, &**v)).collect();
            let last = buckets.last().expect("there is one");
            assert!(last.0.is_infinite(), "{buckets:?}");
            assert_eq!(Some(last.1), self.value("_count", &labels));
            assert!(self.value("_sum", &labels).is_some());
        }
    }
}
