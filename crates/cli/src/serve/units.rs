//! Numbers, sizes and times as they are written in options.

use std::time::Duration;

/// A number of things; none would be a filter that serves nobody.
pub(super) fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("a number is written in digits, and 1 at the least".to_owned()),
    }
}

/// Bytes.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let (digits, unit) = split(text);
    let unit = match unit {
        "" => 1,
        "K" | "k" => 1 << 10,
        "M" | "m" => 1 << 20,
        "G" | "g" => 1 << 30,
        _ => 0,
    };
    match digits.parse::<usize>().ok().and_then(|number| number.checked_mul(unit)) {
        Some(bytes) if bytes > 0 => Ok(bytes),
        _ => Err("a size is a number of bytes, or a number with K, M or G, such as 64K".to_owned()),
    }
}

/// Bytes, or nothing.
pub(super) fn size_or_none(text: &str) -> Result<usize, String> {
    if text == "0" { Ok(0) } else { size(text) }
}

/// Seconds.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let (digits, unit) = split(text);
    let unit = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => 0,
    };
    match digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)) {
        Some(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err("a time is a number of seconds, or a number with s, m or h, such as 2h".to_owned()),
    }
}

/// A number and the letters behind it.
fn split(text: &str) -> (&str, &str) {
    text.split_at(text.trim_end_matches(|last: char| last.is_ascii_alphabetic()).len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, seconds) in [("7210", 7_210), ("30s", 30), ("5m", 300), ("2h", 7_200)] {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "0", "h", "1d", "1.5h", "-1", "1 h", "99999999999999999999"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("1", 1), ("64K", 65_536), ("64k", 65_536), ("3M", 3 << 20), ("2G", 2 << 30)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "0K", "K", "1T", "1KB", "1.5M", "-1", "1 K", "99999999999G"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_may_be_none_where_there_is_a_choice() {
        assert_eq!((size_or_none("0"), size_or_none("16K")), (Ok(0), Ok(16_384)));
        assert!(size_or_none("none").is_err());
    }

    #[test]
    fn counts_are_plain_numbers() {
        assert_eq!((count("1"), count("16000")), (Ok(1), Ok(16_000)));
        for text in ["", "0", "1K", "-1", "many"] {
            assert!(count(text).is_err(), "{text}");
        }
    }
}
