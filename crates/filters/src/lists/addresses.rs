//! [`Addresses`]: lists of mail addresses.

use std::collections::{HashMap, HashSet};

use tamis::message::Address;

use super::domains::{Domains, canonical, name_of};
use super::expiring::is_key;
use super::file::ReadLines;
use super::patterns::{Patterns, Sources, lower};

/// A list of addresses: `joe@example.com`; `joe@` at any domain; `example.com`, `.example.com` and `*.example.com` for
/// whole [domains](Domains), with or without an `@` before; `<>` for the null sender.
///
/// Case does not matter, in the local part neither: it may to the MTA that delivers, and never does to whoever writes
/// a list. Quotes do not matter: `"joe"@example.com` is `joe@example.com`.
#[derive(Debug, Default)]
pub struct Addresses {
    null: bool,
    /// Local parts by domain.
    mailboxes: HashMap<Box<str>, HashSet<Box<str>>>,
    /// Local parts at any domain.
    users: HashSet<Box<str>>,
    domains: Domains,
    patterns: Patterns,
}

impl Addresses {
    /// Whether the address is in the list.
    pub fn contains(&self, address: &Address) -> bool {
        if address.is_null() {
            return self.null || self.patterns.matches(b"");
        }
        self.has_mailbox(address)
            || address.domain().is_some_and(|domain| self.domains.contains(domain))
            || self.patterns.matches(address.mailbox())
    }

    fn has_mailbox(&self, address: &Address) -> bool {
        if self.mailboxes.is_empty() && self.users.is_empty() {
            return false;
        }
        let Ok(local) = address.local_part().to_str() else { return false };
        let local = lower(local);
        let domain = address.domain().and_then(canonical);
        self.users.contains(&*local)
            || domain
                .and_then(|domain| self.mailboxes.get(&*domain))
                .is_some_and(|users| users.contains(&*local))
    }
}

/// An [`Addresses`] that is not finished.
#[derive(Debug, Default)]
pub struct Draft {
    list: Addresses,
    domains: <Domains as ReadLines>::Draft,
    sources: Sources,
}

/// An address as it is remembered: without quotes, in lower case, with A-labels. None for the null sender, and for what
/// is none.
pub(crate) fn key_of(address: &Address) -> Option<String> {
    let local = lower(address.local_part().to_str().ok()?);
    let domain = address.domain().and_then(canonical)?;
    Some(format!("{local}@{domain}")).filter(|key| !local.is_empty() && is_key(key))
}

impl ReadLines for Addresses {
    type Draft = Draft;
    const REMEMBERED: bool = true;

    fn add(draft: &mut Draft, entry: &str) -> Result<(), String> {
        if entry == "<>" {
            draft.list.null = true;
            return Ok(());
        }
        let entry = entry.strip_prefix('<').and_then(|entry| entry.strip_suffix('>')).unwrap_or(entry);
        if entry.starts_with('/') {
            return draft.sources.take(entry).map(|_| ());
        }
        let Some((local, domain)) = entry.rsplit_once('@') else {
            let hint = "write joe@example.com, joe@, example.com, .example.com, <> or /regex/";
            return Domains::add(&mut draft.domains, entry)
                .map_err(|_| format!("{entry:?} is no address and no domain: {hint}"));
        };
        if local.is_empty() {
            return Domains::add(&mut draft.domains, domain);
        }
        if draft.sources.take(entry)? {
            return Ok(());
        }
        let address = Address::parse(entry.to_owned());
        let local = lower(address.local_part().to_str().unwrap_or(local)).into();
        if domain.is_empty() {
            draft.list.users.insert(local);
        } else {
            draft.list.mailboxes.entry(name_of(domain, entry)?).or_default().insert(local);
        }
        Ok(())
    }

    fn finish(Draft { list, domains, sources }: Draft) -> Result<Self, String> {
        Ok(Self { domains: Domains::finish(domains)?, patterns: sources.finish()?, ..list })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lists::Lines;

    fn check(entry: &str, inside: &[&'static str], outside: &[&'static str]) {
        let mut lines = Lines::<Addresses>::default();
        lines.add(entry).unwrap();
        let list = lines.finish().unwrap();
        for address in inside {
            assert!(list.contains(&Address::parse(*address)), "{address} is in {entry}");
        }
        for address in outside {
            assert!(!list.contains(&Address::parse(*address)), "{address} is not in {entry}");
        }
    }

    #[test]
    fn mailboxes_are_found_however_they_are_written() {
        for entry in ["joe@example.com", "<Joe@EXAMPLE.com>", "\"joe\"@example.com"] {
            check(
                entry,
                &[
                    "<joe@example.com>",
                    "JOE@Example.Com",
                    "<@relay.example:joe@example.com.>",
                    "<\"joe\"@example.com>",
                ],
                &["<joe@example.org>", "<joey@example.com>", "<joe>", "<>", "<joe@a.example.com>"],
            );
        }
        check("\"joe doe\"@example.com", &["<\"Joe Doe\"@example.com>"], &["<joe@example.com>"]);
    }

    #[test]
    fn the_null_sender_has_an_entry_of_its_own() {
        check("<>", &["<>", ""], &["<joe@example.com>", "<postmaster>"]);
        check("/^$/", &["<>"], &["<joe@example.com>"]);
    }

    #[test]
    fn a_user_can_be_one_of_any_domain() {
        check("postmaster@", &["<Postmaster>", "<postmaster@example.com>"], &["<joe@example.com>", "<>"]);
    }

    #[test]
    fn domains_are_entries_too() {
        for entry in ["example.com", "@example.com"] {
            check(entry, &["<joe@example.com>"], &["<joe@a.example.com>", "<example.com>", "<>"]);
        }
        for entry in [".example.com", "@.example.com"] {
            check(entry, &["<joe@example.com>", "<joe@a.example.com>"], &["<joe@example.org>"]);
        }
    }

    #[test]
    fn patterns_are_about_the_whole_address() {
        check(
            "bounce-*@example.com",
            &["<Bounce-7@example.com>"],
            &["<bounce@example.com>", "<x-bounce-7@example.com>"],
        );
        check("/^[0-9]+@/", &["<123@example.com>"], &["<a123@example.com>"]);
    }

    #[test]
    fn what_is_no_address_is_told_with_what_to_write() {
        for (entry, said) in [
            ("two words", "is no address and no domain: write joe@example.com"),
            ("joe@two words", "is no domain"),
            ("joe@a..b", "is no domain"),
            ("", "is no address"),
        ] {
            let error = Lines::<Addresses>::default().add(entry).unwrap_err();
            assert!(error.contains(said), "{entry}: {error}");
        }
    }
}
