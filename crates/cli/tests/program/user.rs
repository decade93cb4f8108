//! Whom a daemon that root starts becomes, and what it has made before.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::common::{Serve, run, tamis, through};

/// Who is nobody on every system.
const NOBODY: u32 = 65_534;

fn is_root(what: &str) -> bool {
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !root {
        println!("skipped: only root can {what}");
    }
    root
}

/// A configuration in a folder that everybody may look into.
struct Configured {
    folder: TempDir,
}

impl Configured {
    fn new(process: &str, socket: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let configured = Self { folder };
        let text = format!(
            "[[listener]]\nsocket = \"unix:{}\"\n[log]\nformat = \"json\"\n[admin]\nsocket = \"{}\"\n[process]\n{process}\n\
             [[filter]]\ntype = \"headers\"\nrules = [{{ add = \"X-Seen: yes\" }}]\n",
            socket.display(),
            configured.path("admin.sock").display(),
        );
        fs::write(configured.path("tamis.toml"), text).unwrap();
        configured
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn args(&self) -> [String; 3] {
        ["serve".to_owned(), "--config".to_owned(), self.path("tamis.toml").display().to_string()]
    }

    fn start(&self) -> Serve {
        let args = self.args();
        let mut serve = Serve::spawn(tamis(args.iter().map(String::as_str)));
        // It listens before it becomes somebody.
        serve.wait_for("\"chain\"");
        serve
    }
}

/// The numbers behind a word in what the system says of all threads of a process; they must be the same for each.
fn numbers(serve: &Serve, word: &str) -> Vec<u32> {
    let of_thread = |thread: PathBuf| -> Vec<u32> {
        let status = fs::read_to_string(thread.join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(word)).unwrap();
        line.split_whitespace().map(|number| number.parse().unwrap()).collect()
    };
    let threads = fs::read_dir(format!("/proc/{}/task", serve.pid())).unwrap();
    let mut all: Vec<_> = threads.map(|thread| of_thread(thread.unwrap().path())).collect();
    all.dedup();
    assert_eq!(all.len(), 1, "{word} {all:?}");
    all.remove(0)
}

#[test]
fn the_process_becomes_a_user_once_its_sockets_are_open() {
    if !is_root("become somebody else") {
        return;
    }
    // Where nobody but root can make a socket.
    let private = tempfile::tempdir().unwrap();
    let socket = private.path().join("milter.sock");
    for process in ["user = \"nobody\"", "user = \"65534\"\ngroup = \"65534\""] {
        let configured = Configured::new(process, &socket);
        let mut serve = configured.start();
        assert_eq!(numbers(&serve, "Uid:"), [NOBODY; 4], "{process}");
        let groups = numbers(&serve, "Groups:");
        assert_eq!((numbers(&serve, "Gid:"), &*groups), (vec![NOBODY; 4], &[NOBODY][..]), "{process}");
        assert_eq!(serve.send(&[]).code, 0);
        // What belongs to the administration belongs to the user, who makes it anew when it is moved.
        let admin = fs::metadata(configured.path("admin.sock")).unwrap();
        assert_eq!((admin.uid(), admin.gid(), admin.mode() & 0o777), (NOBODY, NOBODY, 0o600));
        let admin = configured.path("admin.sock").display().to_string();
        // The sockets stay open over a reload, for they could not be opened again.
        let reloaded = run(["reload", "--socket", &admin]);
        assert_eq!(reloaded.code, 0, "{reloaded:?}");
        assert_eq!(serve.send(&[]).code, 0);
        assert!(run(["explain", "--socket", &admin]).stdout.lines().count() == 3);
        serve.signal("TERM");
        assert_eq!(serve.wait(), 0);
        // A user who may not remove it leaves it, and the next start takes it over.
        assert!(socket.exists());
    }
}

#[test]
fn who_is_not_root_stays_who_they_are() {
    if !is_root("start this as somebody else") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    let configured = Configured::new("user = \"root\"", &folder.path().join("milter.sock"));
    let program = folder.path().join("tamis");
    // By another process: one that a test beside this one starts could still have the copy open for writing.
    let copied =
        std::process::Command::new("cp").arg(tamis([]).get_program()).arg(&program).status().unwrap();
    assert!(copied.success());
    fs::set_permissions(configured.folder.path(), Permissions::from_mode(0o777)).unwrap();
    let mut command = std::process::Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(program)
        .args(configured.args());
    let serve = Serve::spawn(command);
    assert_eq!(numbers(&serve, "Uid:"), [NOBODY; 4]);
    serve.end();
}

#[test]
fn the_soft_limit_on_open_files_is_raised_as_far_as_the_connections_need() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tamis.toml");
    let socket = folder.path().join("milter.sock");
    let soft = |max_connections: u32| {
        let text = format!(
            "[[listener]]\nsocket = \"unix:{}\"\n[log]\nformat = \"json\"\n[admin]\nsocket = \"\"\n[limits]\nmax_connections = \
             {max_connections}\n",
            socket.display()
        );
        fs::write(&file, text).unwrap();
        let limit = ["sh", "-c", "ulimit -Sn 50 && ulimit -Hn 1000 && exec \"$0\" \"$@\""];
        let serve = Serve::spawn(through(limit, ["serve", "--config", file.to_str().unwrap()]));
        let limits = fs::read_to_string(format!("/proc/{}/limits", serve.pid())).unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap().to_owned();
        let soft: u32 = line.split_whitespace().next().unwrap().parse().unwrap();
        (soft, serve.end())
    };
    let (few, log) = soft(100);
    assert!((100..1000).contains(&few), "{few}");
    assert!(!log.iter().any(|line| line.contains("limit on open files")), "{log:#?}");
    let (many, log) = soft(5_000);
    assert_eq!(many, 1000);
    assert!(
        log.iter().any(|line| line.contains("connections be open, fewer than max_connections")),
        "{log:#?}"
    );
}

#[test]
fn a_user_that_is_not_there_is_a_mistake_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let configured = Configured::new("user = \"nobody-of-that-name\"", &folder.path().join("s"));
    let args = configured.args();
    let ran = run(args.iter().map(String::as_str));
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stderr.contains("tamis.toml:8:8: error: there is no user \"nobody-of-that-name\""),
        "{ran:?}"
    );
}
