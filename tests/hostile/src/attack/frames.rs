//! Frames that are none: wrong lengths, codes that do not exist, programs that speak something else.

use anyhow::{Context as _, Result};

use super::{Attack, Bytes, Server};
use crate::client::Raw;
use crate::state::State;
use crate::target::Target;
use crate::wire::frame;

pub(super) const ALL: &[Attack] = &[
    Attack {
        name: "lengths",
        throws: "length fields of 0, 1,048,577, 2³¹, 2³¹+1 and 2³²−1, fresh, negotiated and in a message",
        connections: 15,
        bytes: Bytes::Exactly(915),
        must: "closed at the length alone, logged with the limit",
        server: Server::Shared,
        run: lengths,
    },
    Attack {
        name: "codes",
        throws: "each of the 241 codes that no command has, fresh, negotiated and in a message",
        connections: 723,
        bytes: Bytes::Exactly(46_272),
        must: "closed, logged as \"no such code\"",
        server: Server::Shared,
        run: codes,
    },
    Attack {
        name: "strangers",
        throws: "HTTP, SMTP, clamd, policy service, TLS, SSH, PROXY, plain text",
        connections: 8,
        bytes: Bytes::Exactly(166),
        must: "closed; the log says who that is",
        server: Server::Shared,
        run: strangers,
    },
];

const STATES: [State; 3] = [State::Fresh, State::Negotiated, State::Body];

fn lengths(target: &Target) -> Result<()> {
    for state in STATES {
        for length in [0_u32, 1_048_577, 1 << 31, (1 << 31) + 1, u32::MAX] {
            let mut raw = state.reach(target)?;
            raw.throw(&length.to_be_bytes());
            let reason = match length {
                0 => "frame of length 0".to_owned(),
                _ => format!("frame of {} bytes exceeds the limit of 1048575", length - 1),
            };
            raw.refused(&reason).with_context(|| format!("length {length}, {state:?}"))?;
        }
    }
    Ok(())
}

fn codes(target: &Target) -> Result<()> {
    for state in STATES {
        for code in (0..=255).filter(|code| !b"ABCDEHKLMNOQRTU".contains(code)) {
            let mut raw = state.reach(target)?;
            raw.throw(&frame(code, b"x\0"));
            raw.refused("no such code").with_context(|| format!("code {code:#04x}, {state:?}"))?;
        }
    }
    Ok(())
}

fn strangers(target: &Target) -> Result<()> {
    let callers: [(&[u8], &str); 8] = [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "this is an HTTP client"),
        (b"EHLO mail.example\r\n", "this is an SMTP client"),
        (b"zINSTREAM\0", "this is a client of clamd or spamd"),
        (b"request=smtpd_access_policy\n\n", "this is Postfix asking a policy service"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "this is a TLS client"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "this is an SSH client"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "this is a proxy"),
        (b"hello there\r\n", "this is text, not the milter protocol"),
    ];
    for (said, reason) in callers {
        let mut raw = Raw::connect(target)?;
        raw.throw(said);
        if said.starts_with(b"GET") {
            // Told so in its own language, where it can understand it.
            raw.text()?;
            raw.logged(reason)?;
        } else {
            raw.refused(reason)?;
        }
    }
    Ok(())
}
