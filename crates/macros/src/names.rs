//! What a wrong name may have been meant to be.

use proc_macro2::Ident;
use syn::{Error, Result};

/// Finds a name among those there are.
pub(crate) fn find<T>(name: &Ident, what: &str, known: &[T], name_of: impl Fn(&T) -> &str) -> Result<usize> {
    let written = name.to_string();
    let names: Vec<_> = known.iter().map(name_of).collect();
    names.iter().position(|known| *known == written).ok_or_else(|| {
        let instead = match nearest(&written, &names) {
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

/// The known name that is as good as the written one but for a slip or two.
pub(crate) fn nearest<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    let written = written.to_lowercase();
    let distance = |name: &str| strsim::damerau_levenshtein(&written, name);
    let near = known.iter().copied().min_by_key(|name| distance(name))?;
    (distance(near) <= 1 + written.len() / 4).then_some(near)
}
