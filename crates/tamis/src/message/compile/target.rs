//! [`Target`]: which MTA the edits are for.

use std::fmt;
use std::str::FromStr;

use tamis_proto::edit::model::Profile;

/// Fields that Sendmail's usual configuration has a template for. All of them stand below its own `Received` in its
/// list of fields, where they count for insertions, filled or not; a field of the name that is added fills them.
pub(super) const SENDMAIL_TEMPLATES: [&str; 7] =
    ["Resent-Date", "Date", "Resent-From", "From", "Full-Name", "Resent-Message-Id", "Message-Id"];

/// Names of which Sendmail never fills a template; its own fields have one of them.
const TRACE: [&str; 4] = ["Received", "X400-Received", "Via", "Mail-From"];

/// The MTA that edits are made for. They differ in how they count and place header fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Target {
    /// Postfix.
    Postfix,
    /// Sendmail with the header templates of its usual configuration.
    Sendmail,
    /// One that nobody knows: only what Postfix and Sendmail do alike.
    #[default]
    Portable,
}

impl Target {
    /// Guesses the MTA from the value of its macro `v`, which has to be asked for at connect, and from whether it
    /// sends macros before each header field.
    ///
    /// Postfix says `Postfix 3.7.11`, unless its administrator gave it another name; it is the only one to send
    /// macros before header fields. Sendmail says `8.17.1`.
    ///
    /// # Examples
    ///
    /// ```
    /// use tamis::message::compile::Target;
    ///
    /// assert_eq!(Target::guess(Some(b"Postfix 3.7.11"), false), Target::Postfix);
    /// assert_eq!(Target::guess(Some(b"8.17.1.9"), false), Target::Sendmail);
    /// assert_eq!(Target::guess(None, false), Target::Portable);
    /// ```
    pub fn guess(version: Option<&[u8]>, macros_before_headers: bool) -> Self {
        match version {
            Some([b'8', b'.', b'0'..=b'9', ..]) => Self::Sendmail,
            Some(text) if text == b"Postfix" || text.starts_with(b"Postfix ") => Self::Postfix,
            _ if macros_before_headers => Self::Postfix,
            _ => Self::Portable,
        }
    }

    /// The MTAs that have to agree on what an edit does.
    pub fn profiles(self) -> &'static [Profile] {
        match self {
            Self::Postfix => &[Profile::Postfix],
            Self::Sendmail => &[Profile::Sendmail],
            Self::Portable => &[Profile::Postfix, Profile::Sendmail],
        }
    }

    /// Where the first field that filters are shown stands among all fields, if that is known.
    pub(super) fn hidden_fields(self) -> Option<usize> {
        match self {
            Self::Postfix => Some(1),
            Self::Sendmail => Some(1 + SENDMAIL_TEMPLATES.len()),
            Self::Portable => None,
        }
    }

    /// Whether a field of a name that the message does not have is sure to be added at the end: Sendmail adds it
    /// beside a field or a template that it has itself.
    pub(super) fn adds_at_end(self, name: &[u8]) -> bool {
        let is = |known: &&str| name.eq_ignore_ascii_case(known.as_bytes());
        self == Self::Postfix || !(TRACE.iter().any(is) || SENDMAIL_TEMPLATES.iter().any(is))
    }
}

/// Writes the name in lower case.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Postfix => "postfix",
            Self::Sendmail => "sendmail",
            Self::Portable => "portable",
        })
    }
}

/// A name that is no [`Target`]'s.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("MTA {0:?} is none of postfix, sendmail, portable")]
pub struct UnknownTarget(String);

impl FromStr for Target {
    type Err = UnknownTarget;

    fn from_str(name: &str) -> Result<Self, UnknownTarget> {
        [Self::Postfix, Self::Sendmail, Self::Portable]
            .into_iter()
            .find(|target| target.to_string().eq_ignore_ascii_case(name))
            .ok_or_else(|| UnknownTarget(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mta_is_told_by_its_version_or_by_macros_before_headers() {
        for (version, macros, target) in [
            (Some("Postfix 3.7.11"), true, Target::Postfix),
            (Some("Postfix"), false, Target::Postfix),
            (Some("8.17.1.9"), false, Target::Sendmail),
            (Some("8.15.2"), true, Target::Sendmail),
            (Some("Example Mail 3.7"), true, Target::Postfix),
            (Some("Example Mail 3.7"), false, Target::Portable),
            (Some("8."), false, Target::Portable),
            (Some("80.1"), false, Target::Portable),
            (Some("Postfixed"), false, Target::Portable),
            (Some(""), false, Target::Portable),
            (None, true, Target::Postfix),
            (None, false, Target::Portable),
        ] {
            assert_eq!(Target::guess(version.map(str::as_bytes), macros), target, "{version:?} {macros}");
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for target in [Target::Postfix, Target::Sendmail, Target::Portable] {
            assert_eq!(target.to_string().parse(), Ok(target));
        }
        assert_eq!("Postfix".parse(), Ok(Target::Postfix));
        let unknown = "exim".parse::<Target>().unwrap_err();
        assert_eq!(unknown.to_string(), "MTA \"exim\" is none of postfix, sendmail, portable");
    }
}
