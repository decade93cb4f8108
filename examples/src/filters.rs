//! The examples as filters for other programs, by name: `tamis serve --filter NAME` runs them in a chain.

// Nobody calls their `main` here.
#[allow(dead_code)]
#[path = "bin/client_header.rs"]
mod client_header;
#[allow(dead_code)]
#[path = "bin/footer.rs"]
mod footer;
#[allow(dead_code)]
#[path = "bin/linear.rs"]
mod linear;
#[allow(dead_code)]
#[path = "bin/negotiate.rs"]
mod negotiate;
#[allow(dead_code)]
#[path = "bin/reject_sender.rs"]
mod reject_sender;
#[allow(dead_code)]
#[path = "bin/slow_lookup.rs"]
mod slow_lookup;
#[allow(dead_code)]
#[path = "bin/strip_attachments.rs"]
mod strip_attachments;
#[allow(dead_code)]
#[path = "bin/tag_outside.rs"]
mod tag_outside;
#[allow(dead_code)]
#[path = "bin/trace.rs"]
mod trace;

use std::sync::Arc;

use clap::{Args, Command};
use tamis::{BoxFilter, Filter};

/// Makes the filter of a connection.
pub type Make = Arc<dyn Fn() -> BoxFilter + Send + Sync>;

/// An example.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    /// What it is called.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    build: fn(Vec<String>) -> Result<Make, String>,
}

/// All of them.
pub const ALL: [Example; 9] = [
    Example {
        name: "client-header",
        summary: "puts the client's address on top of the header",
        build: |flags| plain(flags, || client_header::ClientHeader),
    },
    Example {
        name: "footer",
        summary: "appends a footer to plain messages",
        build: |flags| plain(flags, || footer::Footer),
    },
    Example {
        name: "linear",
        summary: "refuses further recipients of bounces, and the text for testing spam filters",
        build: |flags| plain(flags, linear::linear),
    },
    Example {
        name: "negotiate",
        summary: "holds suspicious mail, if the MTA can",
        build: |flags| plain(flags, negotiate::Hold::default),
    },
    Example {
        name: "reject-sender",
        summary: "refuses the senders in a file (table=FILE)",
        build: |flags| {
            let settings: reject_sender::Settings = parse(flags)?;
            let table = Arc::new(reject_sender::read(&settings.table)?);
            Ok(make(move || reject_sender::RejectSender(table.clone())))
        },
    },
    Example {
        name: "slow-lookup",
        summary: "looks the client up for a long time (lookup-time=SECONDS)",
        build: |flags| {
            let settings: slow_lookup::Settings = parse(flags)?;
            Ok(make(move || slow_lookup::SlowLookup(settings)))
        },
    },
    Example {
        name: "strip-attachments",
        summary: "takes programs out of messages",
        build: |flags| plain(flags, || strip_attachments::StripAttachments),
    },
    Example {
        name: "tag-outside",
        summary: "marks the subject of mail from outside (inside=NETWORK, may be repeated)",
        build: |flags| {
            let settings = Arc::new(parse::<tag_outside::Settings>(flags)?);
            Ok(make(move || tag_outside::TagOutside::new(settings.clone())))
        },
    },
    Example {
        name: "trace",
        summary: "logs everything it sees",
        build: |flags| plain(flags, || trace::Trace),
    },
];

impl Example {
    /// Finds one.
    pub fn find(name: &str) -> Option<Self> {
        ALL.into_iter().find(|example| example.name == name)
    }

    /// Makes filters of it with the flags that it has as a program, each `--NAME=VALUE`.
    ///
    /// # Errors
    ///
    /// What is wrong with the flags, or with what they name.
    pub fn build(self, flags: Vec<String>) -> Result<Make, String> {
        (self.build)(flags)
    }
}

fn make<F: Filter>(filter: impl Fn() -> F + Send + Sync + 'static) -> Make {
    Arc::new(move || BoxFilter::new(filter()))
}

/// An example without flags of its own.
fn plain<F: Filter>(flags: Vec<String>, filter: fn() -> F) -> Result<Make, String> {
    parse::<Nothing>(flags)?;
    Ok(make(filter))
}

#[derive(Args)]
struct Nothing {}

fn parse<A: Args>(flags: Vec<String>) -> Result<A, String> {
    // The environment is for the programs of their own.
    let command = A::augment_args(Command::new("filter").no_binary_name(true)).mut_args(|arg| arg.env(None));
    let matches = command.disable_help_flag(true).try_get_matches_from(flags);
    // Its first line says what is wrong, the rest how to call a program.
    let brief = |error: clap::Error| {
        let text = error.to_string();
        let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect::<Vec<_>>();
        lines.join(" ").trim_start_matches("error: ").to_owned()
    };
    matches.and_then(|matches| A::from_arg_matches(&matches)).map_err(brief)
}
