//! What an administrator sets for a program that knows nothing of it: environment variables.

use std::fmt;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

/// The settings; `docs/libmilter.md` explains them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Most threads that run callbacks.
    pub(crate) threads: usize,
    /// Most connections at a time.
    pub(crate) connections: usize,
    /// Largest payload that is accepted, if the program does not accept more.
    pub(crate) frame: Option<usize>,
    /// How long to wait for an MTA, whatever the program says.
    pub(crate) timeout: Option<Duration>,
    /// Where every frame is written out.
    pub(crate) trace: Option<TraceTo>,
    /// Where figures go.
    pub(crate) metrics: Option<MetricsTo>,
}

/// A place for the protocol trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TraceTo {
    Stderr,
    Syslog,
    File(PathBuf),
}

/// A place for metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MetricsTo {
    /// Written anew every few seconds.
    File(PathBuf),
    /// A socket that gives them to whoever connects.
    Unix(PathBuf),
}

impl fmt::Display for MetricsTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::File(path) | Self::Unix(path)) = self;
        path.display().fmt(f)
    }
}

pub(crate) const THREADS: &str = "TAMIS_LIBMILTER_THREADS";
pub(crate) const CONNECTIONS: &str = "TAMIS_LIBMILTER_CONNECTIONS";
const FRAME: &str = "TAMIS_LIBMILTER_FRAME";
const TIMEOUT: &str = "TAMIS_LIBMILTER_TIMEOUT";
const TRACE: &str = "TAMIS_LIBMILTER_TRACE";
const METRICS: &str = "TAMIS_LIBMILTER_METRICS";

/// Largest frame that can be asked for: each connection may make a thread keep that much.
const LARGEST_FRAME: usize = 64 * 1024 * 1024;

impl Default for Settings {
    fn default() -> Self {
        Self {
            threads: 1024,
            connections: crate::context::MAX_CONNECTIONS,
            frame: None,
            timeout: None,
            trace: None,
            metrics: None,
        }
    }
}

impl Settings {
    /// Reads them. A value that is none is complained about, and the default used instead.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>, mut complain: impl FnMut(String)) -> Self {
        let mut settings = Self::default();
        let mut set = |name: &str, take: &mut dyn FnMut(&str) -> Result<(), String>| {
            let Some(text) = variable(name) else { return };
            if let Err(want) = take(text.trim()) {
                complain(format!("{name}={text:?} is left out of account: it must be {want}"));
            }
        };
        set(THREADS, &mut |text| {
            settings.threads = count(text, 65_536)?;
            Ok(())
        });
        set(CONNECTIONS, &mut |text| {
            settings.connections = count(text, crate::context::MAX_CONNECTIONS)?;
            Ok(())
        });
        set(FRAME, &mut |text| {
            settings.frame = Some(count(text, LARGEST_FRAME)?);
            Ok(())
        });
        set(TIMEOUT, &mut |text| {
            let seconds = count(text, 1_000_000)?;
            settings.timeout = Some(Duration::from_secs(seconds as u64));
            Ok(())
        });
        set(TRACE, &mut |text| {
            settings.trace = Some(match (text, path(text, "file:")) {
                (_, Some(path)) => TraceTo::File(path),
                ("stderr", _) => TraceTo::Stderr,
                ("syslog", _) => TraceTo::Syslog,
                _ => return Err("stderr, syslog or file:/path".to_owned()),
            });
            Ok(())
        });
        set(METRICS, &mut |text| {
            settings.metrics = Some(match (path(text, "file:"), path(text, "unix:")) {
                (Some(path), _) => MetricsTo::File(path),
                (_, Some(path)) => MetricsTo::Unix(path),
                _ => return Err("file:/path or unix:/path".to_owned()),
            });
            Ok(())
        });
        settings
    }
}

/// Reads a number from 1 on.
fn count(text: &str, most: usize) -> Result<usize, String> {
    match text.parse::<NonZero<usize>>() {
        Ok(number) if number.get() <= most => Ok(number.get()),
        _ => Err(format!("a number from 1 to {most}")),
    }
}

/// Reads an absolute path, as programs change their folder.
fn path(text: &str, word: &str) -> Option<PathBuf> {
    text.strip_prefix(word).filter(|path| path.starts_with('/')).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> (Settings, Vec<String>) {
        let mut complaints = Vec::new();
        let find =
            |name: &str| variables.iter().find(|(one, _)| *one == name).map(|(_, text)| (*text).to_owned());
        let settings = Settings::read(find, |complaint| complaints.push(complaint));
        (settings, complaints)
    }

    #[test]
    fn every_variable_is_read() {
        let (settings, complaints) = read(&[
            (THREADS, "7"),
            (CONNECTIONS, "8"),
            (FRAME, "1048575"),
            (TIMEOUT, "600"),
            (TRACE, "file:/tmp/trace"),
            (METRICS, "unix:/tmp/metrics"),
        ]);
        let want = Settings {
            threads: 7,
            connections: 8,
            frame: Some(1_048_575),
            timeout: Some(Duration::from_mins(10)),
            trace: Some(TraceTo::File("/tmp/trace".into())),
            metrics: Some(MetricsTo::Unix("/tmp/metrics".into())),
        };
        assert_eq!((settings, complaints), (want, vec![]));
    }

    #[test]
    fn a_bad_value_is_named_with_its_variable_and_the_default_is_used() {
        for (name, value) in [
            (THREADS, "0"),
            (THREADS, "many"),
            (THREADS, "-1"),
            (CONNECTIONS, "99999999999999999999"),
            (FRAME, "1MiB"),
            (TIMEOUT, ""),
            (TRACE, "stdout"),
            (TRACE, "file:relative"),
            (METRICS, "inet:9100"),
        ] {
            let (settings, complaints) = read(&[(name, value)]);
            assert_eq!(settings, Settings::default());
            let [complaint] = &complaints[..] else { panic!("{complaints:?}") };
            assert!(
                complaint.starts_with(&format!("{name}={value:?} is left out of account: it must be ")),
                "{complaint}"
            );
        }
    }

    #[test]
    fn the_documentation_has_every_variable() {
        let text = include_str!("../../../docs/libmilter.md");
        for name in [THREADS, CONNECTIONS, FRAME, TIMEOUT, TRACE, METRICS] {
            assert!(text.contains(&format!("`{name}`")), "{name}");
        }
    }
}
