//! What is said in random sessions.

use crate::dice::Dice;
use crate::session::frame;

const HOSTS: [&[u8]; 6] =
    [b"client.example.com", b"[192.0.2.1]", b"localhost", b"", b"[IPv6:::1]", b"h\xf6st \"x\\"];
const HELOS: [&[u8]; 5] = [b"client.example.com", b"[192.0.2.1]", b"", b"\xff\x01", b"a b"];
const PATHS: [&[u8]; 7] = [
    b"<a@example.com>",
    b"<>",
    b"plain@example.com",
    b"<\"a b\"@example.com>",
    b"",
    b"<\xc3\xa9@example.com>",
    b"<very.long@example.com>",
];
const ARGS: [&[u8]; 6] =
    [b"SIZE=1000", b"BODY=8BITMIME", b"NOTIFY=NEVER", b"ORCPT=rfc822;u@example.com", b"", b"SMTPUTF8"];
const NAMES: [&[u8]; 6] = [b"Subject", b"From", b"X-A", b"x", b"Odd Name", b"\xe9"];
const VALUES: [&[u8]; 6] =
    [b"hello", b"", b" two  spaces", b"one\n\ttwo\n  three", b"\xff\x80 100%", b"=?utf-8?q?x?="];
const LINES: [&[u8]; 4] = [b"FOOBAR arg", b"X", b"", b"\x01\x02 x"];
const MACROS: [(&[u8], &[u8]); 12] = [
    (b"j", b"mta.example.net"),
    (b"{j}", b"braced"),
    (b"_", b"unknown [192.0.2.1]"),
    (b"v", b"Postfix 3.7"),
    (b"i", b"4D2"),
    (b"{i}", b"4D3"),
    (b"{mail_addr}", b""),
    (b"{rcpt_addr}", b"r@example.com"),
    (b"{daemon_name}", b"MTA"),
    (b"x", b"plain x"),
    (b"mail_addr", b"no braces"),
    (b"{msg_id}", b"<1@\xff>"),
];

fn strings(parts: &[&[u8]]) -> Vec<u8> {
    parts.iter().flat_map(|part| part.iter().copied().chain([0])).collect()
}

pub(super) fn offer(version: u32, actions: u32, steps: u32) -> Vec<u8> {
    let words = [version, actions, steps].map(u32::to_be_bytes);
    frame(b'O', &words.concat())
}

pub(super) fn connect(dice: &mut Dice) -> Vec<u8> {
    let mut payload = strings(&[dice.pick(&HOSTS)]);
    let port = dice.pick(&[0_u16, 1, 25, 12345, 65535]).to_be_bytes();
    let (family, address): (u8, &[u8]) = match dice.below(8) {
        0 => (b'U', b""),
        1 => (b'6', b"2001:db8::1"),
        2 => (b'6', b"IPv6:0:0:0:0:0:0:0:1"),
        3 => (b'6', b"ipv6:::ffff:192.0.2.1"),
        4 => (b'L', dice.pick(&[&b"/run/x"[..], b"", b"/a b\xff"])),
        5 => (b'4', dice.pick(&[&b"10.1"[..], b"127.1", b"0x7f.1", b"3221225985"])),
        _ => (b'4', b"192.0.2.1"),
    };
    payload.push(family);
    if family != b'U' {
        payload.extend(port);
        payload.extend(strings(&[address]));
    }
    frame(b'C', &payload)
}

pub(super) fn macros(dice: &mut Dice, code: u8) -> Vec<u8> {
    let mut payload = vec![code];
    for _ in 0..dice.below(4) {
        let (name, value) = dice.pick(&MACROS);
        payload.extend(strings(&[name, value]));
    }
    frame(b'D', &payload)
}

pub(super) fn helo(dice: &mut Dice) -> Vec<u8> {
    frame(b'H', &strings(&[dice.pick(&HELOS)]))
}

pub(super) fn path(dice: &mut Dice, code: u8) -> Vec<u8> {
    let mut parts = vec![dice.pick(&PATHS)];
    for _ in 0..dice.below(3) {
        parts.push(dice.pick(&ARGS));
    }
    frame(code, &strings(&parts))
}

pub(super) fn header(dice: &mut Dice) -> Vec<u8> {
    let long = vec![b'v'; dice.pick(&[5_000, 65_000])];
    let value = if dice.one_in(30) { &long } else { dice.pick(&VALUES) };
    frame(b'L', &strings(&[dice.pick(&NAMES), value]))
}

pub(super) fn body(dice: &mut Dice, code: u8) -> Vec<u8> {
    let length = if dice.one_in(12) { dice.pick(&[65_535, 65_534, 30_000]) } else { 1 + dice.below(60) };
    let start = dice.below(256);
    let byte = |at: usize| u8::try_from((at * 7 + start) % 256).expect("a remainder of 256");
    frame(code, &(0..length).map(byte).collect::<Vec<_>>())
}

pub(super) fn unknown(dice: &mut Dice) -> Vec<u8> {
    frame(b'U', &strings(&[dice.pick(&LINES)]))
}

/// A command without payload.
pub(super) fn bare(code: u8) -> Vec<u8> {
    frame(code, b"")
}

/// Any command, well-formed.
pub(super) fn command(dice: &mut Dice, code: u8) -> Vec<u8> {
    match code {
        b'O' => offer(6, 0x1ff, 0x1f_ffff),
        b'C' => connect(dice),
        b'H' => helo(dice),
        b'M' | b'R' => path(dice, code),
        b'L' => header(dice),
        b'B' => body(dice, code),
        b'U' => unknown(dice),
        b'E' if dice.one_in(6) => body(dice, code),
        code => bare(code),
    }
}
