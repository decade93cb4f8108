//! How parameters write bytes that SMTP has no place for.

/// Decodes `xtext` of RFC 3461: `+2B` is `+`. None where `+` is not followed by two hexadecimal digits.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        if *byte == b'+' {
            let (digits, behind) = behind.split_at_checked(2)?;
            rest = behind;
            decoded.push(u8::try_from(hexadecimal(digits)?).ok()?);
        } else {
            decoded.push(*byte);
        }
    }
    Some(decoded)
}

/// Decodes `utf-8-addr-xtext` of RFC 6533: `\x{FC}` is `ü`. None where that stands for no character.
pub(super) fn decode_unicode(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        if *byte == b'\\' {
            let behind = behind.strip_prefix(b"x{")?;
            let end = behind.iter().take(7).position(|byte| *byte == b'}')?;
            let char = char::from_u32(hexadecimal(&behind[..end])?)?;
            decoded.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            rest = &behind[end + 1..];
        } else {
            decoded.push(*byte);
        }
    }
    Some(decoded)
}

/// A number of up to eight digits.
fn hexadecimal(digits: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok()?;
    // The standard library would take a sign.
    text.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xtext_is_decoded_or_refused() {
        assert_eq!(decode(b"a+2Bb+3d+FF").unwrap(), b"a+b=\xff");
        assert_eq!(decode(b"").unwrap(), b"");
        for bad in ["+", "a+2", "+G0", "++22", "+-1"] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn characters_by_number_are_decoded_or_refused() {
        assert_eq!(
            decode_unicode(r"j\x{F6}rg\x{2B}\x{1F4e7}@b\x{fc}cher".as_bytes()).unwrap(),
            "jörg+📧@bücher".as_bytes()
        );
        assert_eq!(decode_unicode("jörg+x".as_bytes()).unwrap(), "jörg+x".as_bytes());
        for bad in [
            r"\",
            r"\x",
            r"\x{",
            r"\x{}",
            r"\x{D800}",
            r"\x{110000}",
            r"\x{0000041}",
            r"\x{+41}",
            r"\x41",
            r"\n",
        ] {
            assert_eq!(decode_unicode(bad.as_bytes()), None, "{bad}");
        }
    }
}
