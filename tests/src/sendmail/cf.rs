//! The source of an instance's configuration.

use std::net::SocketAddr;
use std::path::Path;

use crate::host::Listen;
use crate::mta::HOST_NAME;

/// How long Sendmail waits for a filter: to connect, to send, to read, for the end of a message.
const TIMEOUTS: &str = "C:30s;S:30s;R:30s;E:60s";

/// The `.mc` file: what Sendmail's macro package makes the configuration from.
pub(super) fn source(
    folder: &Path,
    smtp: SocketAddr,
    relay: SocketAddr,
    filters: &[Listen],
    settings: &[(String, String)],
) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    let mut defines = vec![
        ("confDOMAIN_NAME", HOST_NAME.to_owned()),
        ("confSERVICE_SWITCH_FILE", path("service.switch")),
        ("confHOSTS_FILE", path("hosts")),
        ("ALIAS_FILE", path("aliases")),
        ("STATUS_FILE", path("statistics")),
        ("HELP_FILE", path("help")),
        ("QUEUE_DIR", path("queue")),
        ("confPID_FILE", path("pid")),
        // The temporary folder is everybody's, with the sticky bit.
        ("confDONT_BLAME_SENDMAIL", "GroupWritableDirPathSafe,AssumeSafeChown,TrustStickyBit".to_owned()),
        ("confTRUSTED_USER", "root".to_owned()),
        ("confTO_IDENT", "0".to_owned()),
        // Load on the machine neither refuses nor delays mail.
        ("confREFUSE_LA", "100000".to_owned()),
        ("confQUEUE_LA", "100000".to_owned()),
        ("confDELAY_LA", "0".to_owned()),
        ("confBIND_OPTS", "-DNSRCH -DEFNAMES".to_owned()),
        ("confMAX_HEADERS_LENGTH", "1000000".to_owned()),
        // No field that warns of a client without HELO.
        ("confPRIVACY_FLAGS", "public".to_owned()),
        ("confMILTER_LOG_LEVEL", "14".to_owned()),
        ("SMART_HOST", format!("relay:[{}]", relay.ip())),
        ("RELAY_MAILER_ARGS", format!("TCP $h {}", relay.port())),
        // Long lines leave as they came.
        ("RELAY_MAILER_LL", "0".to_owned()),
    ];
    let special = ["generate", "local_domain", "failure", "timeouts"];
    let setting = |name: &str| settings.iter().find(|(set, _)| set == name).map(|(_, value)| value.as_str());
    defines.retain(|(name, _)| setting(name).is_none());
    let given = settings.iter().filter(|(name, _)| !special.contains(&name.as_str()));
    let given = given.map(|(name, value)| (name.as_str(), value.clone()));

    let mut out = String::from("divert(0)dnl\nOSTYPE(`linux')dnl\n");
    let mut line = |text: String| {
        out.push_str(&text);
        out.push_str("dnl\n");
    };
    for (name, value) in defines.into_iter().chain(given) {
        line(format!("define(`{name}', `{value}')"));
    }
    if setting("generate") != Some("yes") {
        // No Date, From or Message-Id of Sendmail's own: what is delivered is what was sent, and the edits.
        line("MODIFY_MAILER_FLAGS(`RELAY', `-DFM')".to_owned());
    }
    for feature in [
        "nocanonify",
        "accept_unresolvable_domains",
        "accept_unqualified_senders",
        "promiscuous_relay",
        "no_default_msa",
    ] {
        line(format!("FEATURE(`{feature}')"));
    }
    let family = if smtp.is_ipv6() { ", Family=inet6" } else { "" };
    line(format!("DAEMON_OPTIONS(`Name=MTA, Port={}, Addr={}{family}')", smtp.port(), smtp.ip()));
    let failure = setting("failure").unwrap_or("T");
    let timeouts = setting("timeouts").unwrap_or(TIMEOUTS);
    for (number, filter) in (1..).zip(filters) {
        let socket = match filter {
            Listen::Tcp(address) => format!("inet:{}@{}", address.port(), address.ip()),
            Listen::Unix(path) => format!("unix:{}", path.display()),
        };
        let failure = if failure == "none" { String::new() } else { format!(" F={failure},") };
        line(format!("INPUT_MAIL_FILTER(`filter{number}', `S={socket},{failure} T={timeouts}')"));
    }
    if let Some(domain) = setting("local_domain") {
        // Its users are those of this machine.
        line(format!("LOCAL_DOMAIN(`{domain}')"));
        line("MAILER(`local')".to_owned());
    }
    line("MAILER(`smtp')".to_owned());
    out
}
