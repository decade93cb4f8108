//! How much of the machine MTAs may take.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tamis::Options;

use super::units::{count, size, time};

/// Limits; each has the default of the library.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct Limits {
    /// Connections that may be open; one more is closed at once.
    #[arg(long, env = "TAMIS_MAX_CONNECTIONS", value_name = "NUMBER", default_value = "16000")]
    #[arg(value_parser = count)]
    max_connections: usize,

    /// Connections of one address that may be open; all of unix sockets count as one address.
    #[arg(long, env = "TAMIS_MAX_CONNECTIONS_PER_PEER", value_name = "NUMBER", default_value = "12000")]
    #[arg(value_parser = count)]
    max_connections_per_peer: usize,

    /// How long the negotiation may take, from the connection on.
    #[arg(long, env = "TAMIS_HANDSHAKE_TIME", value_name = "TIME", default_value = "30s", value_parser = time)]
    handshake_time: Duration,

    /// How long an MTA may be silent; it is while its SMTP client is.
    #[arg(long, env = "TAMIS_IDLE_TIME", value_name = "TIME", default_value = "7210s", value_parser = time)]
    idle_time: Duration,

    /// How long an MTA may take to finish a frame that it began.
    #[arg(long, env = "TAMIS_FRAME_TIME", value_name = "TIME", default_value = "60s", value_parser = time)]
    frame_time: Duration,

    /// How long an MTA may read nothing of a reply.
    #[arg(long, env = "TAMIS_WRITE_TIME", value_name = "TIME", default_value = "10s", value_parser = time)]
    write_time: Duration,

    /// Receive buffers and macros of all connections together, without 16K that each may have anyway.
    #[arg(long, env = "TAMIS_MAX_BUFFERS", value_name = "SIZE", default_value = "1G", value_parser = size)]
    max_buffers: usize,

    /// How much is read ahead while a message is worked on; an MTA that sends more waits.
    #[arg(long, env = "TAMIS_READ_AHEAD", value_name = "SIZE", default_value = "64K", value_parser = size)]
    read_ahead: usize,

    /// Replies that may wait until the MTA reads them; no further command is taken meanwhile.
    #[arg(long, env = "TAMIS_MAX_REPLIES", value_name = "SIZE", default_value = "16K", value_parser = size)]
    max_replies: usize,

    /// What a frame may carry; 65535 at the least, which every MTA may send.
    #[arg(long, env = "TAMIS_MAX_PAYLOAD", value_name = "SIZE", default_value = "1048575")]
    #[arg(value_parser = payload)]
    max_payload: usize,

    /// Macros at one stage; those above are dropped.
    #[arg(long, env = "TAMIS_MAX_MACROS", value_name = "NUMBER", default_value = "1000", value_parser = count)]
    max_macros: usize,

    /// Names and values of macros at one stage.
    #[arg(long, env = "TAMIS_MAX_MACRO_BYTES", value_name = "SIZE", default_value = "65535")]
    #[arg(value_parser = size)]
    max_macro_bytes: usize,

    /// Header fields of a message.
    #[arg(long, env = "TAMIS_MAX_HEADERS", value_name = "NUMBER", default_value = "10000")]
    #[arg(value_parser = count)]
    max_headers: usize,

    /// Names and values of all header fields of a message.
    #[arg(long, env = "TAMIS_MAX_HEADER_BYTES", value_name = "SIZE", default_value = "1M")]
    #[arg(value_parser = size)]
    max_header_bytes: usize,

    /// Recipients of a message, refused ones included.
    #[arg(long, env = "TAMIS_MAX_RECIPIENTS", value_name = "NUMBER", default_value = "10000")]
    #[arg(value_parser = count)]
    max_recipients: usize,

    /// A sender or recipient with its parameters, a HELO name, a client's name, an unknown command.
    #[arg(long, env = "TAMIS_MAX_ARGUMENT", value_name = "SIZE", default_value = "8K", value_parser = size)]
    max_argument: usize,
}

