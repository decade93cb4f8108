//! Lists, as conditions and filters look things up in them.
//!
//! In a configuration a list is an array of strings, or a single one:
//!
//! ```toml
//! client = ["192.0.2.0/24", "2001:db8::/32", "file:friends"]
//! sender_domain = ".example.com"
//! ```
//!
//! What a string means depends on what is looked up:
//!
//! | list of | entries |
//! | --- | --- |
//! | [networks](Networks) | `192.0.2.1`, `192.0.2.0/24`, `2001:db8::/32`, `192.0.2.10-192.0.2.20` |
//! | [domains](Domains) | `example.com` is that name alone, `.example.com` also everything below, `*.example.com` only what is below |
//! | [addresses](Addresses) | `joe@example.com`, `joe@` at any domain, `example.com` and `.example.com` as domains, `<>` the null sender |
//! | [words](Words) | the word itself, whatever its case |
//!
//! Domains, addresses and words can have the wildcards `*` for any characters and `?` for one, and can be regular
//! expressions between slashes: `/^mail[0-9]+\./`. Nothing here depends on case.
//!
//! `file:NAME` takes the lines of a file: one entry in each, blank lines and what follows a `#` are nothing. The file
//! is read again when it changes; see [`Watched`]. In lists of networks, domains and addresses, `remembered:NAME` is what the
//! filter [`remember`](crate::remember) has in a file; see [`Expiring`].
//!
//! Large lists are fast: networks are sorted ranges, domains and addresses are looked up by hash, patterns are one
//! automaton.

mod addresses;
mod domains;
mod dynamic;
mod entries;
mod expiring;
mod file;
mod networks;
mod patterns;
#[cfg(test)]
mod tests;

pub use addresses::Addresses;
pub(crate) use addresses::key_of;
pub use domains::Domains;
pub(crate) use domains::{canonical, name_of, parents};
pub use dynamic::looks_dynamic;
pub use entries::{Entries, List};
pub use expiring::Expiring;
pub(crate) use expiring::{MOST as MOST_REMEMBERED, is_key};
pub use file::{FileErrors, Lines, ReadLines, Refreshed, Watched};
pub use networks::Networks;
pub(crate) use networks::{network, prefix};
pub use patterns::{Patterns, Words};
pub(crate) use patterns::{Sources, glob, lower, regex};
