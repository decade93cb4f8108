//! Finding frames in bytes that come in pieces.

/// Bytes before the payload: length and letter.
const HEAD: usize = 5;

/// Tells of each frame its letter, the length of its payload, and as much of the start of that as `keep` allows, which
/// is `MOST` at most. A frame that is not whole is left out.
pub(super) fn frames<'b, const MOST: usize>(
    chunks: impl IntoIterator<Item = &'b [u8]>,
    keep: impl Fn(u8) -> usize,
    mut tell: impl FnMut(u8, u32, &[u8]),
) {
    let mut head = [0; HEAD];
    let mut have = 0;
    let mut kept = [0; MOST];
    let mut count = 0;
    // Of the payload, from the head on.
    let mut left = 0;
    for mut chunk in chunks {
        loop {
            if have < HEAD {
                let part = chunk.len().min(HEAD - have);
                head[have..have + part].copy_from_slice(&chunk[..part]);
                (have, chunk) = (have + part, &chunk[part..]);
                if have < HEAD {
                    break;
                }
                left = length(head).saturating_sub(1) as usize;
                count = 0;
            }
            let limit = keep(head[4]).min(MOST);
            let part = chunk.len().min(left);
            if count == 0 && part == left {
                // All of it is here, as nearly always.
                tell(head[4], length(head).saturating_sub(1), &chunk[..part.min(limit)]);
            } else {
                let more = part.min(limit.saturating_sub(count));
                kept[count..count + more].copy_from_slice(&chunk[..more]);
                count += more;
                if part < left {
                    left -= part;
                    break;
                }
                tell(head[4], length(head).saturating_sub(1), &kept[..count]);
            }
            chunk = &chunk[part..];
            have = 0;
            left = 0;
        }
    }
}

fn length(head: [u8; HEAD]) -> u32 {
    let [a, b, c, d, _] = head;
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(chunks: &[&[u8]]) -> Vec<(u8, u32, Vec<u8>)> {
        let mut all = Vec::new();
        let keep = |code| if code == b'B' { 2 } else { 8 };
        frames::<8>(chunks.iter().copied(), keep, |code, length, kept| {
            all.push((code, length, kept.to_vec()));
        });
        all
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let wire = b"\0\0\0\x01A\0\0\0\x04Babc\0\0\0\x0bHabcdefghij\0\0\0\x01N\0\0\0\x02Lx\0\0\0\x05Bcut";
        let expected =
            [(b'A', 0, &b""[..]), (b'B', 3, b"ab"), (b'H', 10, b"abcdefgh"), (b'N', 0, b""), (b'L', 1, b"x")]
                .map(|(code, length, kept)| (code, length, kept.to_vec()));
        assert_eq!(scanned(&[wire]), expected);
        for a in 0..=wire.len() {
            for b in a..=wire.len() {
                assert_eq!(scanned(&[&wire[..a], &wire[a..b], &wire[b..]]), expected, "{a} {b}");
            }
        }
        let bytes: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(scanned(&bytes), expected);
    }

    #[test]
    fn what_cannot_be_a_frame_ends_nothing_worse_than_the_scan() {
        assert_eq!(scanned(&[b"\0\0\0\0A"]), [(b'A', 0, Vec::new())]);
        assert_eq!(scanned(&[b"\xff\xff\xff\xffAxyz"]), []);
        assert_eq!(scanned(&[]), []);
    }
}
