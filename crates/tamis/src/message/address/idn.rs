//! Domains between A-labels and U-labels.

use std::borrow::Cow;

/// The domain with A-labels. One that is ASCII is not looked at.
pub(super) fn to_ascii(domain: &str) -> Option<Cow<'_, str>> {
    if domain.is_ascii() { Some(Cow::Borrowed(domain)) } else { convert::to_ascii(domain) }
}

/// The domain with U-labels. One that is ASCII and has no A-label is not looked at.
pub(super) fn to_unicode(domain: &str) -> Option<Cow<'_, str>> {
    let is_plain = domain.is_ascii() && !domain.split('.').any(|label| label.starts_with("xn--"));
    if is_plain { Some(Cow::Borrowed(domain)) } else { convert::to_unicode(domain) }
}

#[cfg(feature = "idn")]
mod convert {
    use std::borrow::Cow;

    use idna::AsciiDenyList;
    use idna::uts46::{DnsLength, Hyphens, Uts46};

    /// More bytes of UTF-8 are in no domain: DNS has 253, of which each stands for a character of four at most.
    const MAX_LEN: usize = 4 * 253;

    pub(super) fn to_ascii(domain: &str) -> Option<Cow<'_, str>> {
        let bytes = Some(domain.as_bytes()).filter(|bytes| bytes.len() <= MAX_LEN)?;
        // Otherwise full-width forms of `@` and `/` would become these.
        Uts46::new().to_ascii(bytes, AsciiDenyList::URL, Hyphens::Allow, DnsLength::Verify).ok()
    }

    pub(super) fn to_unicode(domain: &str) -> Option<Cow<'_, str>> {
        // What has no form in DNS is no domain, however it looks.
        to_ascii(domain)?;
        let (unicode, result) =
            Uts46::new().to_unicode(domain.as_bytes(), AsciiDenyList::URL, Hyphens::Allow);
        result.ok().map(|()| unicode)
    }
}

#[cfg(not(feature = "idn"))]
mod convert {
    use std::borrow::Cow;

    pub(super) const fn to_ascii(_: &str) -> Option<Cow<'_, str>> {
        None
    }

    pub(super) const fn to_unicode(_: &str) -> Option<Cow<'_, str>> {
        None
    }
}
