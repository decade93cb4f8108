use super::*;

fn convert(whole: &[u8], piece: usize) -> (Vec<u8>, u64) {
    let mut lines = CrlfLines::default();
    let pieces = whole.chunks(piece).map(|piece| lines.convert(Bytes::copy_from_slice(piece)));
    let converted = pieces.collect::<Vec<_>>().concat();
    (converted, lines.converted())
}

#[test]
fn bare_line_feeds_are_mended_wherever_pieces_end() {
    let whole = b"\na\r\nb\n\n\r\n\r\rc\rd\r\n\n";
    for piece in 1..=whole.len() {
        let (converted, count) = convert(whole, piece);
        assert_eq!(converted, b"\r\na\r\nb\r\n\r\n\r\n\r\rc\rd\r\n\r\n", "pieces of {piece}");
        assert_eq!(count, 4);
    }
}

#[test]
fn what_is_right_is_not_copied() {
    let piece = Bytes::from(b"one\r\ntwo\r\n".to_vec());
    assert_eq!(CrlfLines::default().convert(piece.clone()).as_ptr(), piece.as_ptr());
}

#[test]
fn empty_piece_does_not_part_cr_from_lf() {
    let mut lines = CrlfLines::default();
    let pieces = ["a\r", "", "\n"].map(|piece| lines.convert(piece.into()));
    assert_eq!(pieces.concat(), b"a\r\n");
}
