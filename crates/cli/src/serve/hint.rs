//! What an administrator has to tell an MTA.

use std::io::{self, Write};
use std::path::Path;

use tamis::SocketSpec;
use tamis::server::{in_usual_chroot, split_queue_directory};

/// Shows it on stderr.
pub(super) fn print(specs: &[SocketSpec]) {
    let _ = io::stderr().write_all(text(specs).as_bytes());
}

/// Logs it, a line for each socket.
pub(super) fn log(specs: &[SocketSpec]) {
    for spec in specs {
        let (postfix, sendmail) = (postfix(spec), sendmail(spec));
        tracing::info!(address = %spec, smtpd_milters = postfix, sendmail_mc = sendmail, "listening");
    }
}

fn text(specs: &[SocketSpec]) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for spec in specs {
        let _ = writeln!(text, "tamis {} is listening on {spec}", env!("CARGO_PKG_VERSION"));
    }
    let Some(spec) = specs.first() else { return text };
    let _ = write!(
        text,
        "\n\
         Postfix:\n\
         \x20   postconf -e 'smtpd_milters = {postfix}'\n\
         \x20   postconf -e 'milter_default_action = accept'\n\
         \x20   postfix reload\n\
         \n\
         Sendmail, in sendmail.mc:\n\
         \x20   {}\n\
         \n",
        sendmail(spec),
        postfix = postfix(spec),
    );
    if let SocketSpec::Unix(path) = spec {
        text.push_str(&chroot(path));
        text.push_str(
            "The MTA's user must be allowed to write to the socket: see --socket-mode and --socket-group.\n\n",
        );
    }
    text
}

fn postfix(spec: &SocketSpec) -> String {
    match spec {
        // Relative to the queue directory, where Postfix's programs are, which is right in a chroot and outside.
        SocketSpec::Unix(path) if let Some((_, inside)) = split_queue_directory(path) => {
            format!("unix:{}", inside.display())
        }
        _ => spec.postfix(),
    }
}

/// How Postfix finds a socket from its chroot, or why it does not.
fn chroot(path: &Path) -> String {
    if let Some((queue, inside)) = split_queue_directory(path) {
        return format!(
            "The path is that below Postfix's queue directory, {}, and right whether or not smtpd runs in a \
             chroot\nthere; in the chroot this socket is /{}.\n",
            queue.display(),
            inside.display()
        );
    }
    let seen = in_usual_chroot(path);
    format!(
        "Where smtpd and cleanup run in a chroot (\"y\" in the fifth column of master.cf, as Debian has it), Postfix \
         looks for\n{} instead. Listen there (--listen unix:{0}),\nand say unix:{} to Postfix.\n",
        seen.display(),
        path.strip_prefix("/").unwrap_or(path).display()
    )
}

fn sendmail(spec: &SocketSpec) -> String {
    format!("INPUT_MAIL_FILTER(`tamis', `S={}, F=T, T=C:10s;S:10s;R:10s;E:5m')dnl", spec.sendmail())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_mtas_are_shown_their_own_syntax() {
        let text = text(&["inet:8899@127.0.0.1".parse().unwrap(), "unix:/run/t.sock".parse().unwrap()]);
        for line in [
            concat!("tamis ", env!("CARGO_PKG_VERSION"), " is listening on inet:8899@127.0.0.1\n"),
            " is listening on unix:/run/t.sock\n",
            "    postconf -e 'smtpd_milters = inet:127.0.0.1:8899'\n",
            "    postconf -e 'milter_default_action = accept'\n",
            "    INPUT_MAIL_FILTER(`tamis', `S=inet:8899@127.0.0.1, F=T, T=C:10s;S:10s;R:10s;E:5m')dnl\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(!text.contains("chroot"));
    }

    #[test]
    fn sockets_in_the_chroot_of_postfix_have_the_path_that_it_sees() {
        let text = text(&["unix:/var/spool/postfix/run/tamis.sock".parse().unwrap()]);
        assert!(text.contains("smtpd_milters = unix:run/tamis.sock'"), "{text}");
        assert!(text.contains("queue directory, /var/spool/postfix, and right"), "{text}");
        assert!(text.contains("in the chroot this socket is /run/tamis.sock."), "{text}");
    }

    #[test]
    fn sockets_elsewhere_have_the_path_where_a_chroot_looks_for_them() {
        let text = text(&["unix:/run/tamis.sock".parse().unwrap()]);
        assert!(text.contains("smtpd_milters = unix:/run/tamis.sock'"), "{text}");
        assert!(text.contains("--listen unix:/var/spool/postfix/run/tamis.sock"), "{text}");
        assert!(text.contains("say unix:run/tamis.sock to Postfix"), "{text}");
    }

    #[test]
    fn wildcards_become_addresses_that_can_be_connected_to() {
        let text = text(&["inet6:8899".parse().unwrap()]);
        assert!(text.contains("smtpd_milters = inet:[::1]:8899'"), "{text}");
        assert!(text.contains("S=inet6:8899@[::1],"), "{text}");
    }
}
