//! The queue folder of an instance: `qf…` and `df…` files while a message is on its way, `hf…` and `df…` on hold.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::mta::{Held, with_crlf};

pub(super) fn wait_until_idle(queue: &Path, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        let names = names(queue);
        // What is held has its body there too.
        let is_held = |name: &str| names.iter().any(|held| held.starts_with("hf") && held[2..] == name[2..]);
        if names.iter().all(|name| is_held(name)) {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

pub(super) fn is_empty(queue: &Path) -> bool {
    names(queue).is_empty()
}

pub(super) fn deferred(queue: &Path) -> Vec<String> {
    let control = names(queue).into_iter().filter(|name| name.starts_with("qf"));
    control.map(|name| String::from_utf8_lossy(&read(&queue.join(name))).into_owned()).collect()
}

pub(super) fn held(queue: &Path) -> Vec<Held> {
    let control = names(queue).into_iter().filter(|name| name.starts_with("hf"));
    control
        .map(|name| {
            let body = read(&queue.join(format!("df{}", &name[2..])));
            held_message(&read(&queue.join(name)), &body)
        })
        .collect()
}

pub(super) fn clear(queue: &Path) {
    for name in names(queue) {
        // A delivery may do the same.
        drop(fs::remove_file(queue.join(name)));
    }
}

fn names(queue: &Path) -> Vec<String> {
    let entries = fs::read_dir(queue).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn read(path: &PathBuf) -> Vec<u8> {
    fs::read(path).unwrap_or_default()
}

/// Reads a control file: a letter and a value on each line, and lines that begin with white space go on with the
/// one before.
fn held_message(control: &[u8], body: &[u8]) -> Held {
    let (mut sender, mut recipients, mut message) = (String::new(), Vec::new(), Vec::new());
    let mut in_header = false;
    let bare = |path: &[u8]| {
        let path = String::from_utf8_lossy(path).into_owned();
        path.trim_start_matches('<').trim_end_matches('>').to_owned()
    };
    for line in control.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        match text {
            [b' ' | b'\t', ..] if in_header => {
                message.extend_from_slice(line);
                continue;
            }
            // Between question marks the mailer flags without which it is not sent: fields of Sendmail's own.
            [b'H', b'?', b'?', ..] => message.extend_from_slice(&line[3..]),
            [b'S', path @ ..] => sender = bare(path),
            // Flags up to a colon, then the address.
            [b'R', rest @ ..] => {
                let path = rest.iter().position(|byte| *byte == b':').map_or(0, |at| at + 1);
                recipients.push(bare(&rest[path..]));
            }
            _ => {}
        }
        in_header = text.starts_with(b"H??");
    }
    message.push(b'\n');
    message.extend_from_slice(body);
    Held { sender, recipients, message: with_crlf(&message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_file_is_read() {
        let control = b"V8\nT1\nS<a@x>\nrRFC822; b@x\nRPFD:<b@x>\nH??X: 1\n\tmore\nH?D?Date: now\n.\n";
        let held = held_message(control, b"Hello.\n");
        assert_eq!(
            (held.sender.as_str(), held.recipients.as_slice()),
            ("a@x", ["b@x".to_owned()].as_slice())
        );
        assert_eq!(held.message, b"X: 1\r\n\tmore\r\n\r\nHello.\r\n");
    }
}
