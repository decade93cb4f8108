//! Commands with a wrong payload, and commands with one that is odd but right (§12.2).

use anyhow::{Context as _, Result, ensure};

use super::{Attack, Bytes, Server};
use crate::state::{State, answered, command};
use crate::target::Target;
use crate::wire::frame;

pub(super) const ALL: &[Attack] = &[
    Attack {
        name: "payloads",
        throws: "payloads, strings, NULs, names, families, ports and addresses that are missing, cut off or wrong",
        connections: 36,
        bytes: Bytes::Exactly(2_610),
        must: "closed without an answer, logged with what is wrong",
        server: Server::Shared,
        run: payloads,
    },
    Attack {
        name: "oddities",
        throws: "bytes behind the last string, payload on bare commands, odd and repeated macros, empty strings, \
                 control characters, bytes that are no UTF-8",
        connections: 32,
        bytes: Bytes::Exactly(3_796),
        must: "answered as if nothing was odd; the session goes on; no control character in the log",
        server: Server::Shared,
        run: oddities,
    },
];

use State::{Body, Connected, Data, EndOfHeaders, Fresh, Greeted, Headers, Mail, Negotiated, Rcpt};

/// Where, what, and what the log says about it.
const WRONG: &[(State, u8, &[u8], &str)] = &[
    (Fresh, b'O', b"", "payload is missing"),
    (Fresh, b'O', b"\0\0\0\x06\0\0\x01\xff\0\x1f\xff", "payload is cut off"),
    (Fresh, b'D', b"", "payload is missing"),
    (Negotiated, b'D', b"", "payload is missing"),
    (Body, b'D', b"", "payload is missing"),
    (Negotiated, b'C', b"", "payload is missing"),
    (Negotiated, b'C', b"host", "string without its final NUL"),
    (Negotiated, b'C', b"host\0", "payload is cut off"),
    (Negotiated, b'C', b"host\x005\0\x191.2.3.4\0", "address family 0x35 does not exist"),
    (Negotiated, b'C', b"host\0l\0\0/x\0", "address family 0x6c does not exist"),
    (Negotiated, b'C', b"host\x004", "payload is cut off"),
    (Negotiated, b'C', b"host\x004\0", "payload is cut off"),
    (Negotiated, b'C', b"host\x004\0\x19192.0.2.1", "string without its final NUL"),
    (Negotiated, b'C', b"host\x004\0\x19192.0.2.256\0", "text is not an address of its family"),
    (Negotiated, b'C', b"host\x004\0\x19\0", "text is not an address of its family"),
    (Negotiated, b'C', b"host\x004\0\x192001:db8::1\0", "text is not an address of its family"),
    (Negotiated, b'C', b"host\x006\0\x19192.0.2.1\0", "text is not an address of its family"),
    (Negotiated, b'C', b"host\x006\0\x19[::1]\0", "text is not an address of its family"),
    (Negotiated, b'C', LONG_PATH, "unix socket path of more than 107 bytes"),
    (Connected, b'H', b"", "payload is missing"),
    (Connected, b'H', b"abc", "string without its final NUL"),
    (Negotiated, b'U', b"", "payload is missing"),
    (Body, b'U', b"XYZZY", "string without its final NUL"),
    (Greeted, b'M', b"", "payload is missing"),
    (Greeted, b'M', b"<a@b>", "string without its final NUL"),
    (Greeted, b'M', b"<a@b>\0SIZE=1", "string without its final NUL"),
    (Mail, b'R', b"", "payload is missing"),
    (Mail, b'R', b"<a@b>", "string without its final NUL"),
    (Mail, b'R', b"<a@b>\0NOTIFY=NEVER", "string without its final NUL"),
    (Data, b'L', b"", "payload is missing"),
    (Data, b'L', b"Name", "string without its final NUL"),
    (Data, b'L', b"Name\0", "second string is missing"),
    (Headers, b'L', b"Name\0value", "string without its final NUL"),
    (Headers, b'L', b"\0value\0", "name is empty"),
    (EndOfHeaders, b'B', b"", "payload is missing"),
    (Body, b'B', b"", "payload is missing"),
];

