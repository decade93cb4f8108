//! What is agreed on with an MTA.

use tamis_proto::{Actions, Command, Offer, Steps};

use super::common::{Filter, Mta, Run};

fn offer(mta: &mut Mta, version: u32, actions: u32, steps: u32) {
    mta.send(&Command::Negotiate(Offer {
        version,
        actions: Actions::from_bits_retain(actions),
        steps: Steps::from_bits_retain(steps),
    }));
}

/// The answer to an offer: version, actions, steps, and what follows.
fn answer(script: &str, version: u32, actions: u32, steps: u32) -> Option<(u32, u32, u32, Vec<u8>)> {
    let filter = Filter::new(script);
    let mut mta = filter.dial();
    offer(&mut mta, version, actions, steps);
    let (code, payload) = mta.try_reply()?;
    assert_eq!(code, b'O');
    let number = |at: usize| u32::from_be_bytes(*payload[at..].first_chunk().unwrap());
    Some((number(0), number(4), number(8), payload[12..].to_vec()))
}

#[test]
fn without_a_callback_flags_and_missing_callbacks_are_the_answer() {
    let script = "without|negotiate\nwithout|helo\nwithout|body\nflags|11";
    assert_eq!(answer(script, 6, 0x1ff, 0x1f_ffff), Some((6, 0x11, 0x12, vec![])));
}

#[test]
fn the_version_is_the_lower_one() {
    assert_eq!(answer("flags|1\nwithout|negotiate", 7, 0x1ff, 0x1f_ffff).map(|answer| answer.0), Some(6));
    assert_eq!(answer("flags|1\nwithout|negotiate", 2, 0x3f, 0x7f).map(|answer| answer.0), Some(2));
    assert_eq!(answer("", 1, 0x1ff, 0x1f_ffff), None);
    assert_eq!(answer("", 0x8000_0000, 0x1ff, 0x1f_ffff), None);
}

#[test]
fn an_offer_of_nothing_is_one_of_version_one() {
    assert_eq!(answer("negotiate|return|10", 6, 0, 0), Some((6, 0x0f, 0, vec![])));
}

#[test]
fn all_options_takes_what_is_offered() {
    let script = "negotiate|return|10\nwithout|eoh\nactions|0";
    assert_eq!(answer(script, 6, 0xff, 0x1f_ffff), Some((6, 0xff, 0x440, vec![])));
    assert_eq!(answer(script, 6, 0xff, 0x37f), Some((6, 0xff, 0x40, vec![])));
}

#[test]
fn a_callback_that_continues_has_its_outputs_taken_as_they_are() {
    let script = "negotiate|return|0\nwithout|eoh\nactions|5\nsteps|100402";
    assert_eq!(answer(script, 6, 0x1ff, 0x1f_ffff), Some((6, 5, 0x10_0402, vec![])));
}

#[test]
fn a_callback_can_refuse_the_connection() {
    for status in [1, 2, 3, 4, 7, 99] {
        assert_eq!(answer(&format!("negotiate|return|{status}"), 6, 0x1ff, 0x1f_ffff), None, "{status}");
    }
}

#[test]
fn what_is_not_offered_and_not_made_up_for_closes_the_connection() {
    assert_eq!(answer("without|negotiate\nflags|1ff", 2, 0x3f, 0x7f), None);
    assert_eq!(answer("negotiate|return|0\nsteps|400", 2, 0x1ff, 0x7f), None);
    // These two are dropped, and no-reply is made up for.
    let script = "without|negotiate\nwithout|data\nwithout|unknown\nflags|1";
    assert_eq!(answer(script, 2, 0x3f, 0x7f), Some((2, 1, 0, vec![])));
    assert_eq!(answer("negotiate|return|0\nsteps|ff080", 6, 0x1ff, 0x7f), Some((6, 0x1ff, 0, vec![])));
}

#[test]
fn old_filters_have_no_late_callbacks() {
    for (version, steps) in [(2, 0x300), (3, 0x200), (4, 0)] {
        let script = format!("version|{version}\nflags|1");
        assert_eq!(answer(&script, 6, 0x1ff, 0x1f_ffff), Some((6, 1, steps, vec![])), "version {version}");
    }
}

