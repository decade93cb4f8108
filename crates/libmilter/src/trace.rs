//! The protocol trace: every frame, written out for people.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tamis_proto::{Frame, trace};

use crate::settings::TraceTo;
use crate::{log, sys};

static TRACE: OnceLock<Trace> = OnceLock::new();

enum Trace {
    Stderr,
    Syslog,
    File(Mutex<TraceFile>),
}

/// Begins to trace.
pub(crate) fn begin(to: &TraceTo) {
    let trace = match to {
        TraceTo::Stderr => Trace::Stderr,
        TraceTo::Syslog => Trace::Syslog,
        TraceTo::File(path) => match TraceFile::open(path) {
            Ok(file) => Trace::File(Mutex::new(file)),
            Err(error) => {
                return log::error(format_args!("cannot trace to {}: {error}", path.display()));
            }
        },
    };
    // Only the first call of `smfi_main` comes this far.
    let _ = TRACE.set(trace);
}

/// Whether anybody reads it.
pub(crate) fn is_on() -> bool {
    TRACE.get().is_some() || log::debugs(1)
}

/// Writes out the frames that an MTA sent.
pub(crate) fn received(number: u32, bytes: &[u8]) {
    each(bytes, |frame| line(number, format_args!("> {}", trace::FromMta(frame))));
}

/// Writes out the frames that are being sent to an MTA.
pub(crate) fn sent(number: u32, bytes: &[u8]) {
    each(bytes, |frame| line(number, format_args!("< {}", trace::FromFilter(frame))));
}

/// Writes a remark.
pub(crate) fn note(number: u32, text: std::fmt::Arguments<'_>) {
    if is_on() {
        line(number, format_args!("- {text}"));
    }
}

fn each(mut bytes: &[u8], mut write: impl FnMut(Frame<'_>)) {
    while let Ok(Some((used, frame))) = Frame::parse(bytes, usize::MAX) {
        write(frame);
        bytes = &bytes[used..];
    }
}

fn line(number: u32, text: std::fmt::Arguments<'_>) {
    if log::debugs(1) {
        log::debug(1, format_args!("[{number}] {text}"));
    }
    match TRACE.get() {
        None => {}
        Some(Trace::Syslog) => sys::log(libc::LOG_DEBUG, &format!("[{number}] {text}")),
        Some(Trace::Stderr) => {
            let line = format!("{Now} [{number}] {text}\n");
            // Nobody can be told where it fails.
            let _ = io::stderr().lock().write_all(line.as_bytes());
        }
        Some(Trace::File(file)) => {
            let line = format!("{Now} [{number}] {text}\n");
            file.lock().unwrap_or_else(PoisonError::into_inner).write(line.as_bytes());
        }
    }
}

/// A file that may be renamed or removed at any time: a new one is made then.
struct TraceFile {
    path: PathBuf,
    file: File,
    looked: Instant,
    complained: bool,
}

/// How often it is looked whether the file is still there.
const LOOK: Duration = Duration::from_secs(1);

impl TraceFile {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: append(path)?, looked: Instant::now(), complained: false })
    }

    fn write(&mut self, line: &[u8]) {
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            if !self.is_in_place()
                && let Ok(file) = append(&self.path)
            {
                self.file = file;
            }
        }
        if let Err(error) = self.file.write_all(line)
            && !std::mem::replace(&mut self.complained, true)
        {
            log::error(format_args!("cannot write the trace to {}: {error}", self.path.display()));
        }
    }

    fn is_in_place(&self) -> bool {
        let identity =
            |found: io::Result<std::fs::Metadata>| found.map(|found| (found.dev(), found.ino())).ok();
        identity(std::fs::metadata(&self.path))
            .is_some_and(|there| Some(there) == identity(self.file.metadata()))
    }
}

/// Opens a file that only its owner may read: it will have addresses and headers in it.
fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// The time, as RFC 3339 has it.
struct Now;

impl std::fmt::Display for Now {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (days, seconds) = (now.as_secs() / 86_400, now.as_secs() % 86_400);
        let (year, month, day) = date(days);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let micros = now.subsec_micros();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

/// Year, month and day of a day counted from the beginning of 1970.
fn date(days: u64) -> (u64, u64, u64) {
    // Years are counted from March on, so that the leap day is the last one of a year, and from one of each 400 years.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn days_have_dates() {
        for (day, want) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (789, (1972, 2, 29)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_778, (2026, 11, 21)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(date(day), want, "{day}");
        }
    }
}
