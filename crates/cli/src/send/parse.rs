//! Values of options.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use tamis::Stage;
use tamis::client::Macro;
use tamis::proto::edit::model::Path;

/// A client's address, if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientAddress(pub(super) Option<SocketAddr>);

/// The port of clients whose port does not matter.
const CLIENT_PORT: u16 = 49_152;

/// Parses `192.0.2.1`, `192.0.2.1:25`, `2001:db8::1`, `[2001:db8::1]:25` or `unknown`.
pub(super) fn client(text: &str) -> Result<ClientAddress, String> {
    if text == "unknown" {
        return Ok(ClientAddress(None));
    }
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = match inside.parse::<IpAddr>() {
        Ok(address) => Some(SocketAddr::new(address, CLIENT_PORT)),
        Err(_) => text.parse().ok(),
    };
    match address {
        Some(address) => Ok(ClientAddress(Some(address))),
        None => Err("write 192.0.2.1, 192.0.2.1:25, [2001:db8::1]:25 or unknown".to_owned()),
    }
}

/// Parses an address with ESMTP parameters: `<a@example.com> NOTIFY=NEVER`, `a@example.com`, `<>`.
pub(super) fn path(text: &str) -> Result<Path, String> {
    let text = text.trim();
    let (address, args) = text.split_at(address_end(text)?);
    let args = args.split_whitespace();
    Ok(Path::with_args(address, args))
}

/// Where the address ends: brackets and quotes may hold spaces.
fn address_end(text: &str) -> Result<usize, String> {
    let brackets = text.starts_with('<');
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '>' if brackets && !quoted => return Ok(at + 1),
            c if c.is_whitespace() && !brackets && !quoted => return Ok(at),
            _ => {}
        }
    }
    match (quoted, brackets) {
        (true, _) => Err("a quote is not closed".to_owned()),
        (false, true) => Err("the bracket is not closed".to_owned()),
        (false, false) => Ok(text.len()),
    }
}

/// Parses `i=4T1`, `mail:{auth_authen}=user`.
pub(super) fn macro_value(text: &str) -> Result<Macro, String> {
    let Some((name, value)) = text.split_once('=') else {
        return Err("write NAME=VALUE or STAGE:NAME=VALUE".to_owned());
    };
    let (stage, name) = name.split_once(':').map_or((None, name), |(stage, name)| (Some(stage), name));
    let stage = stage.map(self::stage).transpose()?;
    if name.trim_matches(['{', '}']).is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("{name:?} is not the name of a macro"));
    }
    Ok(Macro { stage, name: name.to_owned(), value: Bytes::copy_from_slice(value.as_bytes()) })
}

fn stage(name: &str) -> Result<Stage, String> {
    Stage::from_name(name).ok_or_else(|| {
        let names = Stage::ALL.map(Stage::name).join(", ");
        format!("{name:?} is not a stage; stages are {names}")
    })
}

/// Parses `10`, `10s`, `500ms`, `5m`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let ms = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        _ => 0,
    };
    match number.parse::<u64>().ok().and_then(|number| number.checked_mul(ms)) {
        // The bound keeps sums of times representable.
        Some(ms @ 1..=86_400_000) => Ok(Duration::from_millis(ms)),
        _ => Err("write a time of up to a day, such as 10s, 500ms or 5m".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_their_parameters() {
        let parsed = path("<a@example.com> NOTIFY=NEVER  AUTH=<>").unwrap();
        assert_eq!(parsed, Path::with_args("a@example.com", ["NOTIFY=NEVER", "AUTH=<>"]));
        assert_eq!(path("a@example.com SIZE=1").unwrap(), Path::with_args("a@example.com", ["SIZE=1"]));
        assert_eq!(path("<\"a> b\"@example.com>").unwrap(), Path::new("\"a> b\"@example.com"));
        assert_eq!(path("\"a b\"@example.com").unwrap(), Path::new("\"a b\"@example.com"));
        assert_eq!(path("<>").unwrap(), Path::new(""));
        assert_eq!(path("<a@example.com").unwrap_err(), "the bracket is not closed");
        assert_eq!(path("\"a@example.com").unwrap_err(), "a quote is not closed");
    }

    #[test]
    fn clients_have_a_port_or_get_one() {
        let address = |text: &str| client(text).unwrap().0.map(|address| address.to_string());
        assert_eq!(address("192.0.2.1").as_deref(), Some("192.0.2.1:49152"));
        assert_eq!(address("192.0.2.1:25").as_deref(), Some("192.0.2.1:25"));
        assert_eq!(address("2001:db8::1").as_deref(), Some("[2001:db8::1]:49152"));
        assert_eq!(address("[2001:db8::1]").as_deref(), Some("[2001:db8::1]:49152"));
        assert_eq!(address("[2001:db8::1]:25").as_deref(), Some("[2001:db8::1]:25"));
        assert_eq!(address("unknown"), None);
        assert!(client("mail.example").is_err());
    }

    #[test]
    fn macros_may_say_their_stage() {
        let parsed = macro_value("mail:{auth_authen}=a=b:c").unwrap();
        assert_eq!(parsed.stage, Some(Stage::Mail));
        assert_eq!((parsed.name.as_str(), &parsed.value[..]), ("{auth_authen}", &b"a=b:c"[..]));
        assert_eq!(macro_value("i=4T1").unwrap().stage, None);
        for bad in ["i", "=x", "{}=x", "nowhere:i=x", "a b=x"] {
            assert!(macro_value(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_have_units() {
        assert_eq!(time("10"), Ok(Duration::from_secs(10)));
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time("5m"), Ok(Duration::from_mins(5)));
        for bad in ["", "0", "-1", "1h", "ms", "99999999999999999999", "18446744073709551615m"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }
}