/// Where and what; each is answered as a usual one is.
const ODD: &[(State, u8, &[u8])] = &[
    (Fresh, b'O', b"\0\0\0\x06\0\0\x01\xff\0\0\0\0and more"),
    (Fresh, b'D', b"C"),
    (Fresh, b'D', b"Cj\0mta\0"),
    (Negotiated, b'C', b"\0U"),
    (Negotiated, b'C', b"host\0Uand more"),
    (Negotiated, b'C', b"host\x004\0\x19192.0.2.1\0and more\0"),
    (Negotiated, b'C', b"[192.0.2.1]\x004\0\0unknown\0"),
    (Negotiated, b'C', b"h\x006\0\x19ipV6:2001:db8::1\0"),
    (Negotiated, b'C', b"\xff\xfe\x1b[2J\r\n\0L\0\0\0"),
    (Connected, b'H', b"\0"),
    (Connected, b'H', b"one\0two\0"),
    (Connected, b'H', b"\x1b]0;title\x07\r\nINFO forged\x7f\0"),
    (Negotiated, b'U', b"\0"),
    (Body, b'U', b"\xc2\x9b\xe2\x80\xae\0more"),
    (Greeted, b'M', b"\0"),
    (Greeted, b'M', b"bare@example.com\0"),
    (Greeted, b'M', b"<\x1b[1m\xff\r\nX-Forged: 1>\0BODY=\x80\0"),
    (Mail, b'R', b"<\"a\r\nb\"@example.com>\0\0\0"),
    (Rcpt, b'T', b"ignored"),
    (Data, b'L', b"Name\0value\0third\0"),
    (Data, b'L', b"Name\0\0"),
    (Headers, b'L', b"Subject\0a\r\n\r\nb\rc\x1b[2J\xff\0"),
    (Headers, b'N', b"ignored"),
    (Body, b'B', b"\0\x01\xff\r"),
    (Body, b'E', b"the last piece"),
    (Body, b'A', b"ignored"),
    (Body, b'K', b"ignored"),
    (Body, b'D', b"Ei\0Q1\0i\0Q2\0{i}\0Q3\0"),
    (Body, b'D', b"\xffname\0value\0"),
    (Body, b'D', b"Ei\0Q1\0dangling\0"),
    (Body, b'D', b"Ei\0no end"),
    (Body, b'Q', b"ignored"),
];

const LONG_PATH: &[u8] = b"host\0L\0\0\
    /xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\0";

fn payloads(target: &Target) -> Result<()> {
    for (state, code, payload, reason) in WRONG {
        let mut raw = state.reach(target)?;
        raw.throw(&frame(*code, payload));
        let what = || format!("{:?} with {:?}", char::from(*code), payload.escape_ascii().to_string());
        raw.refused(reason).with_context(what)?;
    }
    Ok(())
}

fn oddities(target: &Target) -> Result<()> {
    for (state, code, payload) in ODD {
        let what = || format!("{:?} with {:?}", char::from(*code), payload.escape_ascii().to_string());
        let mut raw = state.reach(target)?;
        raw.send(&frame(*code, payload))?;
        answered(&mut raw, *code).with_context(what)?;
        if payload.starts_with(b"Ei\0Q1\0dangling") || payload.starts_with(b"Ei\0no end") {
            raw.logged("MTA: ").with_context(what)?;
        }
        // An answer to the next command shows that nothing is out of step.
        match (state, code) {
            (_, b'Q') => {}
            (State::Fresh, b'D') => {
                raw.send(&command(b'O'))?;
                answered(&mut raw, b'O').with_context(what)?;
            }
            _ => {
                raw.send(&command(b'U'))?;
                answered(&mut raw, b'U').with_context(what)?;
            }
        }
        raw.throw(&command(b'Q'));
        raw.closed().with_context(what)?;
    }
    ensure!(ODD.len() == 32, "{} oddities", ODD.len());
    Ok(())
}
