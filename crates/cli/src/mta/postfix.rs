//! Postfix, as `postconf` tells it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tamis::SocketSpec;

/// What Postfix is configured to do with milters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Postfix {
    values: HashMap<String, String>,
    /// Services of master.cf that take mail by SMTP.
    pub(crate) services: Vec<Service>,
}

/// A line of master.cf, of the program `smtpd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    /// Its name and kind: `smtp/inet`.
    pub(crate) name: String,
    pub(crate) chroot: bool,
    /// What it has in place of `smtpd_milters`.
    pub(crate) milters: Option<String>,
}

/// Why Postfix cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotPostfix {
    /// It is not there.
    #[error("there is no postconf: is Postfix installed, and /usr/sbin in the PATH?")]
    Missing,
    /// It says why.
    #[error("postconf cannot say what Postfix is configured to do: {0}")]
    Failed(String),
}

/// Parameters of main.cf that matter.
const NAMES: [&str; 20] = [
    "smtpd_milters",
    "non_smtpd_milters",
    "milter_default_action",
    "milter_protocol",
    "milter_connect_timeout",
    "milter_command_timeout",
    "milter_content_timeout",
    "milter_connect_macros",
    "milter_helo_macros",
    "milter_mail_macros",
    "milter_rcpt_macros",
    "milter_data_macros",
    "milter_end_of_header_macros",
    "milter_end_of_data_macros",
    "milter_unknown_command_macros",
    "milter_macro_defaults",
    "queue_directory",
    "mail_version",
    "mail_owner",
    "config_directory",
];

impl Postfix {
    /// Asks `postconf`, about the configuration in a folder or the usual one.
    ///
    /// # Errors
    ///
    /// When there is no Postfix, or no configuration of it.
    pub(crate) fn ask(folder: Option<&Path>) -> Result<Self, NotPostfix> {
        let postconf = |args: &[&str]| {
            let mut command = Command::new("postconf");
            // Debian has it where only root's PATH leads.
            let path = std::env::var("PATH").unwrap_or_default();
            command.env("PATH", format!("{path}:/usr/sbin:/usr/local/sbin:/sbin"));
            if let Some(folder) = folder {
                command.arg("-c").arg(folder);
            }
            let output = match command.args(args).output() {
                Ok(output) => output,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Err(NotPostfix::Missing);
                }
                Err(error) => return Err(NotPostfix::Failed(error.to_string())),
            };
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                return Err(NotPostfix::Failed(said.trim().replace('\n', "; ")));
            }
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let main = postconf(&[&["-x"], &NAMES[..]].concat())?;
        let master = postconf(&["-M"])?;
        let overrides = postconf(&["-P"])?;
        Ok(Self::read(&main, &master, &overrides))
    }

    fn read(main: &str, master: &str, overrides: &str) -> Self {
        let values = main.lines().filter_map(|line| {
            let (name, value) = line.split_once('=')?;
            Some((name.trim().to_owned(), value.trim().to_owned()))
        });
        let milters = |service: &str| {
            overrides.lines().find_map(|line| {
                let (name, value) = line.split_once('=')?;
                let own = name.trim().strip_prefix(service)? == "/smtpd_milters";
                own.then(|| value.trim().to_owned())
            })
        };
        let services = master.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [name, kind, _, _, chroot, _, _, program, ..] = fields[..] else { return None };
            let name = format!("{name}/{kind}");
            // `-` is the default, which is no since Postfix 3.0.
            let service = Service { chroot: chroot == "y", milters: milters(&name), name };
            (program == "smtpd").then_some(service)
        });
        Self { values: values.collect(), services: services.collect() }
    }

    /// The value of a parameter.
    pub(crate) fn value(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    /// A time of main.cf.
    pub(crate) fn time(&self, name: &str) -> Option<Duration> {
        let value = self.value(name);
        let (digits, unit) = value.split_at(value.trim_end_matches(char::is_alphabetic).len());
        let unit = match unit {
            "s" | "" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "w" => 604_800,
            _ => return None,
        };
        digits.parse::<u64>().ok()?.checked_mul(unit).map(Duration::from_secs)
    }

    /// The milters that a parameter names.
    pub(crate) fn milters(&self, name: &str) -> Vec<String> {
        split(self.value(name))
    }

    /// The milters of a service.
    pub(crate) fn milters_of(&self, service: &Service) -> Vec<String> {
        match &service.milters {
            Some(milters) => split(milters),
            None => self.milters("smtpd_milters"),
        }
    }

    /// Where a milter of its listens, as other programs name it. Paths are within the queue directory where the service
    /// is in a chroot, and begin there where they are relative.
    pub(crate) fn socket(&self, milter: &str, chroot: bool) -> Option<SocketSpec> {
        let spec: SocketSpec = milter.parse().ok()?;
        let SocketSpec::Unix(path) = &spec else { return Some(spec) };
        let queue = Path::new(self.value("queue_directory"));
        let inside = match path.strip_prefix("/") {
            Ok(inside) if chroot => queue.join(inside),
            Ok(_) => path.clone(),
            Err(_) => queue.join(path),
        };
        Some(SocketSpec::Unix(inside))
    }

    /// How its services name a socket: `unix:` and the path as they see it. `None` for one that they cannot reach.
    pub(crate) fn name_of(&self, spec: &SocketSpec, chroot: bool) -> Option<String> {
        let SocketSpec::Unix(path) = spec else { return Some(spec.postfix()) };
        let queue = Path::new(self.value("queue_directory"));
        match path.strip_prefix(queue) {
            // Relative to the queue directory, which is right in a chroot and outside.
            Ok(inside) => Some(format!("unix:{}", inside.display())),
            Err(_) if chroot => None,
            Err(_) => Some(format!("unix:{}", path.display())),
        }
    }

    /// Whether any of its services is in a chroot.
    pub(crate) fn has_chroot(&self) -> bool {
        self.services.iter().any(|service| service.chroot)
    }

    /// The folder of its main.cf.
    pub(crate) fn folder(&self) -> PathBuf {
        self.value("config_directory").into()
    }

    /// The macros that it sends, at any stage.
    pub(crate) fn macros(&self) -> Vec<&str> {
        let lists = NAMES.iter().filter(|name| name.ends_with("_macros"));
        lists
            .flat_map(|name| self.value(name).split([' ', '\t', ',']).filter(|word| !word.is_empty()))
            .collect()
    }
}

