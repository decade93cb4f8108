use super::*;

fn body_after(profile: Profile, pieces: &[&'static str]) -> Vec<u8> {
    let mut model = model(profile, "");
    for piece in pieces {
        model.apply(&body(piece)).unwrap();
    }
    model.finish().body.to_vec()
}

#[test]
fn body_pieces_are_one_text() {
    for profile in BOTH {
        assert_eq!(body_after(profile, &[]), b"body\r\n");
        assert_eq!(body_after(profile, &[""]), b"");
        assert_eq!(body_after(profile, &["a\r", "\nb\n"]), b"a\r\nb\r\n");
        assert_eq!(body_after(profile, &["a\r", "", "\nb", "\n", "\n"]), b"a\r\nb\r\n\r\n");
        assert_eq!(body_after(profile, &["a\r\r\nb\rc\r\n"]), b"a\r\r\nb\rc\r\n");
    }
}

#[test]
fn an_unterminated_last_line_is_ended_when_the_message_leaves() {
    for profile in BOTH {
        assert_eq!(body_after(profile, &["a"]), b"a\r\n");
        assert_eq!(body_after(profile, &["a\r"]), b"a\r\r\n");
    }
}

#[test]
fn the_next_filter_sees_an_unterminated_last_line_in_sendmail_only() {
    for (profile, seen) in [(Postfix, &b"a\r\n"[..]), (Sendmail, b"a")] {
        let mut model = model(profile, "");
        model.apply(&body("a")).unwrap();
        model.next_filter(false);
        assert_eq!(model.body().to_vec(), seen);
        assert_eq!(model.finish().body.to_vec(), b"a\r\n");
    }
}

#[test]
fn postfix_wants_body_pieces_together() {
    let pause: [fn(&mut Model); 3] = [
        |model| assert!(model.apply(&add("X", "")).is_ok()),
        |model| assert!(model.apply(&not_to("nobody")).is_ok()),
        Model::progress,
    ];
    for pause in pause {
        for profile in BOTH {
            let mut model = model(profile, "");
            pause(&mut model);
            model.apply(&body("a\r\n")).unwrap();
            pause(&mut model);
            let second = model.apply(&body("b\r\n"));
            match profile {
                Postfix => assert_eq!(second, Err(Refused::ScatteredBody)),
                Sendmail => assert_eq!(model.finish().body.to_vec(), b"a\r\nb\r\n"),
            }
        }
    }
}

#[test]
fn the_next_filter_may_replace_the_body_again() {
    for profile in BOTH {
        let mut model = model(profile, "");
        model.apply(&body("first\r\n")).unwrap();
        model.apply(&add("X", "")).unwrap();
        model.next_filter(false);
        assert_eq!(model.body().to_vec(), b"first\r\n");
        model.apply(&body("second\r\n")).unwrap();
        assert_eq!(model.finish().body.to_vec(), b"second\r\n");
    }
}
