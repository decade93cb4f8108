//! Whether a client's name looks as if its provider made it up for whoever has the address just now.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether the name of a client looks assigned automatically: its address is written in it, in whatever base, order and
/// format, or it has words of access networks such as `dsl`, `dhcp`, `pool`.
///
/// Mail servers that are meant to send mail have names that somebody chose. It is a guess: a server in a data centre
/// whose owner never asked for a name looks dynamic too. Names that say `static`, or begin with `mail`, `mx`, `smtp` and
/// the like, do not.
///
/// ```
/// use tamis_filters::lists::looks_dynamic;
///
/// let address = "198.51.100.37".parse()?;
/// assert!(looks_dynamic(address, "host-198-51-100-37.dsl.isp.example"));
/// assert!(looks_dynamic(address, "pC6336425.dip0.isp.example"));
/// assert!(!looks_dynamic(address, "lists.example.org"));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
pub fn looks_dynamic(address: IpAddr, name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if name.len() > LONGEST {
        return false;
    }
    let host = below_registered(&name);
    let words = Words::of(host);
    if host.is_empty() || words.chosen {
        return false;
    }
    match found(address, host) {
        Found::Whole => true,
        Found::Part => words.strong + words.weak > 0,
        Found::Nothing => words.strong > 1 || words.strong == 1 && host.bytes().any(|b| b.is_ascii_digit()),
    }
}

/// DNS has no longer names.
const LONGEST: usize = 255;

/// Words of access networks; those of four letters and more also within others, as in `dialuppool`.
const STRONG: [&str; 33] = [
    "adsl",
    "broadband",
    "bband",
    "cable",
    "catv",
    "cgn",
    "cpe",
    "dhcp",
    "dial",
    "dialin",
    "dialup",
    "dip",
    "docsis",
    "dsl",
    "dyn",
    "dynamic",
    "ftth",
    "fttx",
    "gprs",
    "hsd",
    "hsdpa",
    "isdn",
    "lte",
    "modem",
    "pool",
    "ppp",
    "pppoe",
    "umts",
    "vdsl",
    "wifi",
    "wimax",
    "wireless",
    "xdsl",
];

/// Words that say so beside a part of the address alone.
const WEAK: [&str; 14] = [
    "abo",
    "client",
    "clients",
    "cust",
    "customer",
    "home",
    "host",
    "ip",
    "mobile",
    "node",
    "pc",
    "res",
    "unassigned",
    "user",
];

/// What names of servers begin with.
const SERVERS: [&str; 13] = [
    "mail",
    "mailer",
    "mailout",
    "mout",
    "mta",
    "mx",
    "newsletter",
    "out",
    "outbound",
    "relay",
    "sender",
    "smtp",
    "smtpout",
];

/// The labels below the name that somebody registered, as well as that can be told without a list of suffixes.
fn below_registered(name: &str) -> &str {
    const SECOND: [&str; 12] = ["ac", "co", "com", "edu", "go", "gob", "gov", "ne", "net", "or", "org", "ad"];
    let labels: Vec<&str> = name.rsplit('.').take(3).collect();
    let under_country = matches!(labels[..], [top, second, _] if top.len() == 2 && SECOND.contains(&second));
    let registered =
        labels.iter().take(if under_country { 3 } else { 2 }).map(|label| label.len() + 1).sum::<usize>();
    name.get(..name.len().saturating_sub(registered)).unwrap_or_default()
}

/// What the words of a name say.
#[derive(Default)]
struct Words {
    strong: u32,
    weak: u32,
    /// Somebody chose the name.
    chosen: bool,
}

impl Words {
    fn of(host: &str) -> Self {
        let mut found = Self::default();
        let words = host.split(|letter: char| !letter.is_ascii_alphabetic()).filter(|word| !word.is_empty());
        for (at, word) in words.enumerate() {
            let is_server = at == 0 && host.starts_with(word) && SERVERS.contains(&word);
            found.chosen |= is_server || word.starts_with("static");
            let is_strong = |known: &str| word == known || known.len() > 3 && word.contains(known);
            found.strong += u32::from(STRONG.iter().any(|known| is_strong(known)) || word.ends_with("dsl"));
            found.weak += u32::from(WEAK.contains(&word));
        }
        found
    }
}

/// How much of an address is in a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// Its end, which may be chance.
    Part,
    Whole,
}

fn found(address: IpAddr, host: &str) -> Found {
    match address.to_canonical() {
        IpAddr::V4(address) => found_v4(address, host),
        IpAddr::V6(address) => found_v6(address, host),
    }
}

