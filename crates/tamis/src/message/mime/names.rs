//! File names of parts, as suspicious people have to read them.

use std::collections::HashSet;

use super::field::Fields;
use super::param::Value;

/// Every name that a mail program could make of the fields of a part, the one that most show first.
pub(super) fn file_names(fields: Fields<'_>) -> Vec<String> {
    let (mut names, mut others) = (Vec::new(), Vec::new());
    for field in fields {
        if field.is("Content-Disposition") {
            let value = Value::parse(field.raw());
            names.extend(value.readings("filename"));
            others.extend(value.readings("name"));
        } else if field.is("Content-Type") {
            let value = Value::parse(field.raw());
            others.extend(value.readings("name"));
            others.extend(value.readings("filename"));
        }
    }
    names.append(&mut others);
    let mut seen = HashSet::new();
    names.retain(|name| !name.is_empty() && seen.insert(name.clone()));
    names
}

/// Returns the extension that a system would go by, in lower case: what is behind the last dot of the last part of
/// a path, when everything is gone that is not shown, or taken away when the file is saved.
///
/// ```
/// use tamis::message::mime::extension;
///
/// assert_eq!(extension("invoice.pdf.EXE"), Some("exe".into()));
/// assert_eq!(extension("invoice.exe. . "), Some("exe".into()));
/// assert_eq!(extension("invoice.exe::$DATA"), Some("exe".into()));
/// assert_eq!(extension("invoice\u{202e}fdp.e\u{200b}xe"), Some("exe".into()));
/// assert_eq!(extension("README"), None);
/// ```
pub fn extension(name: &str) -> Option<String> {
    extensions(name).into_iter().next()
}

/// The extensions of what is between the colons of a name: a colon is behind a drive, or before the name of a stream
/// in a file, or it is replaced where the file is saved.
pub(super) fn extensions(name: &str) -> Vec<String> {
    let name: String = name.chars().filter(|char| !is_invisible(*char)).collect();
    let name = name.rsplit(['/', '\\']).find(|part| !part.trim().is_empty()).unwrap_or_default();
    name.split(':').filter_map(last_extension).collect()
}

fn last_extension(name: &str) -> Option<String> {
    let is_taken_away = |char: char| char.is_whitespace() || ".\"'?=".contains(char);
    // The full stops of other scripts are dots for some systems.
    let (_, extension) = name.trim_end_matches(is_taken_away).rsplit_once(['.', '\u{ff0e}', '\u{3002}'])?;
    let extension = extension.trim();
    (!extension.is_empty()).then(|| extension.to_lowercase())
}

/// Control characters, and those that only change how others are shown.
fn is_invisible(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}
