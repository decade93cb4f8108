//! Sender and recipients.

use std::borrow::Cow;

use bytes::Bytes;

use super::message::{Path, arg_value, without_brackets};
use super::{Applied, Ignored, Profile};

pub(super) fn change_sender(
    profile: Profile,
    sender: &mut Path,
    address: &[u8],
    args: Option<&[u8]>,
) -> Applied {
    if address.is_empty() && profile == Profile::Sendmail {
        return Applied::Ignored(Ignored::Empty);
    }
    sender.address = Bytes::copy_from_slice(without_brackets(address));
    let Some(args) = args else { return Applied::Done };
    if profile == Profile::Sendmail {
        sender.args.clear(); // it resets all parameters before it reads the new ones
    }
    for arg in words(args) {
        let keyword = ["RET", "ENVID"].into_iter().find(|keyword| arg_value(arg, keyword).is_some());
        if let Some(keyword) = keyword {
            sender.args.retain(|old| arg_value(old, keyword).is_none());
        }
        // Postfix warns about any other one and goes on.
        if keyword.is_some() || profile == Profile::Sendmail {
            sender.args.push(Bytes::copy_from_slice(arg));
        }
    }
    Applied::Done
}

/// The recipients of a message.
#[derive(Clone, Debug)]
pub(super) struct Recipients {
    profile: Profile,
    paths: Vec<Path>,
    /// How many of the first came from the client.
    given: usize,
}

impl Recipients {
    pub(super) fn new(profile: Profile, paths: Vec<Path>) -> Self {
        Self { profile, given: paths.len(), paths }
    }

    pub(super) fn paths(&self) -> &[Path] {
        &self.paths
    }

    pub(super) fn into_paths(self) -> Vec<Path> {
        self.paths
    }

    pub(super) fn add(&mut self, address: &[u8], args: Option<&[u8]>) -> Applied {
        match (self.profile, args) {
            (Profile::Postfix, args) => {
                let args = words(args.unwrap_or_default()).filter(|arg| dsn_argument(arg));
                self.add_one(Path::with_args(address, args))
            }
            (Profile::Sendmail, Some(args)) => {
                if words(args).any(|arg| !dsn_argument(arg)) {
                    return Applied::Ignored(Ignored::BadArguments);
                }
                self.add_one(Path::with_args(address, words(args)))
            }
            (Profile::Sendmail, None) => {
                // A list of addresses; it counts as done if one of them was added.
                let mut applied = Applied::Ignored(Ignored::Empty);
                for address in address_list(address) {
                    let one = self.add_one(Path::new(address));
                    if applied != Applied::Done {
                        applied = one;
                    }
                }
                applied
            }
        }
    }

    pub(super) fn delete(&mut self, address: &[u8]) -> Applied {
        let address = comparable(self.profile, without_brackets(address));
        let goes = |path: &Path| comparable(self.profile, &path.address) == address;
        let given = self.paths[..self.given].iter().filter(|path| goes(path)).count();
        let before = self.paths.len();
        self.paths.retain(|path| comparable(self.profile, &path.address) != address);
        self.given -= given;
        if self.paths.len() == before { Applied::Ignored(Ignored::NotFound) } else { Applied::Done }
    }

    fn add_one(&mut self, new: Path) -> Applied {
        if new.address.is_empty() {
            return Applied::Ignored(Ignored::Empty);
        }
        if self.paths.iter().enumerate().any(|(at, old)| self.same(at < self.given, old, &new)) {
            return Applied::Ignored(Ignored::Duplicate);
        }
        self.paths.push(new);
        Applied::Done
    }

    /// Whether the MTA's filter of duplicates takes the two for one.
    fn same(&self, given: bool, old: &Path, new: &Path) -> bool {
        let (old_address, new_address) =
            (comparable(self.profile, &old.address), comparable(self.profile, &new.address));
        match self.profile {
            Profile::Sendmail => old_address == new_address,
            // It folds case, and keeps both where their delivery status parameters differ. An address that the
            // client gave has itself for ORCPT, so that one that is added without ORCPT comes on top of it.
            Profile::Postfix => {
                let usual = if given { [b"rfc822;", &*old.address].concat() } else { Vec::new() };
                let same = |keyword, usual: &[u8]| {
                    let old = old.arg(keyword).unwrap_or(usual);
                    old.eq_ignore_ascii_case(new.arg(keyword).unwrap_or_default())
                };
                old_address.eq_ignore_ascii_case(&new_address) && same("NOTIFY", b"") && same("ORCPT", &usual)
            }
        }
    }
}

/// The form in which addresses are compared: Postfix compares without quotes.
fn comparable(profile: Profile, address: &[u8]) -> Cow<'_, [u8]> {
    if profile == Profile::Sendmail || !address.contains(&b'"') {
        return Cow::Borrowed(address);
    }
    let mut out = Vec::with_capacity(address.len());
    let mut bytes = address.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {}
            b'\\' => out.extend(bytes.next()),
            _ => out.push(byte),
        }
    }
    Cow::Owned(out)
}

/// Splits as Sendmail does: at commas outside of quotes and brackets, or at spaces where there is nothing that
/// speaks for commas.
fn address_list(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let commas = list.iter().any(|byte| matches!(byte, b',' | b';' | b'<' | b'('));
    let separator = if commas { b',' } else { b' ' };
    let (mut quoted, mut escaped, mut depth) = (false, false, 0_u32);
    list.split(move |&byte| {
        if std::mem::take(&mut escaped) {
            return false;
        }
        match byte {
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'<' | b'(' if !quoted => depth = depth.saturating_add(1),
            b'>' | b')' if !quoted => depth = depth.saturating_sub(1),
            _ => return byte == separator && !quoted && depth == 0,
        }
        false
    })
    .map(<[u8]>::trim_ascii)
    .filter(|address| !address.is_empty())
}

fn words(args: &[u8]) -> impl Iterator<Item = &[u8]> {
    args.split(|byte| *byte == b' ').filter(|word| !word.is_empty())
}

/// Whether it is a recipient parameter that both MTAs understand.
fn dsn_argument(arg: &[u8]) -> bool {
    if let Some(notify) = arg_value(arg, "NOTIFY") {
        let known = |event: &[u8]| {
            ["SUCCESS", "FAILURE", "DELAY"].iter().any(|known| event.eq_ignore_ascii_case(known.as_bytes()))
        };
        return notify.eq_ignore_ascii_case(b"NEVER") || notify.split(|byte| *byte == b',').all(known);
    }
    // address-type ";" xtext
    let Some(orcpt) = arg_value(arg, "ORCPT") else { return false };
    memchr::memchr(b';', orcpt).is_some_and(|at| at > 0 && at + 1 < orcpt.len())
}
