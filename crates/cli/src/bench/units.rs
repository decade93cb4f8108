//! Numbers, sizes and times as they are written in options.

use std::time::Duration;

/// A number of things, and one at the least.
pub(super) fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=1_000_000).contains(&number) => Ok(number),
        _ => Err("a number is written in digits, from 1 to 1000000".to_owned()),
    }
}

/// A number of things, or none.
pub(super) fn count_or_none(text: &str) -> Result<usize, String> {
    if text == "0" { Ok(0) } else { count(text) }
}

/// A number of messages.
pub(super) fn messages(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("a number is written in digits, and 1 at the least".to_owned()),
    }
}

/// Bytes: `4096`, `4KiB`, `4K`, `25MiB`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let unit: u64 = match unit {
        "" | "B" => 1,
        "K" | "k" | "KiB" => 1 << 10,
        "M" | "m" | "MiB" => 1 << 20,
        "G" | "g" | "GiB" => 1 << 30,
        _ => 0,
    };
    match digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)) {
        // Beyond this the table of its pieces would take more memory than a message.
        Some(bytes) if unit > 0 && bytes <= 4 << 30 => Ok(bytes),
        _ => Err("a size is a number of bytes, or a number with KiB, MiB or GiB, up to 4GiB".to_owned()),
    }
}

/// Seconds, with a fraction or not, or with a unit.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    match text.strip_suffix('s').unwrap_or(text).parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 86_400.0 => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("a number of seconds up to a day is wanted, such as 10 or 0.5".to_owned()),
    }
}

/// Messages a second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=10_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("a number of messages a second is wanted, such as 500 or 0.5".to_owned()),
    }
}

/// `10`, `10s`, `500ms`, `5m`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let ms = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        _ => 0,
    };
    match number.parse::<u64>().ok().and_then(|number| number.checked_mul(ms)) {
        Some(ms @ 1..=86_400_000) => Ok(Duration::from_millis(ms)),
        _ => Err("write a time of up to a day, such as 10s, 500ms or 5m".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in
            [("0", 0), ("4096", 4096), ("4KiB", 4096), ("4k", 4096), ("25MiB", 25 << 20), ("1G", 1 << 30)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "KiB", "1KB", "1.5M", "-1", "1 K", "5GiB", "99999999999999999999"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn seconds_and_rates_may_have_a_fraction() {
        assert_eq!(
            (seconds("10"), seconds("0.5s")),
            (Ok(Duration::from_secs(10)), Ok(Duration::from_millis(500)))
        );
        assert_eq!((rate("500"), rate("0.5")), (Ok(500.0), Ok(0.5)));
        for text in ["", "0", "-1", "nan", "inf", "1e99", "1h"] {
            assert!(seconds(text).is_err() && rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_of_things_are_bounded() {
        assert_eq!((count("1"), count("1000000"), count_or_none("0")), (Ok(1), Ok(1_000_000), Ok(0)));
        for text in ["0", "1000001", "-1", "many", "1K"] {
            assert!(count(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_have_units() {
        assert_eq!(
            (time("10"), time("500ms"), time("5m")),
            (Ok(Duration::from_secs(10)), Ok(Duration::from_millis(500)), Ok(Duration::from_mins(5)))
        );
        for text in ["", "0", "1h", "ms"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
