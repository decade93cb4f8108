//! [`Networks`]: lists of IP addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::file::ReadLines;

/// Networks of either family, as sorted ranges. An IPv6 address that stands for one of IPv4 (`::ffff:192.0.2.1`) is that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl Networks {
    /// Whether the address is in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => covers(&self.v4, address.to_bits()),
            IpAddr::V6(address) => covers(&self.v6, address.to_bits()),
        }
    }
}

impl ReadLines for Networks {
    type Draft = Self;
    const REMEMBERED: bool = true;

    fn add(draft: &mut Self, entry: &str) -> Result<(), String> {
        match range(entry)? {
            (IpAddr::V4(first), IpAddr::V4(last)) => draft.v4.push((first.to_bits(), last.to_bits())),
            (IpAddr::V6(first), IpAddr::V6(last)) => draft.v6.push((first.to_bits(), last.to_bits())),
            _ => return Err(format!("{entry:?} goes from IPv4 to IPv6")),
        }
        Ok(())
    }

    fn finish(mut draft: Self) -> Result<Self, String> {
        merge(&mut draft.v4);
        merge(&mut draft.v6);
        Ok(draft)
    }
}

/// Whether a sorted list of ranges that do not overlap has a number in it.
fn covers<N: Ord + Copy>(ranges: &[(N, N)], number: N) -> bool {
    let above = ranges.partition_point(|(first, _)| *first <= number);
    above > 0 && number <= ranges[above - 1].1
}

/// Sorts ranges, and makes one of those that overlap.
fn merge<N: Ord + Copy>(ranges: &mut Vec<(N, N)>) {
    ranges.sort_unstable();
    ranges.dedup_by(|next, before| {
        let overlap = next.0 <= before.1;
        if overlap {
            before.1 = before.1.max(next.1);
        }
        overlap
    });
    ranges.shrink_to_fit();
}

/// The first and the last address of an entry.
fn range(entry: &str) -> Result<(IpAddr, IpAddr), String> {
    if let Some((first, last)) = entry.split_once('-')
        && let (Some(first), Some(last)) = (address(first.trim()), address(last.trim()))
    {
        let forward = first.is_ipv4() != last.is_ipv4() || first <= last;
        return if forward { Ok((first, last)) } else { Err(format!("{entry:?} goes backwards")) };
    }
    let network = network(entry)?;
    Ok((network.network(), network.broadcast()))
}

/// Reads `192.0.2.1` or `192.0.2.0/24`, without anything behind the prefix.
pub(crate) fn network(entry: &str) -> Result<IpNet, String> {
    if let Some(address) = address(entry) {
        return Ok(address.into());
    }
    let Ok(written) = bare(entry).parse::<IpNet>() else {
        let hint = "write an address or a network, such as 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32";
        return Err(format!("{entry:?} is no network: {hint}"));
    };
    if written.trunc() != written {
        let (network, address) = (written.trunc(), written.addr());
        return Err(format!("{entry:?} is an address inside of a network: write {network} or {address}"));
    }
    Ok(canonical(written))
}

fn address(text: &str) -> Option<IpAddr> {
    bare(text).parse().ok().map(|address: IpAddr| address.to_canonical())
}

/// Without what Sendmail writes before addresses of IPv6, and without brackets.
fn bare(text: &str) -> &str {
    let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    match text.split_at_checked(5) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("ipv6:") => rest,
        _ => text,
    }
}

/// A network of IPv6 addresses that all stand for IPv4 is that of IPv4.
fn canonical(network: IpNet) -> IpNet {
    if let IpNet::V6(v6) = network
        && v6.prefix_len() >= 96
        && let Some(v4) = v6.network().to_ipv4_mapped()
    {
        return IpNet::new(v4.into(), v6.prefix_len() - 96).unwrap_or(network);
    }
    network
}

/// The address with only the first bits of it, as a number of 128 bits for either family.
pub(crate) fn prefix(address: IpAddr, length: u8) -> (bool, u128) {
    match address.to_canonical() {
        IpAddr::V4(address) => (false, u128::from(cut_v4(address, length).to_bits())),
        IpAddr::V6(address) => (true, cut_v6(address, length).to_bits()),
    }
}

fn cut_v4(address: Ipv4Addr, length: u8) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32_u32.saturating_sub(length.into())).unwrap_or(0);
    Ipv4Addr::from_bits(address.to_bits() & mask)
}

