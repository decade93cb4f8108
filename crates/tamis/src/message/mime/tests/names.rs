//! File names, and what else is in parameters.

use super::*;

fn names(header: &str) -> Vec<String> {
    mime(format!("{header}\r\n\r\n")).root().file_names()
}

/// The names in a `Content-Disposition`.
fn filenames(params: &str) -> Vec<String> {
    names(&format!("Content-Disposition: attachment; {params}"))
}

#[track_caller]
fn is_exe(params: &str) {
    let mime = mime(format!("Content-Disposition: attachment; {params}\r\n\r\n"));
    assert!(mime.root().has_extension(&["exe"]), "{:?}", mime.root().file_names());
}

#[test]
fn plain_names_are_tokens_or_quoted() {
    assert_eq!(filenames("filename=a.txt"), ["a.txt"]);
    assert_eq!(filenames("FileName = \"a b.txt\" ; size=3"), ["a b.txt"]);
    assert_eq!(filenames("filename=\"a\\\"b;c.txt\"; x=y"), ["a\"b;c.txt", "a\\\"b;c.txt", "a\\b;c.txt"]);
    assert_eq!(filenames("size=3"), [""; 0]);
}

#[test]
fn both_fields_have_names() {
    let header = "Content-Type: image/png; name=a.png\r\nContent-Disposition: inline; filename=b.exe";
    assert_eq!(names(header), ["b.exe", "a.png"]);
    assert_eq!(mime(format!("{header}\r\n\r\n")).root().file_name().unwrap(), "b.exe");
}

#[test]
fn repeated_fields_and_parameters_are_all_read() {
    let header =
        "Content-Disposition: inline; filename=a; filename=b\r\nContent-Disposition: inline; filename=c";
    assert_eq!(names(header), ["a", "b", "c"]);
}

#[test]
fn rfc_2231_names_have_character_sets() {
    assert_eq!(filenames("filename*=utf-8'de'Gr%C3%BC%C3%9Fe.txt"), ["Grüße.txt"]);
    assert_eq!(filenames("filename*=ISO-8859-1''Gr%FC%DFe.txt"), ["Grüße.txt"]);
    assert_eq!(filenames("filename*=''a%2etxt"), ["a.txt"]);
    assert_eq!(filenames("filename*=a%2Etxt"), ["a.txt"]);
    assert_eq!(filenames("filename*=utf-8''100%.txt"), ["100%.txt"]);
}

#[test]
fn rfc_2231_names_come_in_pieces() {
    assert_eq!(filenames("filename*0=inv; filename*1=oice.; filename*2=exe"), ["invoice.exe"]);
    // In any order; some with escapes, and a character cut in two.
    assert_eq!(filenames("filename*1*=%BCn.txt; filename*0*=utf-8''gr%C3"), ["grün.txt"]);
    assert_eq!(
        filenames("filename*0*=iso-8859-1''gr%FC; filename*1*=%DF; filename*2=\"%2e.txt\""),
        ["grüß%2e.txt"]
    );
}

#[test]
fn pieces_behind_a_missing_one_are_a_name_too() {
    assert_eq!(filenames("filename*0=a.txt; filename*2=.exe"), ["a.txt", "a.txt.exe"]);
    assert_eq!(filenames("filename*1=a.exe"), ["a.exe"]);
}

#[test]
fn the_extended_name_comes_before_the_plain_one() {
    assert_eq!(filenames("filename=plain.txt; filename*=utf-8''ext.exe"), ["ext.exe", "plain.txt"]);
}

#[test]
fn encoded_words_in_names_are_decoded() {
    assert_eq!(filenames("filename=\"=?utf-8?Q?inv=6Fice=2Eexe?=\"")[0], "invoice.exe");
    assert_eq!(filenames("filename==?utf-8?B?aW52b2ljZS5leGU=?=")[0], "invoice.exe");
    is_exe("filename=\"=?utf-8?q?a.e?=\r\n =?utf-8?q?xe?=\"");
    is_exe("filename*0=\"=?utf-8?B?aW52b2lj\"; filename*1=\"ZS5leGU=?=\"");
}

