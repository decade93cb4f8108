//! What is said to those whose socket cannot be made: as a user who is not root, since root may do everything.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::common::{Ran, Serve, tamis};

/// Nobody, where the tests are run by root; otherwise whoever runs them.
struct User {
    /// Nobody, chosen by root.
    chosen: bool,
    uid: u32,
    gid: u32,
    /// Where the user can reach it, as the folder of the build may be private.
    program: PathBuf,
    folder: TempDir,
}

impl User {
    fn new() -> Self {
        let own = fs::metadata("/proc/self").unwrap();
        let chosen = own.uid() == 0;
        let (uid, gid) = if chosen { (65_534, 65_534) } else { (own.uid(), own.gid()) };
        let folder = tempfile::tempdir().unwrap();
        set_mode(folder.path(), 0o755);
        let program = folder.path().join("tamis");
        fs::copy(tamis([]).get_program(), &program).unwrap();
        Self { chosen, uid, gid, program, folder }
    }

    /// A folder, or several, with a mode; root's, where that is who runs the tests.
    fn folder(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(&path).unwrap();
        set_mode(&path, mode);
        path
    }

    fn serve(&self, socket: &Path, args: &[&str]) -> Command {
        let clean = tamis([]);
        let mut command = Command::new(&self.program);
        for (name, _) in clean.get_envs() {
            command.env_remove(name);
        }
        command.arg("serve").arg("--listen").arg(format!("unix:{}", socket.display())).args(args);
        // Without any further group.
        if self.chosen {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// What is said instead of serving.
    fn refused(&self, socket: &Path, args: &[&str]) -> String {
        let ran = Ran::from(self.serve(socket, args).output().unwrap());
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
        ran.stderr
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Mode, user and group as errors have them.
fn found(path: &Path) -> String {
    let found = fs::metadata(path).unwrap();
    format!("mode {:04o}, user {} and group {}", found.mode() & 0o7777, found.uid(), found.gid())
}

#[test]
fn folder_that_may_not_be_written_is_named_with_what_is_missing() {
    let user = User::new();
    let folder = user.folder("run", 0o555);
    let socket = folder.join("s");
    let (uid, at, dir) = (user.uid, socket.display(), folder.display());
    let expected = format!(
        "tamis: cannot listen on unix:{at}: creating a file in {dir}: Permission denied (os error 13); \
         user {uid} needs write permission on the folder {dir}, which has {}; \
         Postfix in a chroot, as on Debian, takes this path for /var/spool/postfix{at}\n",
        found(&folder)
    );
    assert_eq!(user.refused(&socket, &[]), expected);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn folder_that_may_not_be_searched_is_named_with_what_is_missing() {
    let user = User::new();
    let inner = user.folder("private/run", 0o777);
    let outer = user.folder("private", 0o600);
    let said = user.refused(&inner.join("s"), &[]);
    let expected = format!(
        "user {} needs search permission (x) on the folder {}, which has {}",
        user.uid,
        outer.display(),
        found(&outer)
    );
    assert!(said.contains(&expected), "{said}");
    // For the folder to be removed.
    set_mode(&outer, 0o700);
}

#[test]
fn socket_in_a_queue_directory_is_named_as_the_chroot_sees_it() {
    let user = User::new();
    let queue = user.folder("var/spool/postfix", 0o755);
    let folder = user.folder("var/spool/postfix/run", 0o555);
    let said = user.refused(&folder.join("tamis.sock"), &[]);
    let missing = format!("user {} needs write permission on the folder {}", user.uid, folder.display());
    let seen = format!("; for Postfix in a chroot at {} this socket is /run/tamis.sock\n", queue.display());
    assert!(said.contains(&missing) && said.ends_with(&seen), "{said}");
}

#[test]
fn socket_that_may_not_be_looked_at_for_a_listener_is_named_with_what_is_missing() {
    let user = User::new();
    let socket = user.folder("run", 0o777).join("s");
    let _listener = UnixListener::bind(&socket).unwrap();
    set_mode(&socket, 0o400);
    let said = user.refused(&socket, &[]);
    let expected = format!(
        "connecting to the socket that is there: Permission denied (os error 13); \
         user {} needs write permission on the socket {}, which has {}\n",
        user.uid,
        socket.display(),
        found(&socket)
    );
    assert!(said.ends_with(&expected), "{said}");
}

#[test]
fn owners_and_groups_that_only_root_may_choose_are_refused_with_that() {
    let user = User::new();
    let folder = user.folder("run", 0o777);
    let socket = folder.join("s");
    let said = user.refused(&socket, &["--socket-owner=0"]);
    let expected =
        "giving it to user 0: Operation not permitted (os error 1); only root may give a file away\n";
    assert!(said.ends_with(expected), "{said}");
    let said = user.refused(&socket, &["--socket-group=0"]);
    let expected = "giving it to group 0: Operation not permitted (os error 1); \
                    only root and members of the group may do that\n";
    assert!(said.ends_with(expected), "{said}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn socket_of_a_user_is_made_with_its_own_group_and_the_mode_asked_for() {
    let user = User::new();
    let folder = user.folder("run", 0o777);
    // New files would get this group.
    if user.chosen {
        chown(&folder, None, Some(0)).unwrap();
        set_mode(&folder, 0o2777);
    }
    let socket = folder.join("s");
    let group = format!("--socket-group={}", user.gid);
    let serve = Serve::spawn(user.serve(&socket, &["--socket-mode=0606", &group]));
    let made = fs::symlink_metadata(&socket).unwrap();
    assert_eq!((made.uid(), made.gid(), made.mode() & 0o777), (user.uid, user.gid, 0o606));
    assert_eq!(serve.send(&[]).code, 0);
    serve.end();
    assert!(!socket.exists());
}
