//! Transfer encodings, character sets and encoded words.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::transfer::Encoding;
use super::super::words;
use super::*;

fn quoted(text: &str) -> Bytes {
    Encoding::QuotedPrintable.decode(Bytes::from(text.to_owned()))
}

fn base64(text: &str) -> Bytes {
    Encoding::Base64.decode(Bytes::from(text.to_owned()))
}

fn header(value: &str) -> String {
    mime(format!("Subject: {value}\r\n\r\n")).root().header("Subject").unwrap().text()
}

#[test]
fn quoted_printable_is_decoded() {
    assert_eq!(quoted("caf=C3=A9 =3d\r\nsoft=\r\nbreak= \t\nx"), "café =\r\nsoftbreakx");
    assert_eq!(quoted("end="), "end");
}

#[test]
fn white_space_at_line_ends_is_no_quoted_printable() {
    assert_eq!(quoted("a \t\r\nb  \nc "), "a\r\nb\nc");
    assert_eq!(quoted("a =20\r\n"), "a  \r\n");
}

#[test]
fn escapes_that_are_none_are_text() {
    assert_eq!(quoted("a=b == =4 =zz= x"), "a=b == =4 =zz= x");
}

#[test]
fn base64_passes_over_what_does_not_belong_there() {
    assert_eq!(base64("aGVs\r\nbG8="), "hello");
    assert_eq!(base64("aG*Vs-b\0G8"), "hello");
    assert_eq!(base64("aGVsbG8=aGVsbG8="), "hellohello");
    assert_eq!(base64("****"), "");
}

#[test]
fn text_is_decoded_from_its_character_set() {
    let text = |content_type: &str, body: &[u8]| {
        Mime::of_body([("Content-Type", content_type)], body.to_vec()).unwrap().root().text()
    };
    assert_eq!(text("text/plain; charset=iso-8859-1", b"caf\xe9").unwrap(), "café");
    assert_eq!(text("text/plain; charset=UTF-8", "café".as_bytes()).unwrap(), "café");
    assert_eq!(text("text/plain; charset=koi8-r", b"\xf0\xd2").unwrap(), "Пр");
    assert_eq!(text("text/html; charset=shift_jis", b"\x83n").unwrap(), "ハ");
    assert_eq!(text("text/plain; charset=nobody-knows", b"a\xff").unwrap(), "a\u{fffd}");
    assert_eq!(text("text/plain", b"a\xff").unwrap(), "a\u{fffd}");
    assert_eq!(text("image/png", b"a"), None);
}

#[test]
fn transfer_encoding_and_character_set_work_together() {
    let header = [
        ("Content-Type", "text/plain; charset=\"iso-8859-15\""),
        ("Content-Transfer-Encoding", "(really) Quoted-Printable"),
    ];
    assert_eq!(Mime::of_body(header, "5 =A4").unwrap().root().text().unwrap(), "5 €");
}

#[test]
fn what_is_not_encoded_is_not_copied() {
    let body = Bytes::from_static(b"--b\r\n\r\ntext\r\n--b--");
    let mime = Mime::of_body([("Content-Type", "multipart/mixed; boundary=b")], body.clone()).unwrap();
    let text = mime.root().children().next().unwrap().decoded();
    assert_eq!(text, "text");
    assert_eq!(text.as_ptr(), body[7..].as_ptr());
}

#[test]
fn encoded_words_are_decoded() {
    assert_eq!(header("=?utf-8?Q?caf=C3=A9_x?= y"), "café x y");
    assert_eq!(header("=?iso-8859-1*en?b?Y2Fm6Q==?="), "café");
    assert_eq!(header("plain"), "plain");
    assert_eq!(header("a =?utf-8?Q?b?= c"), "a b c");
}

#[test]
fn white_space_between_encoded_words_is_not_shown() {
    assert_eq!(header("=?utf-8?Q?a?= =?utf-8?Q?b?=\r\n\t=?iso-8859-1?Q?=E9?= c"), "abé c");
    assert_eq!(header("=?utf-8?Q?a?= x =?utf-8?Q?b?="), "a x b");
}

#[test]
fn a_character_cut_in_two_by_encoded_words_is_whole() {
    assert_eq!(header("=?utf-8?Q?caf=C3?= =?UTF-8?B?qQ==?="), "café");
}

#[test]
fn what_only_looks_like_an_encoded_word_is_text() {
    for text in
        ["=?", "=??Q?a?=", "=?utf-8?X?a?=", "=?utf-8?Q?a", "=?utf 8?Q?a?=", "a =? b ?= c", "=?utf-8?Q"]
    {
        assert_eq!(header(text), text);
    }
    assert_eq!(header("=?x =?utf-8?Q?a?="), "=?x a");
}

#[test]
fn header_text_is_unfolded() {
    assert_eq!(header("a\r\n b\n\tc"), "a b\tc");
}

const CHARSETS: &[&str] = &[
    "utf-8",
    "us-ascii",
    "utf-7",
    "utf-16",
    "utf-16le",
    "utf-16be",
    "iso-8859-1",
    "iso-8859-6",
    "iso-2022-jp",
    "iso-2022-kr",
    "shift_jis",
    "euc-jp",
    "euc-kr",
    "big5",
    "gbk",
    "gb18030",
    "hz-gb-2312",
    "x-user-defined",
    "windows-1252",
    "koi8-u",
    "ibm866",
    "macintosh",
    "tis-620",
    "x-mac-cyrillic",
    "",
    "a-very-long-name-of-nothing-\
     that-is-longer-than-any-name-of-a-character-set",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_text_in_any_character_set(text in vec(any::<u8>(), 0..40), label in select(CHARSETS)) {
        words::charset(&text, label.as_bytes());
    }

    #[test]
    fn what_is_encoded_is_decoded_to_the_same(
        text in prop_oneof![vec(any::<u8>(), 0..200), vec(select(b"-\r\n =a\t".to_vec()), 0..200)],
    ) {
        for encoding in [Encoding::Base64, Encoding::QuotedPrintable] {
            let encoded = encoding.encode(&text);
            prop_assert!(encoded.split(|byte| *byte == b'\n').all(|line| !line.starts_with(b"-")));
            prop_assert!(encoded.split(|byte| *byte == b'\n').all(|line| line.len() < 100));
            prop_assert_eq!(encoding.decode(encoded.into()), &text);
        }
    }

    #[test]
    fn any_bytes_can_be_decoded(text in vec(select(b"=?utf-8QB_%*;'\"(\\)\r\n \tA\0\xe9-0".to_vec()), 0..80)) {
        words::decode(&text);
        Encoding::Base64.decode(text.clone().into());
        Encoding::QuotedPrintable.decode(text.clone().into());
        let fields = [("Content-Type", text.clone()), ("Content-Disposition", text)];
        let mime = Mime::of_body(fields, "").unwrap();
        let names = mime.root().file_names();
        prop_assert!(names.iter().all(|name| !name.is_empty()));
        mime.root().has_extension(&["exe"]);
        mime.root().content_type().param("boundary");
    }

    #[test]
    fn quoted_printable_agrees_with_mail_parser(
        text in vec(select(vec!["=41", "=c3=a9", "=\r\n", "=3D", "a", " b", ".", "x\r\n"]), 0..20),
    ) {
        let text = text.concat() + "x";
        let theirs = mail_parser::decoders::quoted_printable::quoted_printable_decode(text.as_bytes());
        prop_assert_eq!(quoted(&text), theirs.unwrap());
    }
}
