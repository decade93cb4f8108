//! What a wrong name may have been meant to be.

use proc_macro2::Ident;
use syn::{Error, Result};

/// What other libraries call a thing, and what it is called here.
pub(crate) type Elsewhere = [(&'static str, &'static str)];

/// Finds a name among those there are.
pub(crate) fn find<T>(name: &Ident, what: &str, known: &[T], name_of: impl Fn(&T) -> &str) -> Result<usize> {
    find_or_translate(name, what, known, name_of, &[])
}

/// As [`find`], for what people know from other libraries.
pub(crate) fn find_or_translate<T>(
    name: &Ident,
    what: &str,
    known: &[T],
    name_of: impl Fn(&T) -> &str,
    elsewhere: &Elsewhere,
) -> Result<usize> {
    let written = name.to_string();
    let names: Vec<_> = known.iter().map(name_of).collect();
    names.iter().position(|known| *known == written).ok_or_else(|| {
        let instead = match translate(&written, elsewhere).or_else(|| nearest(&written, &names)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", list(&names)),
        };
        Error::new(name.span(), format!("`{written}` is not {what}; {instead}"))
    })
}

/// Names as they stand in a sentence.
pub(crate) fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn translate(written: &str, elsewhere: &Elsewhere) -> Option<&'static str> {
    elsewhere.iter().find(|(other, _)| *other == bare(written)).map(|(_, name)| *name)
}

/// The known name that is as good as the written one but for a slip or two.
fn nearest<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    let written = bare(written).to_lowercase();
    let distance = |name: &str| strsim::damerau_levenshtein(&written, name);
    let near = known.iter().copied().min_by_key(|name| distance(name))?;
    (distance(near) <= 1 + written.len() / 4).then_some(near)
}

/// A name without what other libraries put before it.
fn bare(written: &str) -> &str {
    ["on_", "xxfi_"].iter().find_map(|prefix| written.strip_prefix(prefix)).unwrap_or(written)
}