fn cut_v6(address: Ipv6Addr, length: u8) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128_u32.saturating_sub(length.into())).unwrap_or(0);
    Ipv6Addr::from_bits(address.to_bits() & mask)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lists::Lines;

    fn networks(entries: &[&str]) -> Networks {
        let mut lines = Lines::<Networks>::default();
        for entry in entries {
            lines.add(entry).unwrap();
        }
        lines.finish().unwrap()
    }

    fn contains(networks: &Networks, address: &str) -> bool {
        networks.contains(address.parse().unwrap())
    }

    #[test]
    fn addresses_are_in_networks_of_their_family() {
        let list = networks(&["192.0.2.0/24", "198.51.100.7", "2001:db8::/32", "10.0.0.5-10.0.0.9"]);
        for address in
            ["192.0.2.0", "192.0.2.255", "198.51.100.7", "2001:db8:ffff::1", "10.0.0.5", "10.0.0.9"]
        {
            assert!(contains(&list, address), "{address}");
        }
        for address in
            ["192.0.1.255", "192.0.3.0", "198.51.100.8", "2001:db9::", "10.0.0.4", "10.0.0.10", "::1"]
        {
            assert!(!contains(&list, address), "{address}");
        }
        assert!(!contains(&networks(&[]), "192.0.2.1"));
        assert!(contains(&networks(&["0.0.0.0/0"]), "192.0.2.1"));
        assert!(!contains(&networks(&["0.0.0.0/0"]), "2001:db8::1"), "IPv6 is another family");
    }

    #[test]
    fn ipv4_in_ipv6_is_ipv4() {
        for entry in ["192.0.2.0/24", "::ffff:192.0.2.0/120", "IPv6:::ffff:192.0.2.0/120"] {
            let list = networks(&[entry]);
            assert!(contains(&list, "192.0.2.9") && contains(&list, "::ffff:192.0.2.9"), "{entry}");
            assert!(!contains(&list, "192.0.3.9") && !contains(&list, "::192.0.2.9"), "{entry}");
        }
        assert!(contains(&networks(&["[IPv6:2001:db8::1]"]), "2001:db8::1"));
    }

    #[test]
    fn what_is_no_network_is_told_with_what_to_write() {
        for (entry, said) in [
            ("192.0.2.1/24", "write 192.0.2.0/24 or 192.0.2.1"),
            ("192.0.2.0/33", "is no network"),
            ("192.0.2", "is no network"),
            ("example.com", "is no network"),
            ("", "is no network"),
            ("10.0.0.9-10.0.0.5", "backwards"),
            ("10.0.0.9-2001:db8::1", "from IPv4 to IPv6"),
        ] {
            let error = Networks::add(&mut Networks::default(), entry).unwrap_err();
            assert!(error.contains(said), "{entry}: {error}");
        }
    }

    #[test]
    fn overlapping_networks_become_one() {
        let list = networks(&["192.0.2.0/24", "192.0.2.7", "192.0.0.0/16", "192.0.2.128/25"]);
        assert_eq!(list, networks(&["192.0.0.0/16"]));
    }

    #[test]
    fn a_prefix_is_what_the_network_of_that_length_begins_with() {
        for (address, length, first) in [
            ("192.0.2.77", 24, "192.0.2.0"),
            ("2001:db8::77", 32, "2001:db8::"),
            ("192.0.2.77", 0, "0.0.0.0"),
        ] {
            assert_eq!(prefix(address.parse().unwrap(), length), prefix(first.parse().unwrap(), 128));
        }
    }

    fn any_network() -> impl Strategy<Value = IpNet> {
        // Few addresses, so that they meet.
        let v4 = (0_u32..64, 24_u8..=32).prop_map(|(low, length)| {
            IpNet::new(Ipv4Addr::from_bits(0xC000_0200 | low).into(), length).unwrap().trunc()
        });
        let v6 = (0_u128..64, 120_u8..=128).prop_map(|(low, length)| {
            IpNet::new(Ipv6Addr::from_bits((0x2001_0db8 << 96) | low).into(), length).unwrap().trunc()
        });
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn a_list_has_what_any_of_its_networks_has(list in prop::collection::vec(any_network(), 0..12), low in 0_u32..300) {
            let texts: Vec<String> = list.iter().map(ToString::to_string).collect();
            let networks = networks(&texts.iter().map(String::as_str).collect::<Vec<_>>());
            for address in [
                IpAddr::from(Ipv4Addr::from_bits(0xC000_0200 + low)),
                Ipv6Addr::from_bits((0x2001_0db8 << 96) + u128::from(low)).into(),
            ] {
                let expected = list.iter().any(|network| network.contains(&address));
                prop_assert_eq!(networks.contains(address), expected, "{}", address);
            }
        }
    }
}
