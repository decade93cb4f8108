use super::*;

#[test]
fn parse_is_tolerant() {
    let message = Message::parse(b"A: 1\nB :\n\tc\r\n d\nno field\nrest");
    assert_eq!(message.headers, [Field::new("A", " 1"), Field::new("B", "\n\tc\n d")]);
    assert_eq!(message.body.to_vec(), b"no field\r\nrest");
    assert_eq!(Message::parse(b""), Message::default());
    assert_eq!(Message::parse(b"\r\nbody").body.to_vec(), b"body");
    assert_eq!(Message::parse(b" folded\n").body.to_vec(), b" folded\r\n");
    assert_eq!(Message::parse(b": x\n").body.to_vec(), b": x\r\n");
    assert_eq!(Message::parse(b"A: 1").to_bytes(), b"A: 1\r\n\r\n");
}

#[test]
fn bodies_are_compared_by_content() {
    let cut: Body = ["a", "", "bc"].map(Bytes::from).into_iter().collect();
    assert_eq!(cut, Body::from(b"abc".to_vec()));
    assert_ne!(cut, Body::from(b"abd".to_vec()));
    assert_eq!((cut.len(), cut.chunks().len()), (3, 2));
}
