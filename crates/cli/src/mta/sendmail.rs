//! Sendmail, as its sendmail.cf says.

use std::path::{Path, PathBuf};

use tamis::SocketSpec;

/// What Sendmail is configured to do with milters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sendmail {
    /// Its file.
    pub(crate) file: PathBuf,
    /// The milters that are used, in their order.
    pub(crate) milters: Vec<Milter>,
}

/// A line `X` of sendmail.cf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Milter {
    pub(crate) name: String,
    pub(crate) socket: SocketSpec,
    /// What happens when it fails: `R` reject, `T` or `4` tempfail; nothing, and mail passes.
    pub(crate) flags: String,
}

/// Where Sendmail has its configuration.
const FILE: &str = "/etc/mail/sendmail.cf";

impl Sendmail {
    /// Reads the configuration, if there is one.
    pub(crate) fn look(file: Option<&Path>) -> Option<Self> {
        let file = file.unwrap_or(Path::new(FILE));
        let bytes = std::fs::read(file).ok()?;
        let milters = Self::read(&String::from_utf8_lossy(&bytes));
        Some(Self { file: file.to_owned(), milters })
    }

    fn read(text: &str) -> Vec<Milter> {
        let all: Vec<Milter> = text.lines().filter_map(milter).collect();
        let used = text.lines().filter_map(|line| line.strip_prefix("O InputMailFilters=")).next_back();
        let names = used.unwrap_or_default().split(',').map(str::trim);
        names.filter_map(|name| all.iter().find(|milter| milter.name == name).cloned()).collect()
    }
}

/// Reads `Xname, S=inet:8899@localhost, F=T, T=C:5m;S:10s`.
fn milter(line: &str) -> Option<Milter> {
    let (name, equates) = line.strip_prefix('X')?.split_once(',')?;
    let equate =
        |letter: &str| equates.split(',').find_map(|it| it.trim().strip_prefix(letter)?.strip_prefix('='));
    let socket = equate("S")?.trim().parse().ok()?;
    Some(Milter {
        name: name.trim().to_owned(),
        socket,
        flags: equate("F").unwrap_or_default().trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milters_are_those_that_are_used_in_their_order() {
        let text = "Xunused, S=inet:1@localhost\nXdkim, S=local:/run/dkim.sock, F=T, T=S:4m;R:4m\n\
                    O InputMailFilters=clam, dkim\nXclam, S=inet:7357@127.0.0.1\n";
        let milters = Sendmail::read(text);
        let said: Vec<_> = milters.iter().map(|it| (&*it.name, it.socket.to_string(), &*it.flags)).collect();
        assert_eq!(
            said,
            [("clam", "inet:7357@127.0.0.1".to_owned(), ""), ("dkim", "unix:/run/dkim.sock".to_owned(), "T")]
        );
        assert_eq!(Sendmail::read(""), []);
    }
}
