//! The configuration, with comments that say why.

use std::fmt::Write;
use std::path::Path;

use tamis::SocketSpec;

use super::found::{Found, Milter};
use crate::mta::{Postfix, Sendmail};

/// The whole of it.
pub(super) fn text(found: &Found, postfix: Option<&Postfix>, sendmail: Option<&Sendmail>) -> String {
    let mut text = String::from(
        "# A configuration to begin with, made by `tamis init` of what it found on this machine. All that can be said here:\n\
         # `tamis config example`.\n#\n#   tamis config check      is everything right?\n#   tamis reload            read it again\n\n",
    );
    listener(&mut text, postfix);
    mta(&mut text, found, postfix, sendmail);
    text.push_str("\n# One line for each message.\n[[filter]]\ntype = \"log\"\n");
    for milter in &found.milters {
        filter(&mut text, milter);
    }
    if found.milters.is_empty() {
        text.push_str(
            "\n# No milter was found, neither in the MTA's configuration nor where they usually listen. One is asked by:\n#\n\
             #[[filter]]\n#name = \"opendkim\"\n#type = \"milter\"\n#socket = \"inet:8891@localhost\"\n#on_failure = \"accept\"\n",
        );
    }
    text
}

/// The socket: TCP, which every MTA reaches, in a chroot or not.
const SOCKET: &str = "inet:8899@127.0.0.1";

fn listener(text: &mut String, postfix: Option<&Postfix>) {
    // A string takes all.
    let _ = writeln!(text, "[[listener]]\nsocket = \"{SOCKET}\"");
    if let Some(postfix) = postfix {
        let queue = postfix.value("queue_directory");
        let owner = postfix.value("mail_owner");
        let chroot = if postfix.has_chroot() {
            "smtpd is in a chroot here: paths outside cannot be reached"
        } else {
            "smtpd is not in a chroot here: any path will do"
        };
        let _ = writeln!(
            text,
            "# Or a unix socket, which only Postfix' user reaches ({chroot}):\n\
             #socket = \"unix:{queue}/tamis/milter.sock\"\n#group = \"{owner}\""
        );
    }
}

fn mta(text: &mut String, found: &Found, postfix: Option<&Postfix>, sendmail: Option<&Sendmail>) {
    if let Some(postfix) = postfix {
        let action = postfix.value("milter_default_action");
        let version = postfix.value("mail_version");
        let _ =
            writeln!(text, "\n# Postfix {version}, whose milter_default_action is {action}, uses it with");
        let _ =
            writeln!(text, "#\n#   postconf -e 'smtpd_milters = inet:127.0.0.1:8899'\n#   postfix reload\n#");
        if found.milters.iter().any(|milter| milter.named.is_some()) {
            text.push_str(
                "# in place of the milters below, which are asked from here then, in the same order.\n",
            );
        }
        let own: Vec<_> = postfix.services.iter().filter(|service| service.milters.is_some()).collect();
        for service in own {
            let milters = postfix.milters_of(service).join(", ");
            let _ = writeln!(text, "# {} in master.cf has milters of its own: {milters}", service.name);
        }
    }
    if let Some(sendmail) = sendmail {
        let _ = writeln!(
            text,
            "\n# Sendmail ({}) uses it with, in sendmail.mc,\n#\n#   INPUT_MAIL_FILTER(`tamis', `S=inet:8899@127.0.0.1, F=T, T=S:30s;R:30s;E:5m')",
            sendmail.file.display()
        );
    }
    if postfix.is_none() && sendmail.is_none() {
        text.push_str("\n# Neither Postfix nor Sendmail was found here. Postfix on another machine needs a listener on an address that\n# it reaches, and `allow_networks`.\n");
    }
}

fn filter(text: &mut String, milter: &Milter) {
    let Milter { name, socket, named, on_failure, signs, listens } = milter;
    text.push('\n');
    let _ = match named {
        Some(named) => writeln!(text, "# {named}"),
        None => {
            writeln!(text, "# Listens here; no MTA asks it so far. Take the marks away to have it asked.")
        }
    };
    if let Err(why) = listens {
        let _ = writeln!(text, "# Nobody listens there now: {why}");
    }
    // One that no MTA asked is not asked unless somebody wants it.
    let mark = if named.is_some() { "" } else { "#" };
    let quoted = |value: &str| serde_json::Value::from(value).to_string();
    let place = match socket {
        SocketSpec::Unix(path) => format!("unix:{}", path.display()),
        other => other.to_string(),
    };
    let _ = writeln!(text, "{mark}[[filter]]\n{mark}name = {}\n{mark}type = \"milter\"", quoted(name));
    let _ = writeln!(text, "{mark}socket = {}\n{mark}on_failure = \"{on_failure}\"", quoted(&place));
    if *signs {
        let _ = writeln!(text, "# What it signs should not change behind it.\n{mark}signs = true");
    }
}

/// What is said when it is written.
pub(super) fn summary(found: &Found, path: &Path) -> String {
    let names: Vec<_> = found.milters.iter().map(|milter| &*milter.name).collect();
    let milters = match &names[..] {
        [] => "no milter was found".to_owned(),
        names => format!("found {}", names.join(", ")),
    };
    format!("{}: written; {milters}. Read it, then: tamis config check", path.display())
}
