//! What keeps a process from a unix socket, in words that say what to change.

use std::fmt::Write;
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
    let mut text = cause.map(|cause| format!("; {cause}")).unwrap_or_default();
    if let Some(inside) = in_postfix_chroot(&path).filter(|_| !text.is_empty()) {
        let _ = write!(text, "; in Postfix's chroot this socket is {}", inside.display());
    }
    text
}

/// The path of a socket as Postfix's programs see it from their chroot, if it is below Postfix's usual queue
/// directory, `/var/spool/postfix` (`/var/spool/postfix-NAME` for further instances).
pub fn in_postfix_chroot(path: &Path) -> Option<PathBuf> {
    let mut parts = path.strip_prefix("/var/spool").ok()?.components();
    let Some(Component::Normal(queue)) = parts.next() else { return None };
    let queue = queue.to_str()?;
    let rest = parts.as_path();
    let is_postfix = queue == "postfix" || queue.starts_with("postfix-");
    (is_postfix && rest != Path::new("")).then(|| Path::new("/").join(rest))
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
    fn paths_below_postfix_queue_directories_have_another_name_in_its_chroot() {
        for (path, inside) in [
            ("/var/spool/postfix/run/tamis.sock", Some("/run/tamis.sock")),
            ("/var/spool/postfix/tamis.sock", Some("/tamis.sock")),
            ("/var/spool/postfix-out/run/t", Some("/run/t")),
            ("/var/spool/postfix", None),
            ("/var/spool/postfixes/t", None),
            ("/var/spool/mqueue/t", None),
            ("/run/tamis.sock", None),
        ] {
            assert_eq!(in_postfix_chroot(Path::new(path)).as_deref(), inside.map(Path::new), "{path}");
        }
    }

    #[test]
    fn first_folder_that_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing_folder = folder.path().join("a");
        let error = io::Error::from(io::ErrorKind::NotFound);
        let text = missing(&missing_folder.join("b/s"), Wish::Create, &error);
        assert_eq!(text, format!("; there is no folder {}", missing_folder.display()));
        let text = missing(&folder.path().join("s"), Wish::Connect, &error);
        assert_eq!(text, "; nothing listens there, or it has another path");
        let text = missing(Path::new("/var/spool/postfix/no such folder/s"), Wish::Create, &error);
        assert!(text.ends_with("; in Postfix's chroot this socket is /no such folder/s"), "{text}");
    }

    #[test]
    fn permission_that_is_missing_is_named_with_what_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let found = fs::metadata(folder.path()).unwrap();
        let error = io::Error::from(io::ErrorKind::PermissionDenied);
        let user = nix::unistd::geteuid();
        let text = missing(&folder.path().join("s"), Wish::Create, &error);
        let expected = format!(
            "; user {user} needs write permission on the folder {}, which has mode {:04o}, user {} and group {}",
            folder.path().display(),
            found.mode() & 0o7777,
            found.uid(),
            found.gid()
        );
        assert_eq!(text, expected);
        let text = missing(&folder.path().join("s"), Wish::Connect, &error);
        assert!(text.contains("needs write permission on the socket"), "{text}");
        assert_eq!(missing(folder.path(), Wish::Create, &io::Error::from(io::ErrorKind::AddrInUse)), "");
    }
}
