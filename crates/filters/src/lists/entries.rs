//! [`Entries`]: a list as a configuration has it; [`List`]: what is made of it.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tamis::message::Address;

use super::addresses::{Addresses, key_of};
use super::domains::{Domains, canonical};
use super::expiring::Expiring;
use super::file::{FileErrors, Lines, ReadLines, Watched};
use super::networks::Networks;
use crate::config::Build;

/// A list as a configuration has it: an array of strings, or one string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    texts: Vec<String>,
    /// It is not an array, so that its entry has no index.
    single: bool,
}

/// A list that is ready to be looked at: entries of the configuration, and files that are read again when they change.
#[derive(Debug)]
pub struct List<T> {
    inline: T,
    files: Vec<Arc<Watched<T>>>,
    remembered: Vec<Arc<Expiring>>,
}

impl Entries {
    /// The entries as they are written.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Goes through the entries, each at its place.
    pub(crate) fn each(&self, build: &mut Build, mut work: impl FnMut(&mut Build, &str)) {
        for (index, text) in self.texts.iter().enumerate() {
            if self.single {
                work(build, text);
            } else {
                build.within(index, |build| work(build, text));
            }
        }
    }
}

impl<T: ReadLines> List<T> {
    /// Makes it of what a configuration has. Reads the files.
    pub fn build(entries: &Entries, build: &mut Build) -> Option<Self> {
        let (mut lines, mut files, mut remembered) = (Lines::<T>::default(), Vec::new(), Vec::new());
        let mut sound = true;
        if entries.texts.is_empty() {
            build.warning("the list is empty: nothing is in it");
        }
        entries.each(build, |build, text| {
            let (file, known) = (text.strip_prefix("file:"), text.strip_prefix("remembered:"));
            let taken = match (file, known.filter(|_| T::REMEMBERED)) {
                (Some(name), _) => {
                    Watched::open(build.file(name.trim())).map(|file| files.push(Arc::new(file)))
                }
                (None, Some(name)) => {
                    Expiring::open(build.file(name.trim())).map(|known| remembered.push(known))
                }
                (None, None) => lines.add(text.trim()).map_err(FileErrors::from),
            };
            if let Err(errors) = taken {
                sound = false;
                for error in errors.iter() {
                    build.mistake(error);
                }
            }
        });
        let inline = build.ok(lines.finish())?;
        sound.then_some(Self { inline, files, remembered })
    }

    /// Whether some of it is in files, where more may come to be.
    pub(crate) fn has_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// What is found first: in the configuration itself, then in the files in their order.
    pub fn find<R>(&self, mut look: impl FnMut(&T) -> Option<R>) -> Option<R> {
        look(&self.inline).or_else(|| self.files.iter().find_map(|file| look(&file.current())))
    }

    /// Whether it is found anywhere.
    pub fn any(&self, mut look: impl FnMut(&T) -> bool) -> bool {
        self.find(|part| look(part).then_some(())).is_some()
    }
}

impl List<Networks> {
    /// Whether the address is in the list.
    pub fn contains(&self, address: IpAddr) -> bool {
        let key = || address.to_canonical().to_string();
        self.any(|networks| networks.contains(address)) || self.remembers(|| Some(key()))
    }
}

impl List<Domains> {
    /// Whether the name is in the list.
    pub fn contains(&self, name: &str) -> bool {
        let key = || canonical(name).map(Cow::into_owned);
        self.any(|domains| domains.contains(name)) || self.remembers(key)
    }
}

impl List<Addresses> {
    /// Whether the address is in the list.
    pub fn contains(&self, address: &Address) -> bool {
        self.any(|addresses| addresses.contains(address)) || self.remembers(|| key_of(address))
    }
}

impl<T> List<T> {
    fn remembers(&self, key: impl Fn() -> Option<String>) -> bool {
        !self.remembered.is_empty()
            && key().is_some_and(|key| self.remembered.iter().any(|known| known.contains(&key)))
    }
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;

        impl<'de> Visitor<'de> for Texts {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list, such as [\"one\", \"another\", \"file:more\"], or a single string")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Entries, E> {
                Ok(Entries { texts: vec![text.to_owned()], single: true })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Entries, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = array.next_element()? {
                    texts.push(text);
                }
                Ok(Entries { texts, single: false })
            }
        }

        deserializer.deserialize_any(Texts)
    }
}

impl JsonSchema for Entries {
    fn schema_name() -> Cow<'static, str> {
        "List".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A list: an array of strings, or a single one. `file:NAME` takes the lines of a file, which is read again when it changes.",
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
        })
    }
}

impl<const N: usize> From<[&str; N]> for Entries {
    fn from(texts: [&str; N]) -> Self {
        Self { texts: texts.map(str::to_owned).to_vec(), single: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remarks(build: Build) -> Vec<String> {
        build.into_remarks().iter().map(|remark| format!("{}: {}", remark.path, remark.text)).collect()
    }

    #[test]
    fn lists_are_arrays_or_single_strings() {
        #[derive(Deserialize)]
        struct Table {
            list: Entries,
        }
        let read = |text| toml::from_str::<Table>(text).map(|table| table.list.texts);
        assert_eq!(read("list = ['a', 'b']").unwrap(), ["a", "b"]);
        assert_eq!(read("list = 'a'").unwrap(), ["a"]);
        let error = read("list = 7").unwrap_err().to_string();
        assert!(error.contains("expected a list, such as"), "{error}");
    }

    #[test]
    fn every_bad_entry_is_told_with_its_place() {
        let mut build = Build::new("/nowhere");
        let entries = Entries::from(["192.0.2.0/24", "192.0.2.0/33", "friends", "file:none"]);
        assert!(build.within("client", |build| List::<Networks>::build(&entries, build)).is_none());
        let remarks = remarks(build);
        assert_eq!(remarks.len(), 3, "{remarks:?}");
        assert!(remarks[0].starts_with("client[1]: ") && remarks[1].starts_with("client[2]: "));
        assert!(remarks[2].starts_with("client[3]: /nowhere/none: "), "{remarks:?}");
    }

    #[test]
    fn files_of_a_list_are_in_the_folder_of_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("more"), "# ours\n\nexample.org  # and nothing below\n").unwrap();
        let mut build = Build::new(folder.path());
        let list = List::<Domains>::build(&Entries::from(["example.com", "file:more"]), &mut build).unwrap();
        for (name, listed) in [("example.com", true), ("Example.ORG", true), ("example.net", false)] {
            assert_eq!(list.any(|domains| domains.contains(name)), listed, "{name}");
        }
    }

    #[test]
    fn mistakes_in_a_file_are_told_with_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("bad"), "192.0.2.1\n\n192.0.2.999\n# fine\n192.0.2.1/24\n")
            .unwrap();
        let mut build = Build::new(folder.path());
        assert!(List::<Networks>::build(&Entries::from(["file:bad"]), &mut build).is_none());
        let file = folder.path().join("bad");
        let remarks = remarks(build);
        assert!(remarks[0].starts_with(&format!("[0]: {}:3: ", file.display())), "{remarks:?}");
        assert!(remarks[1].starts_with(&format!("[0]: {}:5: ", file.display())), "{remarks:?}");
    }
}
