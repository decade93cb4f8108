//! [`Build`]: where a configuration that can be read says what is wrong in it all the same.

use std::fmt::{self, Display};
use std::path::{self, PathBuf};

/// A step into a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// A field of a table.
    Name(String),
    /// A place in an array, from 0.
    Index(usize),
}

/// Where something stands in a configuration: `rules[2].value`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(Vec<Key>);

/// How bad a remark is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Legal, and probably not what is meant.
    Warning,
    /// It cannot be run.
    Mistake,
}

/// Something about a place in a configuration that its administrator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Whether it can be run nevertheless.
    pub weight: Weight,
    /// The place.
    pub path: Path,
    /// What is wrong, and what to write instead.
    pub text: String,
}

/// A configuration on its way to a filter: collects remarks, with the place that each is about.
#[derive(Debug, Default)]
pub struct Build {
    folder: PathBuf,
    at: Vec<Key>,
    remarks: Vec<Remark>,
}

impl Build {
    /// Begins one whose relative paths are in a folder: the configuration file's.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), ..Self::default() }
    }

    /// A file that the configuration names.
    pub fn file(&self, name: impl AsRef<path::Path>) -> PathBuf {
        self.folder.join(name)
    }

    /// Goes on with what stands under a key; all that is remarked there is about that place.
    pub fn within<T>(&mut self, key: impl Into<Key>, work: impl FnOnce(&mut Self) -> T) -> T {
        self.at.push(key.into());
        let done = work(self);
        self.at.pop();
        done
    }

    /// Says that the place where it is cannot be run as it stands.
    pub fn mistake(&mut self, text: impl Display) {
        self.remark(Weight::Mistake, text);
    }

    /// Says that what stands there is legal, and probably not what is meant.
    pub fn warning(&mut self, text: impl Display) {
        self.remark(Weight::Warning, text);
    }

    fn remark(&mut self, weight: Weight, text: impl Display) {
        let path = Path(self.at.clone());
        self.remarks.push(Remark { weight, path, text: text.to_string() });
    }

    /// What a fallible step made, or nothing and a mistake.
    pub fn ok<T, E: Display>(&mut self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.mistake(error)).ok()
    }

    /// Whether nothing was found that cannot be run.
    pub fn is_sound(&self) -> bool {
        self.remarks.iter().all(|remark| remark.weight == Weight::Warning)
    }

    /// All that was remarked, in the order in which it was found.
    pub fn into_remarks(self) -> Vec<Remark> {
        self.remarks
    }
}

impl Path {
    /// The steps from the top.
    pub fn keys(&self) -> &[Key] {
        &self.0
    }
}

impl FromIterator<Key> for Path {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        Self(keys.into_iter().collect())
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, key) in self.0.iter().enumerate() {
            match key {
                Key::Name(name) if place == 0 => f.write_str(name)?,
                Key::Name(name) => write!(f, ".{name}")?,
                Key::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl From<&str> for Key {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<String> for Key {
    fn from(name: String) -> Self {
        Self::Name(name)
    }
}

impl From<usize> for Key {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remark_says_where_it_belongs() {
        let mut build = Build::new("/etc/tamis");
        build.within("filter", |build| {
            build.within(1, |build| {
                build.within("rules", |build| build.within(0, |build| build.mistake("no such place")));
                build.warning("a filter without effect");
            });
        });
        assert!(!build.is_sound());
        let remarks = build.into_remarks();
        let said: Vec<_> = remarks.iter().map(|remark| format!("{}: {}", remark.path, remark.text)).collect();
        assert_eq!(said, ["filter[1].rules[0]: no such place", "filter[1]: a filter without effect"]);
    }

    #[test]
    fn files_are_in_the_folder_of_the_configuration_unless_their_path_is_absolute() {
        let build = Build::new("/etc/tamis");
        assert_eq!(build.file("friends"), PathBuf::from("/etc/tamis/friends"));
        assert_eq!(build.file("/var/lib/friends"), PathBuf::from("/var/lib/friends"));
    }
}
