//! Times and sizes as people write them.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A time: `"10s"`, `"5m"`, `"2h"`, `"30d"` or `"250ms"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

/// A number of bytes: `"64K"`, `"32M"`, `"1G"`, or the plain number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const TIMES: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZES: [(&str, u64); 4] = [("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40)];

impl Time {
    /// That many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, unit) = split(text);
        let unit = TIMES.iter().find(|(name, _)| *name == unit).map(|(_, unit)| *unit);
        match unit.and_then(|unit| digits.parse::<u64>().ok()?.checked_mul(unit)) {
            Some(time) if time > 0 => Ok(Self(Duration::from_millis(time))),
            _ => Err(format!(
                "{text:?} is no time: write a number with ms, s, m, h or d behind it, such as \"10s\""
            )),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, unit) = split(text);
        let unit = match unit {
            "" => Some(1),
            unit => SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, unit)| *unit),
        };
        match unit.and_then(|unit| digits.parse::<u64>().ok()?.checked_mul(unit)) {
            Some(bytes) if bytes > 0 => Ok(Self(bytes)),
            _ => Err(format!(
                "{text:?} is no size: write a number of bytes, or one with K, M or G behind it, such as \"64K\""
            )),
        }
    }
}

/// A number and the letters behind it.
fn split(text: &str) -> (&str, &str) {
    text.split_at(text.trim_end_matches(|last: char| last.is_ascii_alphabetic()).len())
}

impl Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let (name, unit) = TIMES.iter().rev().find(|(_, unit)| time % unit == 0).unwrap_or(&TIMES[0]);
        write!(f, "{}{name}", time / unit)
    }
}

impl Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SIZES.iter().rev().find(|(_, unit)| self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl serde::de::Visitor<'_> for Visitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size, such as \"64K\"")
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Size, E> {
                number.to_string().parse().map_err(E::custom)
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Size, E> {
                number.to_string().parse().map_err(E::custom)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// As it is written, so that defaults are shown in the schema.
impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// As it is written.
impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$", "examples": ["10s", "5m"] })
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{ "type": "integer", "minimum": 1 }, { "type": "string", "pattern": "^[0-9]+[KMGTkmgt]?$" }],
            "examples": ["64K", "32M"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_and_are_written_as_they_are_read() {
        for (text, millis) in
            [("250ms", 250), ("10s", 10_000), ("5m", 300_000), ("2h", 7_200_000), ("30d", 2_592_000_000)]
        {
            let time: Time = text.parse().unwrap();
            assert_eq!((time.0, time.to_string().as_str()), (Duration::from_millis(millis), text));
        }
        for text in ["", "10", "0s", "s", "1w", "1.5h", "-1s", "1 h", "99999999999999999999d"] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_have_units_and_are_written_as_they_are_read() {
        for (text, bytes) in [("1", 1), ("64K", 65_536), ("3M", 3 << 20), ("2G", 2 << 30)] {
            let size: Size = text.parse().unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, text));
        }
        assert_eq!("64k".parse(), Ok(Size(65_536)));
        for text in ["", "0", "0K", "K", "1P", "1KB", "1.5M", "-1", "1 K", "99999999999T"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
