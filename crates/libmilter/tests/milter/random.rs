//! Random sessions, legal ones and others.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;

use super::common::{Filter, frame, usual};

/// Numbers that are random enough, and the same each time.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(1))
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// The bytes of a session: mostly as MTAs say it, with macros, and now and then something else.
fn session(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = frame(b'O', b"\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff");
    let command = |bytes: &mut Vec<u8>, dice: &mut Dice, code: u8| {
        if dice.below(2) == 0 {
            let value = "v".repeat(dice.below(300));
            let list =
                format!("{}j\0mta.example\0{{name}}\0{value}\0i\0{}\0", char::from(code), dice.below(1000));
            bytes.extend(frame(b'D', list.as_bytes()));
        }
        match dice.below(200) {
            0 => bytes.extend(frame(code, b"")),
            1 => bytes.extend(frame(code, &vec![b'x'; dice.below(70_000)])),
            2 => bytes.extend(frame(u8::try_from(dice.below(256)).unwrap(), b"x\0")),
            _ if code == b'B' => bytes.extend(frame(b'B', &vec![b'b'; 1 + dice.below(9_000)])),
            _ => bytes.extend(frame(code, usual(code))),
        }
    };
    command(&mut bytes, dice, b'C');
    command(&mut bytes, dice, b'H');
    for _ in 0..dice.below(4) {
        let codes: &[u8] = dice.pick(&[
            &b"MRTLNBE"[..],
            b"MRRTLLLNBBE",
            b"MRA",
            b"MRRTLA",
            b"UMRUTLNE",
            b"HMRTNE",
            b"MA",
            b"K",
        ]);
        for code in codes {
            command(&mut bytes, dice, *code);
        }
    }
    if dice.below(2) == 0 {
        bytes.extend(frame(b'Q', b""));
    }
    if dice.below(5) == 0 {
        bytes.truncate(dice.below(bytes.len()));
    }
    bytes
}

/// Plays sessions to a filter, and reads what it says to its end.
pub(crate) fn play(filter: &Filter, dice: &mut Dice, sessions: usize) {
    for _ in 0..sessions {
        let mut mta = filter.dial();
        let bytes = session(dice);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((1 + dice.below(30_000)).min(rest.len()));
            // The filter may have closed the connection, and with reason.
            if mta.stream.write_all(piece).is_err() {
                break;
            }
            rest = after;
        }
        let _ = mta.stream.shutdown(Shutdown::Write);
        let _ = mta.stream.read_to_end(&mut Vec::new());
    }
}

/// A number that the environment says.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("it is a number"))
}

/// How many sessions to play, if it is not said otherwise.
pub(crate) fn sessions(usually: usize) -> usize {
    number("TAMIS_SESSIONS").map_or(usually, |count| count.try_into().unwrap())
}

/// Keeps the library busy: every function that keeps something.
pub(crate) const SCRIPT: &str = "\
    connect|getsymval|j\nconnect|setpriv|mine\nmail|getsymval|i\nmail|getsymval|{name}\nmail|setreply|450|4.7.1|later\n\
    rcpt|setmlreply|550|5.7.1|one|two|three\nrcpt|getsymval|i\nheader|getsymval|{name}\neoh|setreply|550|5.7.1|no\n\
    eom|addheader|X-A|b\neom|replacebody_size|5000\neom|progress\neom|chgheader|Subject|1|new\neom|getsymval|i\n\
    negotiate|setsymlist|0|j i\nnegotiate|return|10\nclose|setpriv|~\nabort|getpriv\nunknown|return|4";

/// Resident memory of a process, in KiB.
fn resident(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn memory_is_flat_over_many_random_sessions() {
    let sessions = sessions(6_000);
    let filter = Filter::new(SCRIPT);
    let mut dice = Dice::new(number("TAMIS_SEED").unwrap_or(1));
    play(&filter, &mut dice, sessions / 4);
    let before = resident(filter.pid());
    play(&filter, &mut dice, sessions);
    let after = resident(filter.pid());
    println!("{sessions} sessions: from {before} to {after} KiB");
    // A thread more or less is no leak; in a long run it is nothing.
    assert!(after <= before + 1024, "from {before} to {after} KiB in {sessions} sessions");
    let log = filter.stop();
    let count = |line: &str| log.iter().filter(|one| *one == line).count();
    assert_eq!(
        count("setpriv 0"),
        2 * count("close") - (count("close") - log.iter().filter(|one| one.starts_with("connect ")).count())
    );
}
