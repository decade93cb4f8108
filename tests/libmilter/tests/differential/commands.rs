//! Frames and payloads, sound and unsound (specification §1, §2).

use tamis_libmilter_tests::script::Script;
use tamis_libmilter_tests::session::{Session, Setup, Turn};

use crate::{judged, same};

fn everything() -> Session {
    Session::new(Script::default().with_everything())
}

const CODES: &[u8] = b"OCDHMRTLNBEAUQK";

/// A state in which the command may come.
fn before(code: u8) -> &'static str {
    match code {
        b'O' => "",
        b'C' => "O",
        b'R' => "OCHM",
        b'T' | b'L' | b'N' => "OCHMR",
        b'B' | b'E' => "OCHMRTLN",
        b'K' => "OCHMRTLNBE",
        _ => "OCH",
    }
}

#[test]
fn every_payload_of_every_command() {
    let long = vec![b'x'; 65_534];
    let full = [&long[..], b"\0"].concat();
    let too_long = [&long[..], b"x\0"].concat();
    let long_pair = [&long[..30_000], b"\0", &long[..30_000], b"\0"].concat();
    let payloads: [&[u8]; 20] = [
        b"",
        b"\0",
        b"\0\0",
        b"\0\0\0",
        b"a",
        b"a\0",
        b"a\0b",
        b"a\0b\0",
        b"a\0\0",
        b"\0a",
        b"\0a\0",
        b"a\0b\0c",
        b"a\0b\0c\0",
        b"\0v\0x\0",
        b"\xff\xfe\0\x80\0",
        b"a\r\n\0b\n\0",
        &long,
        &full,
        &too_long,
        &long_pair,
    ];
    for code in CODES {
        let sessions = payloads
            .map(|payload| everything().letters(before(*code)).sending([(*code, payload)]).letters("MR"));
        judged(&Setup::default(), sessions);
    }
}

#[test]
fn every_code_letter() {
    let sessions = (0..=255_u8).flat_map(|code| {
        [&b""[..], b"x\0"]
            .map(|payload| everything().letters("OCHMR").sending([(code, payload)]).letters("M"))
    });
    judged(&Setup::default(), sessions);
}

#[test]
fn every_length_that_lies() {
    let lengths = [
        0_u32,
        1,
        2,
        5,
        6,
        65_535,
        65_536,
        65_537,
        0x0100_0000,
        0x7fff_ffff,
        0x8000_0000,
        0x8000_0001,
        0xffff_fffe,
        0xffff_ffff,
    ];
    let sessions = lengths.into_iter().flat_map(|length| {
        CODES.iter().map(move |code| {
            let mut session = everything().letters("OCHM");
            let bytes = [&length.to_be_bytes()[..], &[*code], b"a\0b\0"].concat();
            session.turns.push(Turn { bytes, answered: false });
            session.letters("M")
        })
    });
    judged(&Setup::default(), sessions);
}

#[test]
fn every_place_at_which_a_session_may_break_off() {
    let whole = everything().letters("OCHMDRTLNBE");
    let bytes = whole.bytes();
    judged(&Setup::default(), (0..bytes.len()).map(|length| whole.with_bytes(bytes[..length].to_vec())));
}

#[test]
fn every_client_address() {
    let long = "x".repeat(107);
    let too_long = "x".repeat(108);
    let addresses = [
        "192.0.2.1",
        "10.1",
        "10.1.2",
        "127",
        "0x7f000001",
        "0177.1",
        "1.2.3.256",
        "1.2.3.4.5",
        "1.2.3",
        "1..2",
        "",
        " 1.2.3.4",
        "1.2.3.4 ",
        "1.2.3.4 x",
        "4294967295",
        "4294967296",
        "08.1",
        "0x",
        "1.2.3.4\n",
        "+1",
        "-1",
        "a",
        "::1",
        "IPv6:::1",
        "ipv6:::1",
        "IPV6:2001:db8::1",
        "IPv6:",
        "IPv6:IPv6:::1",
        "[::1]",
        "::ffff:1.2.3.4",
        "::1%lo",
        "fe80::1%1",
        "1:2:3:4:5:6:7:8",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "12345::",
        "::g",
        "/run/sock",
        &long,
        &too_long,
        "IPv6:1.2.3.4",
        "0:0:0:0:0:0:0:1",
        "::1 ",
        "unknown",
        "Unknown",
        "unknown ",
    ];
    let mut sessions = Vec::new();
    for family in *b"46LU5ul\0" {
        for address in addresses {
            let payload = [b"host\0", &[family, 0x30, 0x39][..], address.as_bytes(), b"\0"].concat();
            sessions.push(everything().letters("O").sending([(b'C', &payload[..])]).letters("H"));
        }
    }
    judged(&Setup::default(), sessions);
}

#[test]
fn every_end_of_a_client_address() {
    let payloads: [&[u8]; 22] = [
        b"",
        b"host",
        b"host\0",
        b"\0",
        b"host\0U",
        b"host\x004",
        b"host\x004\0",
        b"host\x004\0\x19",
        b"host\x004\0\x191.2.3.4",
        b"host\x004\0\x191.2.3.4\0",
        b"host\x004\0\x191.2.3.4\0junk",
        b"host\x004\0\x191.2.3.4\0junk\0",
        b"host\0U\0\x19x\0",
        b"host\0Ujunk",
        b"host\0L\0\0\0",
        b"host\0L\0\0",
        b"host\0L\0\0/x",
        b"\x004\0\x191.2.3.4\0",
        b"host\x006\0\x19::1",
        b"host\x006\0\x19::1\0",
        b"host\x004\xff\xff1.2.3.4\0",
        b"a\0b\0c\0",
    ];
    judged(
        &Setup::default(),
        payloads.map(|payload| everything().letters("O").sending([(b'C', payload)]).letters("H")),
    );
}

#[test]
fn macros_of_every_code_at_every_place() {
    let sessions = (b'@'..=b'Z').chain([0, b'c', 0xff]).flat_map(|code| {
        ["", "O", "OC", "OCH", "OCHM", "OCHMR", "OCHMRTLN", "OCHMRTLNBE"].map(|way| {
            let list = [&[code], &b"i\0id\0{daemon_name}\0MTA\0"[..]].concat();
            let rest = if way.is_empty() { "OCHMR" } else { "HMRTLNBEM" };
            everything().letters(way).sending([(b'D', &list[..])]).letters(rest)
        })
    });
    // Nothing in them is answered or refused.
    judged(&Setup::default(), sessions);
}

#[test]
fn arguments_of_any_number() {
    let sessions = [0, 1, 2, 50, 1000, 20_000].map(|count| {
        let payload = [&b"<a@b>\0"[..], &b"A=1\0".repeat(count)].concat();
        let payload = &payload[..payload.len().min(65_535)];
        everything()
            .letters("OCH")
            .sending([(b'M', payload)])
            .letters("R")
            .sending([(b'R', payload)])
            .letters("R")
    });
    judged(&Setup::default(), sessions);
}

#[test]
fn bodies_of_any_size() {
    let sessions = [1, 2, 100, 65_534, 65_535].map(|length| {
        let body: Vec<u8> = (0..length).map(|at: usize| u8::try_from(at % 251).unwrap()).collect();
        let piece = &body[..];
        everything().letters("OCHMRTLN").sending([(b'B', piece), (b'B', piece), (b'B', piece)]).letters("E")
    });
    same(&Setup::default(), sessions);
}
