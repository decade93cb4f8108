//! Every fixture of `malformed/`: one defect each, whole, byte by byte and cut at every position, with the same
//! outcome. A test is named as its file; the list at the end is checked against the folder.

mod common;
mod replay;

use std::collections::BTreeSet;
use std::time::Duration;

use common::fixture::{Expect, Fixture, Role, Side, Step, What, fixture};
use replay::{Described, Ended, Feed, Op, Player, Scenario, show};
use tamis_proto::{
    Actions, Error, Fault, Limits, MtaConfig, Offer, Profile, Role as Peer, Rules, Steps, Timeouts,
};

/// The word of the files for an error.
fn kind(error: &Error) -> &'static str {
    let negotiating = error.code == Some(b'O');
    match error.fault {
        Fault::EmptyFrame => "frame-empty",
        Fault::FrameTooLong { .. } => "frame-too-long",
        Fault::UnknownCode if error.peer == Peer::Mta => "unknown-command",
        Fault::UnknownCode => "unknown-reply",
        Fault::MissingPayload | Fault::Truncated if negotiating => "short-negotiation",
        Fault::MissingPayload => "missing-payload",
        Fault::UnexpectedPayload => "unexpected-payload",
        Fault::Truncated => "truncated",
        Fault::Unterminated => "unterminated",
        Fault::MissingString => "missing-string",
        Fault::TrailingBytes => "trailing-bytes",
        Fault::EmptyName => "empty-name",
        Fault::BadFamily(_) => "bad-family",
        Fault::BadAddress | Fault::PathTooLong => "bad-address",
        Fault::BadMacroList => "bad-macro-list",
        Fault::BadVersion(_) => "bad-version",
        Fault::ExcessActions(_) => "excess-actions",
        Fault::ExcessSteps(_) => "excess-steps",
        Fault::OutOfOrder if negotiating && error.peer == Peer::Mta => "second-negotiation",
        Fault::OutOfOrder => "out-of-order",
        Fault::Unsolicited => "unsolicited",
        Fault::BadReply => "bad-reply-text",
        Fault::NotNegotiated => "not-negotiated",
        Fault::ScatteredBody => "mixed-body",
        Fault::BodyTooLong { .. }
        | Fault::TooManyHeaders { .. }
        | Fault::HeadersTooLong { .. }
        | Fault::TooManyRecipients { .. }
        | Fault::ArgumentTooLong { .. }
        | Fault::MacrosTooLong { .. } => "too-large",
        Fault::TimedOut => "timeout",
        Fault::EndInFrame => "eof-in-frame",
        Fault::EndTooEarly => "closed",
        // A new fault needs a word and a fixture.
        other => panic!("no word for {other:?}"),
    }
}

fn check(name: &str) {
    let fixture = fixture(name).unwrap_or_else(|mistake| panic!("{mistake}"));
    for strict in fixture.strict.map_or(vec![true, false], |strict| vec![strict]) {
        match fixture.role {
            Role::Filter => check_filter(&fixture, strict),
            Role::Mta => check_mta(&fixture, strict),
        }
    }
}

fn check_filter(fixture: &Fixture, strict: bool) {
    let rules = if strict { Rules::tamis().strict() } else { Rules::tamis() };
    let mut scenario = Scenario::agreeing(&fixture.name, rules, limits(fixture), fixture.agreed)
        .frames(&fixture.prefix())
        .steps(&fixture.steps);
    if fixture.expect == Expect::Waiting {
        scenario = scenario.incomplete();
    }
    for feed in Feed::all(scenario.length()) {
        let ended = scenario.play(feed);
        let good = match (&fixture.expect, &ended) {
            (Expect::Error(word), Ended::With(error)) => kind(error) == word,
            (Expect::Error(word), Ended::Stalled) => word == "timeout",
            (Expect::Tolerated, Ended::Quietly { rest }) => *rest == 0,
            (Expect::Waiting, Ended::Quietly { rest }) => *rest > 0,
            _ => false,
        };
        assert!(good, "{}, {feed:?}: {ended:?} instead of {:?}", fixture.name, fixture.expect);
    }
}