#[test]
fn other_versions_of_the_library_are_refused() {
    for version in ["0", "1", "5", "0x02000001", "0x01000101"] {
        let filter = Filter::spawn(&Run { script: &format!("version|{version}"), ..Run::default() });
        assert_eq!(filter.end(), (vec!["register -1".to_owned()], Some(1)), "version {version}");
    }
    let filter = Filter::new("version|0x0100007f");
    filter.stop();
}

#[test]
fn macro_lists_follow_the_answer_by_stage() {
    let script = "negotiate|setsymlist|5|i {msg_id}\nnegotiate|setsymlist|0|j\nnegotiate|setsymlist|1|\n\
                  negotiate|setsymlist|0|again\nnegotiate|setsymlist|7|x\nnegotiate|setsymlist|-1|x\n\
                  negotiate|setsymlist|2|~\nnegotiate|return|10";
    let filter = Filter::new(script);
    let mut mta = filter.dial();
    offer(&mut mta, 6, 0x1ff, 0x1f_ffff);
    let (_, payload) = mta.reply();
    assert_eq!(payload[12..], *b"\0\0\0\0j\0\0\0\0\x01\0\0\0\0\x05i {msg_id}\0");
    drop(mta);
    let log = filter.stop();
    let results: Vec<_> =
        log.iter().filter(|line| line.starts_with("setsymlist")).map(|line| &line[11..]).collect();
    assert_eq!(results, ["0", "0", "0", "-1", "-1", "-1", "-1"]);
}

#[test]
fn macro_lists_are_kept_from_mtas_that_do_not_offer_them() {
    let script = "negotiate|setsymlist|0|j\nnegotiate|return|10";
    assert_eq!(answer(script, 6, 0xff, 0x1f_ffff), Some((6, 0xff, 0x400, vec![])));
}

#[test]
fn options_of_the_callback_are_widened_with_their_sign() {
    let mut filter = Filter::new("negotiate|return|10");
    let mut mta = filter.dial();
    offer(&mut mta, 6, 0xffff_ffff, 0xffff_ffff);
    mta.reply();
    assert_eq!(
        filter.wait_for("negotiate"),
        "negotiate ffffffffffffffff ffffffff8fffffff 0 0 preset ffffffffffffffff 400 0 0"
    );
}

#[test]
fn no_reply_stages_say_nothing_whatever_is_returned() {
    let filter = Filter::new("negotiate|return|0\nsteps|84000\nmail|return|1\nbody|return|7\ndata|return|0");
    let mut mta = filter.connect();
    mta.run("CH");
    mta.send_frame(b'M', b"<a@b>\0");
    assert_eq!(mta.run("RTN"), "ccc");
    mta.send_frame(b'B', b"x");
    assert_eq!(mta.run("E"), "c");
}

#[test]
fn no_reply_is_made_up_for_where_the_mta_does_not_know_it() {
    let filter = Filter::new("negotiate|return|0\nsteps|4000\nmail|return|7");
    let mut mta = filter.dial();
    offer(&mut mta, 6, 0x1ff, 0xfff);
    assert_eq!(mta.reply().0, b'O');
    assert_eq!(mta.run("CHMRTNE"), "ccccccc");
    let log = filter.stop();
    assert_eq!(log[0], "negotiate 1ff fffff 0 0 preset 1ff 400 0 0");
}

#[test]
fn skip_is_continue_where_it_was_not_agreed_on() {
    for (steps, letters) in [(0x1f_ffff, "ssc"), (0x1f_fbff, "ccc")] {
        let filter = Filter::new("negotiate|return|10\nbody|return|8");
        let mut mta = filter.dial();
        offer(&mut mta, 6, 0x1ff, steps);
        assert_eq!(mta.reply().0, b'O');
        mta.run("CHMRTN");
        assert_eq!(mta.run("BBE"), letters);
    }
}

#[test]
fn a_filter_without_callbacks_lets_everything_pass() {
    let script = [
        "connect", "helo", "envfrom", "envrcpt", "data", "header", "eoh", "body", "eom", "abort", "close",
        "unknown",
    ]
    .map(|callback| format!("without|{callback}\n"))
    .concat();
    let filter = Filter::new(&format!("{script}negotiate|return|0\nsteps|0\nwithout|name"));
    let mut mta = filter.connect();
    assert_eq!(mta.run("UCHMRTLNBE"), "c".repeat(10));
    assert_eq!(mta.run("MR"), "cc");
    mta.run("Q");
    mta.closed();
}