fn found_v4(address: Ipv4Addr, host: &str) -> Found {
    let octets = address.octets();
    let reversed = {
        let [a, b, c, d] = octets;
        [d, c, b, a]
    };
    let decimals = numbers(host, 10);
    if common(&decimals, octets) >= 3
        || common(&numbers(host, 16), octets) == 4
        || is_packed(host, octets, reversed)
    {
        return Found::Whole;
    }
    let end = [u32::from(octets[2]), u32::from(octets[3])];
    let is_end = |pair: &[u32]| pair == end || pair == [end[1], end[0]];
    if decimals.windows(2).any(is_end) { Found::Part } else { Found::Nothing }
}

/// Whether all of the address is there in one piece: `198051100037`, `1985110037`, `c6336425`, 3325256741.
fn is_packed(host: &str, octets: [u8; 4], reversed: [u8; 4]) -> bool {
    [octets, reversed].into_iter().any(|octets| {
        let [a, b, c, d] = octets;
        let forms = [
            format!("{a:03}{b:03}{c:03}{d:03}"),
            format!("{a:02x}{b:02x}{c:02x}{d:02x}"),
            u32::from_be_bytes(octets).to_string(),
        ];
        let tight = format!("{a}{b}{c}{d}");
        let is_run = |digits: &str| digits == tight && tight.len() > 6;
        forms.iter().any(|form| form.len() > 6 && host.contains(form.as_str()))
            || host.split(|letter: char| !letter.is_ascii_digit()).any(is_run)
    })
}

/// The numbers that stand alone in a name, each of at most three digits.
fn numbers(host: &str, radix: u32) -> Vec<u32> {
    let runs = host.split(|letter: char| match radix {
        10 => !letter.is_ascii_digit(),
        _ => !letter.is_ascii_alphanumeric(),
    });
    let width = if radix == 10 { 3 } else { 2 };
    let short = runs.filter(|run| (1..=width).contains(&run.len()));
    short.filter_map(|run| u32::from_str_radix(run, radix).ok()).collect()
}

/// How many of the octets are among the numbers, each number used once.
fn common(numbers: &[u32], octets: [u8; 4]) -> usize {
    let mut left: Vec<u32> = numbers.to_vec();
    let mut take = |octet: u8| {
        let at = left.iter().position(|number| *number == u32::from(octet));
        at.map(|at| left.swap_remove(at)).is_some()
    };
    octets.into_iter().filter(|octet| take(*octet)).count()
}

