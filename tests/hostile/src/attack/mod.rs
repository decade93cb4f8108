//! The attacks, by class: what is thrown, and what must happen.

mod bulk;
mod crowds;
mod endings;
mod endless;
mod frames;
mod mutations;
mod orders;
mod payloads;
mod slow;
mod valid;

use std::fmt::{self, Write as _};

use anyhow::Result;

use crate::target::Target;

/// An attack. Its numbers are checked against what it does, and are those in `docs/hostile.md`.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    /// For the command line.
    pub name: &'static str,
    /// What is thrown.
    pub throws: &'static str,
    /// How many connections it makes.
    pub connections: u64,
    /// How many bytes it sends.
    pub bytes: Bytes,
    /// What must happen, besides what must happen after each attack.
    pub must: &'static str,
    /// The server it needs.
    pub server: Server,
    /// Does it, and insists on what must happen.
    pub run: fn(&Target) -> Result<()>,
}

/// How much an attack sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bytes {
    /// The same in each run.
    Exactly(u64),
    /// It depends on when the server has enough.
    AtLeast(u64),
}

/// The server that an attack needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// Any: the one that all these attacks are thrown at, one after the other.
    Shared,
    /// One of its own, as it waits for a limit in time.
    Own,
    /// One of its own with limits in time that are soon over.
    Short,
    /// One of its own with these options.
    With(&'static [&'static str]),
}

/// All there are, in the order in which they run.
pub fn all() -> Vec<Attack> {
    let rooms: [&[Attack]; 10] = [
        frames::ALL,
        payloads::ALL,
        orders::ALL,
        valid::ALL,
        bulk::ALL,
        endless::ALL,
        endings::ALL,
        slow::ALL,
        crowds::ALL,
        mutations::ALL,
    ];
    rooms.concat()
}

/// The attacks as a table in Markdown, as it stands in `docs/hostile.md`.
pub fn table() -> String {
    let mut table = String::from(
        "| attack | what is thrown | connections | bytes | what must happen |\n| --- | --- | ---: | ---: | --- |\n",
    );
    for Attack { name, throws, connections, bytes, must, .. } in all() {
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| `{name}` | {throws} | {} | {bytes} | {must} |", Grouped(connections));
    }
    table
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(bytes) => Grouped(*bytes).fmt(f),
            Self::AtLeast(bytes) => write!(f, "≥ {}", Grouped(*bytes)),
        }
    }
}

/// Shows a number with commas.
pub struct Grouped(pub u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.char_indices() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_str(",")?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_fit_a_command_line() {
        let mut names: Vec<_> = all().iter().map(|attack| attack.name).collect();
        assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn the_documentation_has_every_attack_with_its_numbers() {
        let page = include_str!("../../../../docs/hostile.md");
        let hint = "docs/hostile.md differs: put in it what `tamis-hostile --table` prints";
        assert!(page.contains(&table()), "{hint}\n{}", table());
    }

    #[test]
    fn numbers_are_grouped() {
        let shown: Vec<_> =
            [0, 999, 1_000, 12_345_678].iter().map(|number| Grouped(*number).to_string()).collect();
        assert_eq!(shown, ["0", "999", "1,000", "12,345,678"]);
    }
}