#[test]
fn broken_names_are_read_in_every_way() {
    is_exe("filename=\"a.txt; filename=b.exe");
    is_exe("x=\"; filename=b.exe");
    is_exe("filename=\"a.txt\".exe");
    is_exe("filename=a b.exe");
    is_exe("filename=a.exe b");
    is_exe("filename=a.exe(comment)");
    is_exe("filename=(comment)a.exe");
    is_exe("filename=a(1).exe");
    is_exe("filename=\"a.ex\\e\"");
    is_exe("filename=\"a.exe\0.txt\"");
    is_exe("filename='a.exe'");
    is_exe("filename=\"a.exe");
    is_exe("filename=a.exe\"");
    is_exe("x; filename=a.exe");
    is_exe("x filename=a.exe");
    is_exe(";; ;filename=a.exe;");
    is_exe("filename (c) =a.exe");
    is_exe("filename\r\n =\r\n a.exe");
    is_exe("filename*0=a.; filename*00=b.; filename*01*=exe");
    is_exe("filename*x=a.exe");
    is_exe("filename*=\"utf-8''a%2eexe\"");
    is_exe("filename=\"caf\u{e9}.exe\"");
}

#[test]
fn a_semicolon_may_be_missing_before_the_first_parameter() {
    assert_eq!(names("Content-Disposition: attachment filename=a.exe"), ["a.exe"]);
    assert_eq!(names("Content-Type: application/octet-stream name=a.exe"), ["a.exe"]);
}

#[test]
fn names_in_charsets_that_hide_them_are_decoded() {
    is_exe("filename*=utf-7''a+AC4-exe");
    is_exe("filename*=utf-16be''%00a%00.%00e%00x%00e");
}

#[test]
fn extensions_are_what_a_system_goes_by() {
    for name in [
        "a.exe",
        "a.txt.exe",
        "A.EXE",
        "a.exe.",
        "a.exe . ",
        "a.exe\t",
        "c:\\temp\\a.exe",
        "../a.exe",
        "a.exe/",
        "a.exe:stream.txt",
        "a.exe::$DATA",
        "10:30 a.exe",
        "a.e\u{ad}xe",
        "a\u{ff0e}exe",
        "a. exe",
        "\"a.exe\"",
    ] {
        assert!(super::super::names::extensions(name).contains(&"exe".to_owned()), "{name:?}");
    }
    for (name, expected) in [("a.txt", Some("txt")), ("exe", None), (".", None), ("", None), ("a.", None)] {
        assert_eq!(extension(name).as_deref(), expected, "{name:?}");
    }
    assert_eq!(extension(".exe").unwrap(), "exe");
    assert_eq!(extension("a.tar.gz").unwrap(), "gz");
}

#[test]
fn names_in_nested_and_encoded_messages_are_found() {
    let inner = "Content-Disposition: attachment; filename=a.exe\r\n\r\nMZ";
    let encoded = String::from_utf8(transfer::Encoding::Base64.encode(inner.as_bytes())).unwrap();
    for part in [
        format!("Content-Type: message/rfc822\r\n\r\n{inner}"),
        format!("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n{encoded}"),
    ] {
        let message = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{part}\r\n--b--\r\n");
        assert!(mime(message).parts().any(|part| part.has_extension(&["exe"])));
    }
}

#[test]
fn types_and_dispositions_have_parameters() {
    let mime = mime(
        "Content-Type: Text/HTML (x) ; Charset=\"UTF-8\" (y); x*=iso-8859-1'en'%E9\r\n\
         Content-Disposition: INLINE; size=3\r\n\r\n",
    );
    let content_type = mime.root().content_type();
    assert_eq!((content_type.main_type(), content_type.subtype()), ("text", "html"));
    assert_eq!(content_type.param("charset").unwrap(), "UTF-8");
    assert_eq!(content_type.param("x").unwrap(), "é");
    assert_eq!(content_type.param("y"), None);
    let disposition = mime.root().disposition().unwrap();
    assert_eq!((disposition.kind(), disposition.is_attachment()), ("inline", false));
    assert_eq!(disposition.param("size").unwrap(), "3");
}

#[test]
fn a_winmail_attachment_is_a_part_like_any_other() {
    let mime = mime(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: application/ms-tnef; name=\"winmail.dat\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\neJ8+IgA=\r\n--b--\r\n",
    );
    let part = mime.root().children().next().unwrap();
    assert_eq!(part.content_type().essence(), "application/ms-tnef");
    assert_eq!(part.file_name().unwrap(), "winmail.dat");
    assert_eq!(part.decoded(), &b"\x78\x9f\x3e\x22\x00"[..]);
    assert_eq!(part.text(), None);
}