fn found_v6(address: Ipv6Addr, host: &str) -> Found {
    let groups = address.segments();
    let whole = format!("{:032x}", address.to_bits());
    let low = &whole[16..];
    let digits: String = host.chars().filter(char::is_ascii_hexdigit).collect();
    let backwards: String = digits.chars().rev().collect();
    // An interface number such as ::25 is mostly zeros, and says nothing.
    let telling = |part: &str| part.bytes().filter(|digit| *digit != b'0').count() >= 6;
    if digits.contains(&whole) || backwards.contains(&whole) || telling(low) && digits.contains(low) {
        return Found::Whole;
    }
    let runs = host.split(|letter: char| !letter.is_ascii_alphanumeric());
    let written: Vec<u16> = runs.filter_map(|run| u16::from_str_radix(run, 16).ok()).collect();
    let filled: Vec<&u16> = groups.iter().filter(|group| **group != 0).collect();
    if filled.len() > 3 && filled.iter().all(|group| written.contains(group)) {
        Found::Whole
    } else {
        Found::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DYNAMIC: [(&str, &str); 46] = [
        // Decimal octets in any order.
        ("198.51.100.37", "198-51-100-37.isp.example"),
        ("198.51.100.37", "198.51.100.37.isp.example"),
        ("198.51.100.37", "37.100.51.198.isp.example"),
        ("198.51.100.37", "host-198-51-100-37.customer.isp.example"),
        ("198.51.100.37", "ip198.51.100.37.isp.example"),
        ("198.51.100.37", "cpe-198-51-100-37.nyc.res.isp.example"),
        ("198.51.100.37", "c-198-51-100-37.hsd1.ca.isp.example"),
        ("198.51.100.37", "pool-198-51-100-37.bstnma.fios.isp.example"),
        ("198.51.100.37", "ec2-198-51-100-37.compute-1.cloud.example"),
        ("198.51.100.37", "37-100-51-198.rev.isp.example"),
        ("198.51.100.37", "100-37-51-198.isp.example"),
        ("198.51.100.37", "198_51_100_37.isp.example"),
        ("198.51.100.37", "198x51x100x37.isp.example"),
        ("198.51.100.37", "h198n51s100p37.isp.example"),
        ("198.51.100.37", "198.51.100.037.isp.example"),
        ("198.51.100.7", "198-051-100-007.isp.example"),
        ("198.51.100.37", "51-100-37.region.isp.example"),
        ("198.51.100.37", "37.100.51.isp.example"),
        ("198.51.100.37", "client-198-51-100-37.isp.co.uk"),
        ("198.51.100.37", "198-51-100-37.isp.com.br"),
        ("198.51.100.37", "HOST198-51-100-37.RANGE.ISP.EXAMPLE"),
        ("::ffff:198.51.100.37", "198-51-100-37.isp.example"),
        // In one piece.
        ("198.51.100.37", "198051100037.isp.example"),
        ("198.51.100.37", "user198051100037.isp.example"),
        ("198.51.100.37", "037100051198.isp.example"),
        ("198.51.100.37", "1985110037.isp.example"),
        ("198.51.100.37", "3325256741.isp.example"),
        // Hexadecimal.
        ("198.51.100.37", "c6336425.isp.example"),
        ("198.51.100.37", "pC6336425.dip0.isp.example"),
        ("198.51.100.37", "0xc6336425.isp.example"),
        ("198.51.100.37", "256433c6.isp.example"),
        ("198.51.100.37", "c6-33-64-25.isp.example"),
        // The end of it, and a word.
        ("198.51.100.37", "dsl-100-37.isp.example"),
        ("198.51.100.37", "user-37-100.city.isp.example"),
        ("198.51.100.37", "host37.100.isp.example"),
        // Words.
        ("198.51.100.37", "dyn-4711.isp.example"),
        ("198.51.100.37", "adsl4711.isp.example"),
        ("198.51.100.37", "dhcp-22.campus.university.edu"),
        ("198.51.100.37", "ppp17.isp.example"),
        ("198.51.100.37", "dialuppool-12.isp.example"),
        ("198.51.100.37", "abcd1234.cable.isp.example"),
        ("198.51.100.37", "joe.dynamic.dsl.isp.example"),
        ("198.51.100.37", "catv-5e.isp.example"),
        // IPv6.
        ("2001:db8:12:34:56ab:cdff:fe12:3456", "2001-db8-12-34-56ab-cdff-fe12-3456.isp.example"),
        ("2001:db8:12:34:56ab:cdff:fe12:3456", "x56abcdfffe123456.v6.isp.example"),
        (
            "2001:db8:12:34:56ab:cdff:fe12:3456",
            "6.5.4.3.2.1.e.f.f.f.d.c.b.a.6.5.4.3.0.0.2.1.0.0.8.b.d.0.1.0.0.2.ip6.isp.example",
        ),
    ];

    const CHOSEN: [(&str, &str); 32] = [
        ("198.51.100.37", "mail.example.com"),
        ("198.51.100.37", "mx1.example.com"),
        ("198.51.100.37", "mx01.emig.example.com"),
        ("198.51.100.37", "smtp-out-37.example.com"),
        ("198.51.100.37", "mta-198-51-100-37.sender.example"),
        ("198.51.100.37", "out37.mail.example.com"),
        ("198.51.100.37", "outbound100-37.esp.example"),
        ("198.51.100.37", "o1.email.example.com"),
        ("198.51.100.37", "relay3.example.com"),
        ("198.51.100.37", "lists.example.org"),
        ("198.51.100.37", "example.org"),
        ("198.51.100.37", "www.example.org"),
        ("198.51.100.37", "static-198-51-100-37.isp.example"),
        ("198.51.100.37", "198-51-100-37.static.isp.example"),
        ("198.51.100.37", "staticip-37.isp.example"),
        ("198.51.100.37", "mail.dynamic-solutions.example"),
        ("198.51.100.37", "dynamic.example"),
        ("198.51.100.37", "cable.co.uk"),
        ("198.51.100.37", "pool.example.com"),
        ("198.51.100.37", "web37.example.com"),
        ("198.51.100.37", "server-100.example.com"),
        ("198.51.100.37", "a37b100.example.com"),
        ("198.51.100.37", "vps4711.hoster.example"),
        ("198.51.100.37", "mail-ej1-f51.provider.example"),
        ("198.51.100.37", "nam12-bn8-obe.outbound.provider.example"),
        ("198.51.100.37", "host.example.com"),
        ("198.51.100.37", "smtp2.pool.example.com"),
        ("198.51.100.37", "hamburg.example.com"),
        ("198.51.100.37", ""),
        ("198.51.100.37", "localhost"),
        ("2001:db8::25", "mail6.example.com"),
        ("2001:db8::25", "v6-25.example.com"),
    ];

    #[test]
    fn names_that_providers_make_up_look_dynamic() {
        for (address, name) in DYNAMIC {
            assert!(looks_dynamic(address.parse().unwrap(), name), "{name} [{address}]");
        }
    }

    #[test]
    fn names_that_somebody_chose_do_not() {
        for (address, name) in CHOSEN {
            assert!(!looks_dynamic(address.parse().unwrap(), name), "{name} [{address}]");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_name_has_an_answer(address: u32, v6: u128, name in "(?s).{0,80}") {
            looks_dynamic(Ipv4Addr::from_bits(address).into(), &name);
            looks_dynamic(Ipv6Addr::from_bits(v6).into(), &name);
        }
    }
}