/// Milters with commas or blanks between them; one with settings of its own is in braces, of which the first word is
/// the socket.
fn split(value: &str) -> Vec<String> {
    let mut milters = Vec::new();
    let mut rest = value.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (one, after) = match rest.strip_prefix('{') {
            Some(inner) => inner.split_once('}').unwrap_or((inner, "")),
            None => rest.split_at(rest.find([' ', '\t', ',']).unwrap_or(rest.len())),
        };
        if let Some(socket) = one.split([' ', '\t', ',']).find(|word| !word.is_empty()) {
            milters.push(socket.to_owned());
        }
        rest = after.trim_start_matches([' ', '\t', ',']);
    }
    milters
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postfix() -> Postfix {
        Postfix::read(
            "smtpd_milters = unix:opendkim/s, { inet:localhost:8899, default_action=accept } unix:/run/clam\n\
             milter_command_timeout = 30s\nmilter_content_timeout = 5m\nqueue_directory = /var/spool/postfix\n\
             milter_mail_macros = i {mail_addr}\nmilter_connect_macros = j, v\nnon_smtpd_milters =\n",
            "smtp       inet  n       -       y       -       -       smtpd\n\
             submission inet  n       -       n       -       -       smtpd -o smtpd_milters=unix:own\n\
             pickup     unix  n       -       y       60      1       pickup\n",
            "submission/inet/smtpd_milters = unix:own\nsmtp/unix/x = y\n",
        )
    }

    #[test]
    fn milters_are_split_as_postfix_does() {
        assert_eq!(
            postfix().milters("smtpd_milters"),
            ["unix:opendkim/s", "inet:localhost:8899", "unix:/run/clam"]
        );
        assert_eq!(postfix().milters("non_smtpd_milters"), [""; 0]);
        assert_eq!(split("{unix:a"), ["unix:a"]);
    }

    #[test]
    fn services_have_their_chroot_and_their_own_milters() {
        let postfix = postfix();
        let names: Vec<_> = postfix.services.iter().map(|it| (&*it.name, it.chroot)).collect();
        assert_eq!(names, [("smtp/inet", true), ("submission/inet", false)]);
        assert_eq!(postfix.milters_of(&postfix.services[1]), ["unix:own"]);
        assert_eq!(postfix.milters_of(&postfix.services[0]).len(), 3);
    }

    #[test]
    fn sockets_are_where_the_service_sees_them() {
        let postfix = postfix();
        let path = |milter, chroot| postfix.socket(milter, chroot).unwrap().to_string();
        assert_eq!(path("unix:opendkim/s", true), "unix:/var/spool/postfix/opendkim/s");
        assert_eq!(path("unix:opendkim/s", false), "unix:/var/spool/postfix/opendkim/s");
        assert_eq!(path("unix:/run/clam", true), "unix:/var/spool/postfix/run/clam");
        assert_eq!(path("unix:/run/clam", false), "unix:/run/clam");
        let spec = |text: &str| text.parse::<SocketSpec>().unwrap();
        assert_eq!(postfix.name_of(&spec("unix:/var/spool/postfix/t/s"), true).as_deref(), Some("unix:t/s"));
        assert_eq!(postfix.name_of(&spec("unix:/run/t/s"), true), None);
        assert_eq!(postfix.name_of(&spec("unix:/run/t/s"), false).as_deref(), Some("unix:/run/t/s"));
    }

    #[test]
    fn times_and_macros_are_read() {
        let postfix = postfix();
        assert_eq!(postfix.time("milter_command_timeout"), Some(Duration::from_secs(30)));
        assert_eq!(postfix.time("milter_content_timeout"), Some(Duration::from_mins(5)));
        assert_eq!(postfix.time("queue_directory"), None);
        let mut macros = postfix.macros();
        macros.sort_unstable();
        assert_eq!(macros, ["i", "j", "v", "{mail_addr}"]);
    }
}
