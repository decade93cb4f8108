//! Numbers, sizes and times as they are written in options.

use std::time::Duration;

/// A number of things, and one at the least.
pub(super) fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=1_000_000).contains(&number) => Ok(number),
        _ => Err("a number is written in digits, from 1 to 1000000".to_owned()),
    }
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
