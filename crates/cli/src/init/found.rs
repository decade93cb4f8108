//! The milters that are on this machine.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tamis::SocketSpec;
use tamis::server::resolve;

use crate::mta::{Postfix, Sendmail};

/// A milter that an MTA is configured to ask, or that listens where it usually does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Milter {
    pub(super) name: String,
    pub(super) socket: SocketSpec,
    /// Who names it, as it does: `smtpd_milters = unix:opendkim/opendkim.sock`.
    pub(super) named: Option<String>,
    /// What happens to mail when it fails.
    pub(super) on_failure: &'static str,
    pub(super) signs: bool,
    /// Whether somebody listens there now.
    pub(super) listens: Result<(), String>,
}

/// All of them, those of the MTA first and in its order.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) milters: Vec<Milter>,
}

/// What is usual: a name, whether it signs, and where Debian's packages and their documentation have it.
const USUAL: [(&str, bool, &[&str]); 7] = [
    (
        "opendkim",
        true,
        &[
            "unix:/run/opendkim/opendkim.sock",
            "unix:/var/spool/postfix/opendkim/opendkim.sock",
            "inet:8891@localhost",
        ],
    ),
    (
        "opendmarc",
        false,
        &[
            "unix:/run/opendmarc/opendmarc.sock",
            "unix:/var/spool/postfix/opendmarc/opendmarc.sock",
            "inet:8893@localhost",
        ],
    ),
    ("openarc", true, &["unix:/run/openarc/openarc.sock", "inet:8894@localhost"]),
    (
        "clamav",
        false,
        &[
            "unix:/run/clamav/clamav-milter.ctl",
            "unix:/var/spool/postfix/clamav/clamav-milter.ctl",
            "inet:7357@localhost",
        ],
    ),
    (
        "spamassassin",
        false,
        &["unix:/run/spamass/spamass.sock", "unix:/var/spool/postfix/spamass/spamass.sock"],
    ),
    ("rspamd", false, &["inet:11332@localhost", "unix:/run/rspamd/milter.sock"]),
    ("greylist", false, &["unix:/run/milter-greylist/milter-greylist.sock"]),
];

/// How long a milter may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(2);

impl Found {
    /// Looks around.
    pub(super) fn look(postfix: Option<&Postfix>, sendmail: Option<&Sendmail>) -> Self {
        let mut found = Self::default();
        if let Some(postfix) = postfix {
            found.add_postfix(postfix);
        }
        if let Some(sendmail) = sendmail {
            found.add_sendmail(sendmail);
        }
        found.add_usual();
        found
    }

    fn add_postfix(&mut self, postfix: &Postfix) {
        let on_failure = match postfix.value("milter_default_action") {
            "accept" => "accept",
            "reject" => "reject",
            "quarantine" => "quarantine",
            _ => "tempfail",
        };
        let chroot = postfix.has_chroot();
        for parameter in ["smtpd_milters", "non_smtpd_milters"] {
            for milter in postfix.milters(parameter) {
                let Some(socket) = postfix.socket(&milter, chroot) else { continue };
                let named = format!("{parameter} = {milter}");
                self.add(socket, None, Some(named), on_failure);
            }
        }
    }

    fn add_sendmail(&mut self, sendmail: &Sendmail) {
        for milter in &sendmail.milters {
            let on_failure = match &*milter.flags {
                flags if flags.contains('R') => "reject",
                flags if flags.contains(['T', '4']) => "tempfail",
                _ => "accept",
            };
            let named = format!("{}: X{}", sendmail.file.display(), milter.name);
            self.add(milter.socket.clone(), Some(&milter.name), Some(named), on_failure);
        }
    }

    fn add_usual(&mut self) {
        for (name, _, places) in USUAL {
            for socket in places.iter().filter_map(|place| place.parse::<SocketSpec>().ok()) {
                let known = self.milters.iter().any(|milter| milter.name == name || milter.socket == socket);
                if !known && listens(&socket).is_ok() {
                    self.add(socket, Some(name), None, "accept");
                }
            }
        }
    }

    fn add(
        &mut self,
        socket: SocketSpec,
        name: Option<&str>,
        named: Option<String>,
        on_failure: &'static str,
    ) {
        if let Some(known) = self.milters.iter_mut().find(|milter| milter.socket == socket) {
            if let (Some(before), Some(named)) = (&mut known.named, named) {
                before.push_str(", ");
                before.push_str(&named);
            }
            return;
        }
        let shown = socket.to_string();
        let usual = USUAL.iter().find(|(name, _, places)| {
            shown.contains(name)
                || places.iter().any(|place| place.parse::<SocketSpec>().is_ok_and(|it| it == socket))
        });
        let base = name.or(usual.map(|(name, ..)| *name)).unwrap_or("milter").to_owned();
        let taken = |name: &str| self.milters.iter().any(|milter| milter.name == name);
        let numbered = (2..).map(|number| format!("{base}-{number}"));
        let name = std::iter::once(base.clone()).chain(numbered).find(|name| !taken(name)).unwrap_or(base);
        let listens = listens(&socket);
        let signs = usual.is_some_and(|(_, signs, _)| *signs);
        self.milters.push(Milter { name, socket, named, on_failure, signs, listens });
    }
}

/// Whether somebody accepts connections there; if not, why.
fn listens(socket: &SocketSpec) -> Result<(), String> {
    let connected = match socket {
        SocketSpec::Unix(path) => UnixStream::connect(path).map(|_| ()),
        _ => match resolve(socket) {
            Ok(Some(address)) => TcpStream::connect_timeout(&address, PATIENCE).map(|_| ()),
            Ok(None) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        },
    };
    connected.map_err(|error| error.to_string())
}