impl Limits {
    /// Writes them into the server's settings.
    pub(super) fn set(&self, options: &mut Options) {
        options.max_connections = self.max_connections;
        options.max_connections_per_peer = self.max_connections_per_peer;
        options.handshake_time = self.handshake_time;
        options.idle_time = self.idle_time;
        options.frame_time = self.frame_time;
        options.write_time = self.write_time;
        options.buffers = self.max_buffers;
        options.read_ahead = self.read_ahead;
        options.limits = tamis::proto::Limits::new()
            .with_replies(self.max_replies)
            .with_payload(self.max_payload)
            .with_macros(self.max_macros)
            .with_macro_bytes(self.max_macro_bytes)
            .with_headers(self.max_headers)
            .with_header_bytes(self.max_header_bytes)
            .with_recipients(self.max_recipients)
            .with_argument(self.max_argument);
    }

    /// Has the system let the process open a file for each connection, as far as it may.
    pub(super) fn raise_open_files(&self) {
        raise_open_files(self.max_connections, "--max-connections");
    }
}

/// Has the system let the process open a file for each connection, as far as it may.
pub(super) fn raise_open_files(connections: usize, name: &str) {
    /// Listeners, the log, the runtime, files that a filter reads.
    const OTHERS: u64 = 100;
    let wanted = (connections as u64).saturating_add(OTHERS);
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let raised = wanted.min(hard);
    if soft < raised && setrlimit(Resource::RLIMIT_NOFILE, raised, hard).is_err() || raised < wanted {
        let connections = soft.max(raised).saturating_sub(OTHERS);
        tracing::warn!("the limit on open files lets {connections} connections be open, fewer than {name}");
    }
}

/// The payload of a frame. What the library would raise to the least there is, is refused here.
fn payload(text: &str) -> Result<usize, String> {
    let bytes = size(text)?;
    if tamis::proto::Limits::new().with_payload(bytes).payload == bytes {
        Ok(bytes)
    } else {
        Err("every MTA may send frames of 65535 bytes, so that is the least".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches};

    use super::*;

    /// The settings that come of some arguments, written out.
    fn settings(args: &[&str]) -> String {
        let command = Limits::augment_args(clap::Command::new("test"));
        // What is set where the tests run does not matter.
        let command = command.mut_args(|arg| arg.env(None));
        let matches = command.get_matches_from([&["test"], args].concat());
        let mut options = Options::default();
        Limits::from_arg_matches(&matches).unwrap().set(&mut options);
        format!("{options:#?}")
    }

    #[test]
    fn defaults_are_those_of_the_library() {
        assert_eq!(settings(&[]), format!("{:#?}", Options::default()));
    }

    #[test]
    fn every_option_sets_its_limit_and_no_other() {
        let defaults = settings(&[]);
        for (arg, line) in [
            ("--max-connections=77", "max_connections: 77,"),
            ("--max-connections-per-peer=77", "max_connections_per_peer: 77,"),
            ("--handshake-time=77", "handshake_time: 77s,"),
            ("--idle-time=77s", "idle_time: 77s,"),
            ("--frame-time=77m", "frame_time: 4620s,"),
            ("--write-time=77s", "write_time: 77s,"),
            ("--max-buffers=77M", "buffers: 80740352,"),
            ("--read-ahead=77K", "read_ahead: 78848,"),
            ("--max-replies=77", "replies: 77,"),
            ("--max-payload=77K", "payload: 78848,"),
            ("--max-macros=77", "macros: 77,"),
            ("--max-macro-bytes=77", "macro_bytes: 77,"),
            ("--max-headers=77", "headers: 77,"),
            ("--max-header-bytes=77", "header_bytes: 77,"),
            ("--max-recipients=77", "recipients: 77,"),
            ("--max-argument=77", "argument: 77,"),
        ] {
            let changed = settings(&[arg]);
            let differ = defaults.lines().zip(changed.lines()).filter(|(before, after)| before != after);
            let differ: Vec<_> = differ.map(|(_, after)| after.trim()).collect();
            assert_eq!(differ, [line], "{arg}");
        }
    }

    #[test]
    fn frames_that_every_mta_may_send_cannot_be_forbidden() {
        assert_eq!((payload("65535"), payload("64K")), (Ok(65_535), Ok(65_536)));
        assert!(payload("65534").unwrap_err().contains("65535"));
    }
}
