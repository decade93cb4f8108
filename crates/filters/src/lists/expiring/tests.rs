use std::fs;

use super::*;

const DAY: Duration = Duration::from_hours(24);

fn begun() -> (tempfile::TempDir, PathBuf, Arc<Expiring>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("remembered");
    let list = Expiring::open(&path).unwrap();
    (folder, path, list)
}

#[test]
fn what_is_remembered_is_forgotten_in_time() {
    let (_folder, _, list) = begun();
    let now = now();
    list.add_at(now, "joe@example.com", DAY);
    assert!(list.contains_at(now + 86_399, "joe@example.com"));
    assert!(!list.contains_at(now + 86_400, "joe@example.com"));
    assert!(!list.contains_at(now, "bob@example.com"));
    list.add_at(now + 10, "joe@example.com", DAY / 2);
    assert!(list.contains_at(now + 86_399, "joe@example.com"), "never for a shorter time");
    list.add_at(now + 10, "joe@example.com", DAY);
    assert!(list.contains_at(now + 86_409, "joe@example.com"));
    list.add_at(now + 200_000, "bob@example.com", DAY);
    assert_eq!(list.lock().table.until.len(), 1, "what is over takes no memory");
}

#[test]
fn only_what_is_known_can_be_touched() {
    let (_folder, _, list) = begun();
    assert!(!list.touch("joe@example.com", DAY) && list.is_empty());
    list.add("joe@example.com", DAY);
    assert!(list.touch("joe@example.com", DAY) && list.len() == 1);
    list.remove("joe@example.com");
    assert!(!list.contains("joe@example.com"));
}

#[test]
fn it_is_still_known_after_a_restart() {
    let (_folder, path, list) = begun();
    list.add("joe@example.com", DAY);
    drop(list);
    let list = Expiring::open(&path).unwrap();
    assert!(list.contains("joe@example.com"));
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.lines().count() == 2 && text.ends_with(" joe@example.com\n"), "{text}");
}

#[test]
fn a_file_is_open_once_in_a_program() {
    let (_folder, path, list) = begun();
    let again = Expiring::open(&path).unwrap();
    list.add("joe@example.com", DAY);
    assert!(Arc::ptr_eq(&list, &again) && again.contains("joe@example.com"));
}

#[test]
fn what_others_write_into_the_file_is_believed() {
    let (_folder, path, list) = begun();
    list.add("joe@example.com", DAY);
    list.add("bob@example.com", DAY);
    list.sync().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let others: Vec<&str> = text.lines().filter(|line| !line.contains("bob@")).collect();
    fs::write(
        &path,
        format!(
            "{}
{} eve@example.com
",
            others.join(
                "
"
            ),
            now() + 1_000
        ),
    )
    .unwrap();
    list.add("new@example.com", DAY);
    list.sync().unwrap();
    for (address, known) in [
        ("joe@example.com", true),
        ("bob@example.com", false),
        ("eve@example.com", true),
        ("new@example.com", true),
    ] {
        assert_eq!(list.contains(address), known, "{address}");
    }
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 4);
}

#[test]
fn what_would_be_forgotten_first_makes_room() {
    let (_folder, _, list) = begun();
    list.limit(2);
    for (address, days) in [("b@x.example", 2), ("a@x.example", 1), ("c@x.example", 3)] {
        list.add(address, DAY * days);
    }
    assert!(list.contains("b@x.example") && list.contains("c@x.example") && !list.contains("a@x.example"));
    list.limit(1);
    assert!(list.contains("c@x.example") && list.len() == 1);
}

#[test]
fn a_file_that_cannot_be_written_loses_nothing() {
    let (folder, path, list) = begun();
    list.add("joe@example.com", DAY);
    fs::remove_dir(folder.path()).unwrap();
    assert!(list.sync().is_err());
    fs::create_dir(folder.path()).unwrap();
    list.sync().unwrap();
    assert!(fs::read_to_string(&path).unwrap().contains("joe@example.com"));
}

#[test]
fn a_file_that_is_none_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("remembered");
    fs::write(&path, "# fine\n99999999999 joe@example.com\njoe@example.com\n").unwrap();
    let errors = Expiring::open(&path).unwrap_err();
    assert!(errors.to_string().starts_with(&format!("{}:3: ", path.display())), "{errors}");
}

#[test]
fn who_looks_something_up_does_not_write_the_file_where_there_is_a_runtime() {
    let (_folder, path, list) = begun();
    list.add("joe@example.com", DAY);
    list.due.store(0, Ordering::Relaxed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let busy = list.file.lock().unwrap();
    assert!(runtime.block_on(async { list.contains("joe@example.com") }), "it did not wait for the file");
    drop(busy);
    // Ends when what was begun beside it is done.
    drop(runtime);
    assert!(path.exists());
}