fn check_mta(fixture: &Fixture, strict: bool) {
    let profiles = match fixture.profile.as_deref() {
        Some("postfix") => vec![Profile::Postfix],
        Some(_) => vec![Profile::Sendmail],
        None => vec![Profile::Postfix, Profile::Sendmail],
    };
    let ops = Op::of(&fixture.steps);
    let length = ops.iter().map(|op| if let Op::Receive(bytes) = op { bytes.len() } else { 0 }).sum();
    for profile in profiles {
        for feed in Feed::all(length) {
            // The cuts are those of the fixture's own bytes.
            let mut player = Player::new(config(fixture, profile, strict), Feed::Whole);
            if let Err(error) = player.play(&Op::of(&fixture.prefix())) {
                panic!("{}: {error} on the way", fixture.name);
            }
            player.begin(feed);
            let outcome = player.play(&ops);
            let place = format!("{}, {profile:?}, strict {strict}, {feed:?}", fixture.name);
            check_outcome(fixture, &player, &outcome, &place);
        }
    }
}

fn check_outcome(fixture: &Fixture, player: &Player, outcome: &Result<(), Error>, place: &str) {
    let (mut word, mut edits) = (None, Vec::new());
    match &fixture.expect {
        Expect::Error(kind) => word = Some(kind.as_str()),
        Expect::Refused(edit) => edits.push(edit.clone()),
        Expect::Tolerated => {}
        Expect::Waiting => panic!("{place}: nothing to wait for"),
    }
    assert_eq!(outcome.as_ref().err().map(kind), word, "{place}: {outcome:?}");
    assert_eq!(player.session.is_closed(), word.is_some(), "{place}");
    let expected = events(&fixture.steps);
    let shown = |events: &[Described]| events.iter().map(show).collect::<Vec<_>>();
    assert_eq!(
        player.events,
        expected,
        "{place}: {:?} instead of {:?}",
        shown(&player.events),
        shown(&expected)
    );
    assert_eq!(player.refused, edits, "{place}");
    let stands_in = |step: &Step| {
        matches!(&step.what,
        What::Bytes { from: Side::Filter, bytes } if bytes.get(4) == Some(&b'y'))
    };
    let mended = fixture.steps.iter().any(stands_in)
        && expected.iter().any(|(name, _)| name == "reject" || name == "tempfail");
    assert_eq!(player.mended, usize::from(mended), "{place}: verdicts that stand in");
}

fn events(steps: &[Step]) -> Vec<Described> {
    let event = |step: &Step| match &step.what {
        What::Event { name, args } => Some((name.clone(), args.clone())),
        _ => None,
    };
    steps.iter().filter_map(event).collect()
}

fn limit(fixture: &Fixture, name: &str) -> Option<usize> {
    fixture.limits.get(name).map(|limit| usize::try_from(*limit).expect("a small limit"))
}

fn limits(fixture: &Fixture) -> Limits {
    let mut limits = Limits::new();
    if let Some(payload) = limit(fixture, "payload") {
        limits = limits.with_payload(payload);
    }
    if let Some(macros) = limit(fixture, "macros").or(limit(fixture, "macro-names")) {
        limits = limits.with_macros(macros);
    }
    limits
}

fn config(fixture: &Fixture, profile: Profile, strict: bool) -> MtaConfig {
    let seconds = |name| limit(fixture, name).map(|seconds| Duration::from_secs(seconds as u64));
    let mut timeouts = seconds("reply-timeout").map_or(Timeouts::new(), Timeouts::all);
    if let Some(time) = seconds("eom-timeout") {
        timeouts.end_of_message = time;
    }
    let mut config = MtaConfig::new(profile)
        .with_offer(Offer {
            version: fixture.offer.version,
            actions: Actions::from_bits_retain(fixture.offer.actions),
            steps: Steps::from_bits_retain(fixture.offer.steps),
        })
        .with_limits(limits(fixture))
        .with_timeouts(timeouts);
    if let Some(bytes) = limit(fixture, "replaced-body") {
        config = config.with_body_limit(bytes as u64);
    }
    if strict { config } else { config.lenient() }
}

/// Makes a test of each fixture; a hyphen in the name of the file is an underscore here.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        mod fixtures {
            $(
                #[test]
                fn $name() {
                    super::check(&stringify!($name).replace('_', "-"));
                }
            )*
        }

        const TESTS: &[&str] = &[$(stringify!($name)),*];
    };
}

#[test]
fn every_fixture_has_a_test_of_its_name() {
    let files: BTreeSet<String> = common::fixture::fixtures()
        .unwrap_or_else(|mistake| panic!("{mistake}"))
        .into_iter()
        .map(|fixture| fixture.name.replace('-', "_"))
        .collect();
    let tests: BTreeSet<String> = TESTS.iter().map(|name| (*name).to_owned()).collect();
    let missing: Vec<_> = files.symmetric_difference(&tests).collect();
    assert!(missing.is_empty(), "only a file or only a test: {missing:?}");
}

