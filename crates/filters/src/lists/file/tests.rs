use std::fs;

use super::*;
use crate::lists::Words;

fn has(file: &Arc<Watched<Words>>, word: &str) -> bool {
    file.current().contains(word)
}

fn begun(text: &str) -> (tempfile::TempDir, PathBuf, Arc<Watched<Words>>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words");
    fs::write(&path, text).unwrap();
    let file = Arc::new(Watched::open(&path).unwrap());
    (folder, path, file)
}

#[test]
fn a_changed_file_is_read_again_and_an_unchanged_one_is_not() {
    let (_folder, path, file) = begun("one\n");
    assert!(matches!(file.refresh(), Refreshed::Same));
    // As editors do it: another file under the name.
    let new = path.with_extension("new");
    fs::write(&new, "two\n").unwrap();
    fs::rename(&new, &path).unwrap();
    assert!(matches!(file.refresh(), Refreshed::Loaded));
    assert!(has(&file, "two") && !has(&file, "one"));
    assert!(matches!(file.refresh(), Refreshed::Same));
}

#[test]
fn a_broken_version_keeps_the_one_before_and_is_told_once() {
    let (_folder, path, file) = begun("one\n");
    fs::write(&path, "two\n/(/\n").unwrap();
    let Refreshed::Broken(errors) = file.refresh() else { panic!("it was read") };
    assert!(errors.to_string().starts_with(&format!("{}:2: ", path.display())), "{errors}");
    assert!(has(&file, "one") && !has(&file, "two"));
    assert!(matches!(file.refresh(), Refreshed::Same), "it is told once");
    fs::remove_file(&path).unwrap();
    assert!(matches!(file.refresh(), Refreshed::Broken(_)), "that is another mistake");
    assert!(matches!(file.refresh(), Refreshed::Same));
    fs::write(&path, "three\n").unwrap();
    assert!(matches!(file.refresh(), Refreshed::Loaded));
    assert!(has(&file, "three"));
}

#[test]
fn a_file_that_was_written_twice_at_the_same_time_is_read_twice() {
    let (_folder, path, file) = begun("one\n");
    fs::write(&path, "two\n").unwrap();
    // As if the clock had stood still.
    file.seen.lock().unwrap().stamp = fs::metadata(&path).ok().as_ref().map(Stamp::of);
    assert!(matches!(file.refresh(), Refreshed::Loaded));
    assert!(has(&file, "two"));
}

#[test]
fn looking_things_up_is_enough_to_notice_a_change() {
    let (_folder, path, file) = begun("one\n");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        fs::write(&path, "two\n").unwrap();
        while !has(&file, "two") {
            tokio::task::yield_now().await;
        }
    });
    assert!(!has(&file, "one"));
}

#[test]
fn a_lookup_never_reads_the_file_itself_where_there_is_a_runtime() {
    let (_folder, path, file) = begun("one\n");
    fs::write(&path, "two\n").unwrap();
    file.due.store(0, Ordering::Relaxed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // What is there already holds its lock, so that whoever is told to look cannot have read it.
    let looking = file.seen.lock().unwrap();
    assert!(runtime.block_on(async { has(&file, "one") }));
    drop(looking);
}

#[test]
fn comments_and_blank_lines_are_no_entries() {
    for (line, entry) in [
        ("", None),
        ("  \t\r", None),
        ("# all", None),
        ("  # all", None),
        (" one ", Some("one")),
        ("one # why", Some("one")),
        ("one\t#why", Some("one")),
        ("one#two", Some("one#two")),
        ("/a #b/", Some("/a #b/")),
    ] {
        assert_eq!(entry_of(line, true), entry, "{line:?}");
    }
    assert_eq!(entry_of("key REJECT ticket #5 #6", false), Some("key REJECT ticket #5 #6"));
}

#[test]
fn of_many_mistakes_ten_are_told() {
    let errors = Lines::<Words>::parse(&"words", "/(/\n".repeat(25).as_bytes()).unwrap_err();
    let errors: Vec<_> = errors.iter().collect();
    assert_eq!(errors.len(), 11);
    assert!(errors[9].starts_with("words:10: "));
    assert_eq!(errors[10], "words: and 15 more lines with mistakes");
}

#[test]
fn lines_that_are_not_utf8_are_mistakes() {
    let errors = Lines::<Words>::parse(&"words", b"one\nj\xf6rg\n").unwrap_err();
    assert_eq!(errors.to_string(), "words:2: the line is not UTF-8");
}
