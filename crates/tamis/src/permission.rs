//! What keeps a process from a unix socket, in words that say what to change.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// What was tried with a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Create,
    Connect,
}

/// What is missing for a wish that the system refused, to be put behind its error; empty where that is not known.
pub(crate) fn missing(path: &Path, wish: Wish, error: &io::Error) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let cause = match error.kind() {
        io::ErrorKind::NotFound => first_missing(&path, wish),
        io::ErrorKind::PermissionDenied => Some(missing_permission(&path, wish)),
        _ => None,
    };
    let Some(cause) = cause else { return String::new() };
    let chroot = match (split_queue_directory(&path), wish) {
        (Some((queue, inside)), _) => {
            format!("; for Postfix in a chroot at {} this socket is /{}", queue.display(), inside.display())
        }
        (None, Wish::Create) => {
            let seen = in_usual_chroot(&path);
            format!("; Postfix in a chroot, as on Debian, takes this path for {}", seen.display())
        }
        // Who connects here is not Postfix.
        (None, Wish::Connect) => String::new(),
    };
    format!("; {cause}{chroot}")
}

/// Splits the path of a socket into a queue directory of Postfix and what is below that, if it looks as if it were
/// in one: in `spool/postfix`, or `spool/postfix-NAME` for further instances, wherever `spool` is.
///
/// Postfix's programs are in the queue directory, and often in a chroot there, so that the path below it is the one
/// that all of them understand.
pub fn split_queue_directory(path: &Path) -> Option<(&Path, &Path)> {
    let is_queue = |folder: &&Path| {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let spool = folder.parent().and_then(Path::file_name);
        (name == "postfix" || name.starts_with("postfix-")) && spool.is_some_and(|spool| spool == "spool")
    };
    let queue = path.ancestors().skip(1).find(is_queue)?;
    let inside = path.strip_prefix(queue).ok()?;
    inside.components().all(|part| matches!(part, Component::Normal(_))).then_some((queue, inside))
}

/// The path that one means as seen from the chroot that Postfix has by default on Debian.
pub fn in_usual_chroot(path: &Path) -> PathBuf {
    Path::new("/var/spool/postfix").join(path.strip_prefix("/").unwrap_or(path))
}

/// Folders on the way to a file, from the root.
fn folders(path: &Path) -> Vec<&Path> {
    let mut folders: Vec<_> = path.ancestors().skip(1).collect();
    folders.reverse();
    folders
}

fn first_missing(path: &Path, wish: Wish) -> Option<String> {
    let lost =
        |path: &&Path| matches!(fs::metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound);
    match folders(path).into_iter().find(lost) {
        Some(folder) => Some(format!("there is no folder {}", folder.display())),
        None if wish == Wish::Connect => Some("nothing listens there, or it has another path".to_owned()),
        None => None,
    }
}

fn missing_permission(path: &Path, wish: Wish) -> String {
    let user = nix::unistd::geteuid();
    let folders = folders(path);
    // A folder's own entry can only be looked at with the permission to search it.
    let closed = |folder: &&&Path| matches!(fs::metadata(folder.join(".")), Err(error) if error.kind() == io::ErrorKind::PermissionDenied);
    let (what, place) = match (folders.iter().find(closed), wish) {
        (Some(folder), _) => ("search permission (x) on the folder", *folder),
        (None, Wish::Create) => ("write permission on the folder", folders.last().copied().unwrap_or(path)),
        (None, Wish::Connect) => ("write permission on the socket", path),
    };
    let now = fs::metadata(place).map_or_else(
        |_| String::new(),
        |found| {
            format!(
                ", which has mode {:04o}, user {} and group {}",
                found.mode() & 0o7777,
                found.uid(),
                found.gid()
            )
        },
    );
    format!("user {user} needs {what} {}{now}", place.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_in_queue_directories_of_postfix_have_a_path_below_them() {
        for (path, split) in [
            ("/var/spool/postfix/run/tamis.sock", Some(("/var/spool/postfix", "run/tamis.sock"))),
            ("/var/spool/postfix/tamis.sock", Some(("/var/spool/postfix", "tamis.sock"))),
            ("/var/spool/postfix-out/run/t", Some(("/var/spool/postfix-out", "run/t"))),
            ("/usr/local/var/spool/postfix/t", Some(("/usr/local/var/spool/postfix", "t"))),
            ("/srv/box/var/spool/postfix/run/t", Some(("/srv/box/var/spool/postfix", "run/t"))),
            ("/var/spool/postfix/spool/postfix/t", Some(("/var/spool/postfix/spool/postfix", "t"))),
            ("/var/spool/postfix", None),
            ("/var/spool/postfix/../t", None),
            ("/var/spool/postfixes/t", None),
            ("/var/spool/mqueue/t", None),
            ("/etc/postfix/t", None),
            ("/run/tamis.sock", None),
        ] {
            let expected = split.map(|(queue, inside)| (Path::new(queue), Path::new(inside)));
            assert_eq!(split_queue_directory(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn sockets_elsewhere_are_looked_for_below_the_chroot() {
        let seen = in_usual_chroot(Path::new("/run/tamis.sock"));
        assert_eq!(seen, Path::new("/var/spool/postfix/run/tamis.sock"));
    }

    #[test]
    fn first_folder_that_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing_folder = folder.path().join("a");
        let error = io::Error::from(io::ErrorKind::NotFound);
        let text = missing(&missing_folder.join("b/s"), Wish::Create, &error);
        let expected = format!("; there is no folder {}; Postfix in a chroot, ", missing_folder.display());
        assert!(text.starts_with(&expected), "{text}");
        let text = missing(&folder.path().join("s"), Wish::Connect, &error);
        assert_eq!(text, "; nothing listens there, or it has another path");
        let text = missing(Path::new("/var/spool/postfix/no such folder/s"), Wish::Create, &error);
        let expected = "; for Postfix in a chroot at /var/spool/postfix this socket is /no such folder/s";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn permission_that_is_missing_is_named_with_what_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let found = fs::metadata(folder.path()).unwrap();
        let error = io::Error::from(io::ErrorKind::PermissionDenied);
        let user = nix::unistd::geteuid();
        let text = missing(&folder.path().join("s"), Wish::Create, &error);
        let expected = format!(
            "; user {user} needs write permission on the folder {}, which has mode {:04o}, user {} and group {}; \
             Postfix in a chroot, as on Debian, takes this path for /var/spool/postfix{}/s",
            folder.path().display(),
            found.mode() & 0o7777,
            found.uid(),
            found.gid(),
            folder.path().display()
        );
        assert_eq!(text, expected);
        let text = missing(&folder.path().join("s"), Wish::Connect, &error);
        assert!(text.contains("needs write permission on the socket"), "{text}");
        assert!(!text.contains("Postfix"), "{text}");
        assert_eq!(missing(folder.path(), Wish::Create, &io::Error::from(io::ErrorKind::AddrInUse)), "");
    }
}