tests![
    abort_before_negotiation,
    abort_before_reply,
    abort_with_payload,
    accept_with_payload,
    add_header_bare_cr,
    add_header_before_eom,
    add_header_crlf_fold,
    add_header_empty_line,
    add_header_empty_name,
    add_header_extra_string,
    add_header_final_lf,
    add_header_name_8bit,
    add_header_name_with_colon,
    add_header_name_with_lf,
    add_header_name_with_space,
    add_header_no_nul,
    add_header_no_payload,
    add_header_not_negotiated,
    add_header_not_negotiated_strict,
    add_header_one_string,
    add_header_unfolded_lf,
    add_recipient_args_before_eom,
    add_recipient_args_extra_string,
    add_recipient_args_lf,
    add_recipient_args_no_nul,
    add_recipient_args_null,
    add_recipient_before_eom,
    add_recipient_empty,
    add_recipient_extra_string,
    add_recipient_lf,
    add_recipient_no_nul,
    add_recipient_no_payload,
    add_recipient_null,
    body_after_data,
    body_after_header,
    body_after_message,
    body_empty,
    body_without_mail,
    change_header_bare_cr,
    change_header_before_eom,
    change_header_empty_name,
    change_header_extra_string,
    change_header_index_cut,
    change_header_name_with_colon,
    change_header_no_nul,
    change_header_one_string,
    change_header_unfolded_lf,
    change_sender_args_crlf,
    change_sender_before_eom,
    change_sender_crlf,
    change_sender_extra_string,
    change_sender_no_nul,
    change_sender_no_payload,
    change_sender_null,
    change_sender_unbalanced,
    closed_between_commands,
    command_control_byte,
    command_high_byte,
    command_nul,
    command_reply_letter,
    command_unknown_before_negotiation,
    command_unknown_letter,
    commands_after_accept,
    commands_after_reject,
    commands_before_reply,
    connect_address_no_nul,
    connect_after_helo,
    connect_bad_family,
    connect_bad_inet,
    connect_bad_inet6,
    connect_before_negotiation,
    connect_empty,
    connect_empty_host_name,
    connect_empty_inet,
    connect_host_name_not_utf8,
    connect_inet_as_inet6,
    connect_inet6_as_inet,
    connect_inet6_brackets,
    connect_inet6_prefixed,
    connect_lower_case_family,
    connect_no_address,
    connect_no_family,
    connect_no_nul,
    connect_no_port,
    connect_short_inet,
    connect_short_port,
    connect_trailing_string,
    connect_trailing_string_strict,
    connect_unix_path_empty,
    connect_unix_path_longest,
    connect_unix_path_too_long,
    connect_unknown_with_address,
    continue_with_payload,
    continue_with_payload_lenient,
    data_after_header,
    data_twice,
    data_with_payload,
    data_without_mail,
    data_without_rcpt,
    delete_recipient_before_eom,
    delete_recipient_cr,
    delete_recipient_extra_string,
    delete_recipient_no_nul,
    discard_at_connect,
    discard_with_payload,
    endless_aborts,
    endless_macros,
    eof_after_length,
    eof_before_negotiation,
    eof_between_frames,
    eof_in_length,
    eof_in_payload,
    eof_in_transaction,
    eoh_after_body,
    eoh_twice,
    eoh_with_payload,
    eoh_without_mail,
    eom_after_data,
    eom_after_header,
    eom_twice,
    eom_with_body,
    eom_with_body_rejected,
    eom_without_mail,
    eom_without_rcpt,
    frame_in_pieces,
    frame_incomplete_length,
    frame_incomplete_payload,
    frames_in_one_read,
    header_8bit_name,
    header_after_body,
    header_after_eoh,
    header_bare_cr,
    header_empty_name,
    header_empty_name_three_strings,
    header_empty_value,
    header_longer_than_64k,
    header_no_nul,
    header_no_payload,
    header_one_string,
    header_skips_disabled_mail,
    header_three_strings,
    header_three_strings_strict,
    header_value_no_nul,
    header_without_rcpt,
    header_without_transaction,
    helo_control_characters,
    helo_empty_name,
    helo_no_nul,
    helo_no_payload,
    helo_two_strings,
    helo_two_strings_strict,
    insert_header_bare_cr,
    insert_header_before_eom,
    insert_header_empty_name,
    insert_header_extra_string,
    insert_header_index_cut,
    insert_header_name_with_colon,
    insert_header_no_nul,
    insert_header_one_string,
    insert_header_unfolded_lf,
    length_all_ones,
    length_at_configured_limit,
    length_at_limit,
    length_high_bit,
    length_high_bit_and_one,
    length_over_configured_limit,
    length_over_limit,
    length_zero,
    length_zero_in_transaction,
    macro_before_negotiation,
    macro_braced_and_bare,
    macro_cleared_by_mail,
    macro_dangling_name,
    macro_duplicate_names,
    macro_empty_list,
    macro_empty_value,
    macro_late_stage_wins,
    macro_no_code,
    macro_no_nul,
    macro_replaces_all,
    macro_too_many,
    macro_unknown_code,
    macro_value_no_nul,
    mail_argument_no_nul,
    mail_before_negotiation,
    mail_no_brackets,
    mail_no_nul,
    mail_no_payload,
    mail_not_utf8,
    mail_single_nul,
    negotiation_empty,
    negotiation_extra_bytes,
    negotiation_reply_empty,
    negotiation_reply_excess_actions,
    negotiation_reply_excess_steps,
    negotiation_reply_excess_steps_strict,
    negotiation_reply_macro_list_missing,
    negotiation_reply_macro_list_no_nul,
    negotiation_reply_macro_list_too_long,
    negotiation_reply_macro_stage_cut,
    negotiation_reply_macro_unknown_stage,
    negotiation_reply_not_o,
    negotiation_reply_short,
    negotiation_reply_version_0,
    negotiation_reply_version_1,
    negotiation_reply_version_7,
    negotiation_reply_version_huge,
    negotiation_short,
    negotiation_version_0,
    negotiation_version_1,
    negotiation_version_negative,
    progress_before_eom,
    progress_endless,
    progress_with_payload,
    quarantine_before_eom,
    quarantine_empty,
    quarantine_extra_string,
    quarantine_line_break,
    quarantine_no_nul,
    quarantine_no_payload,
    quit_before_negotiation,
    quit_nc_before_negotiation,
    quit_nc_forgets_macros,
    quit_nc_with_payload,
    quit_with_payload,
    rcpt_after_data,
    rcpt_after_message,
    rcpt_argument_no_nul,
    rcpt_line_breaks,
    rcpt_no_nul,
    rcpt_no_payload,
    rcpt_without_mail,
    reject_with_payload,
    replace_body_before_eom,
    replace_body_flood,
    replace_body_mixed,
    replace_body_mixed_sendmail,
    replace_body_not_negotiated,
    replace_body_not_negotiated_strict,
    replace_body_with_progress,
    reply_closed,
    reply_command_letter,
    reply_connection_failure,
    reply_eof_in_frame,
    reply_length_all_ones,
    reply_length_high_bit,
    reply_length_over_limit,
    reply_length_zero,
    reply_negotiation_again,
    reply_nul,
    reply_setsymlist,
    reply_shutdown,
    reply_stalled,
    reply_timeout,
    reply_unknown_letter,
    replycode_bad_separator,
    replycode_bare_cr,
    replycode_bare_lf,
    replycode_class_2,
    replycode_class_mismatch,
    replycode_code_only,
    replycode_control_characters,
    replycode_early_space,
    replycode_empty,
    replycode_final_crlf,
    replycode_letter_in_code,
    replycode_line_too_long,
    replycode_mixed_classes,
    replycode_mixed_codes,
    replycode_no_digits,
    replycode_no_nul,
    replycode_nul_inside,
    replycode_only_dash,
    replycode_percent_doubled,
    replycode_percent_single,
    replycode_response_splitting,
    replycode_too_many_lines,
    replycode_two_digits,
    second_connect,
    second_negotiation,
    second_negotiation_in_transaction,
    skip_at_eom,
    skip_at_header,
    skip_not_negotiated,
    skip_with_payload,
    stalled_in_length,
    stalled_in_payload,
    tempfail_with_payload,
    unknown_after_data,
    unknown_before_negotiation,
    unknown_empty,
    unknown_no_nul,
    unknown_no_payload,
    unknown_two_strings,
    unsolicited_after_abort,
    unsolicited_after_no_reply_step,
    unsolicited_before_negotiation,
    unsolicited_edit_after_verdict,
    unsolicited_second_verdict,
    unsolicited_when_idle,
];
