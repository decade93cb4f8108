//! What callbacks return, at every stage (specification §5, §6.6), and the replies that were stored (§9.4).

use tamis_libmilter_tests::script::{Callback, Script, status};
use tamis_libmilter_tests::session::{Session, Setup};
use tamis_libmilter_tests::stock::bits;

use crate::{judged, same};

const STATUSES: [i32; 20] = [-3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 20, 21, 22, 100, i32::MIN];

/// What follows on the callback's command: the rest of the message, nothing, an abort, another message.
const FOLLOWING: [&str; 4] = ["", "A", "MRTLNBE", "HMR"];

fn until(callback: Callback) -> (&'static str, &'static str) {
    match callback {
        Callback::Connect => ("OC", "HMRTLNBE"),
        Callback::Helo => ("OCH", "MRTLNBE"),
        Callback::Mail => ("OCHM", "RTLNBE"),
        Callback::Rcpt => ("OCHMR", "RTLNBE"),
        Callback::Data => ("OCHMRT", "LNBE"),
        Callback::Header => ("OCHMRTL", "LNBE"),
        Callback::Eoh => ("OCHMRTLN", "BE"),
        Callback::Body => ("OCHMRTLNB", "BE"),
        Callback::Eom => ("OCHMRTLNBE", ""),
        _ => ("OCHU", "MRTLNBE"),
    }
}

/// Every status at every stage, with what may follow.
fn sessions(negotiate: &Script, offered: u32) -> Vec<Session> {
    let mut all = Vec::new();
    for callback in Callback::ANSWERED {
        let (start, rest) = until(callback);
        for status in STATUSES {
            let script = negotiate.clone().returns(callback, 1, status);
            let offer = [6, 0x1ff, offered].map(u32::to_be_bytes).concat();
            let begun = Session::new(script).sending([(b'O', &offer[..])]).letters(&start[1..]);
            all.push(begun.clone().letters(rest).letters("M"));
            all.extend(FOLLOWING.map(|following| begun.clone().letters(following)));
        }
    }
    all
}

#[test]
fn every_status_at_every_stage() {
    judged(&Setup::default(), sessions(&Script::default().with_everything(), bits::ALL));
}

#[test]
fn every_status_at_every_stage_where_no_answer_is_agreed_on() {
    let steps = bits::NR_ANYTHING | bits::SKIP;
    let negotiate = Script::default().calls(Callback::Negotiate, 0, format!("out 1 {steps:#x}"));
    judged(&Setup::default(), sessions(&negotiate, bits::ALL));
}

#[test]
fn every_status_at_every_stage_where_the_mta_wants_answers() {
    let negotiate =
        Script::default().calls(Callback::Negotiate, 0, format!("out 1 {:#x}", bits::NR_ANYTHING));
    judged(&Setup::default(), sessions(&negotiate, bits::ALL & !bits::NR_ANYTHING));
}

#[test]
fn every_status_of_a_body_inside_the_end_of_message() {
    for steps in [bits::SKIP, bits::NR_BODY | bits::SKIP] {
        let negotiate = Script::default().calls(Callback::Negotiate, 0, format!("out 1 {steps:#x}"));
        let sessions = STATUSES.into_iter().flat_map(|status| {
            let script = negotiate.clone().returns(Callback::Body, 1, status);
            let script = script.calls(Callback::Body, 1, "addheader \"X-Body\" \"v\"");
            ["", "M", "A", "E"].map(|rest| {
                Session::new(script.clone())
                    .letters("OCHMRTLN")
                    .sending([(b'E', &b"the end\r\n"[..])])
                    .letters(rest)
            })
        });
        judged(&Setup::default(), sessions);
    }
}

#[test]
fn a_stored_reply_is_used_by_the_verdict_that_it_fits() {
    let mut sessions = Vec::new();
    for code in ["450", "550", "421", "554"] {
        for callback in Callback::ANSWERED {
            for status in [0, 1, 2, 3, 4, 8] {
                let (start, rest) = until(callback);
                // It stays until it is used, in this message or another.
                let script = Script::default()
                    .with_everything()
                    .calls(callback, 1, format!("setreply \"{code}\" ~ \"text\""))
                    .returns(callback, 1, status)
                    .returns(Callback::Mail, 2, status::REJECT)
                    .returns(Callback::Mail, 3, status::TEMPFAIL)
                    .returns(Callback::Mail, 4, status::REJECT);
                if status == 8 || callback == Callback::Unknown {
                    continue;
                }
                let stays = matches!(status, 0) || callback == Callback::Rcpt && status != 3;
                let rest = if stays { rest } else { "" };
                let session = Session::new(script).letters(start).letters(rest);
                sessions.push(session.letters("MMM"));
            }
        }
    }
    same(&Setup::default(), sessions);
}

#[test]
fn a_stored_reply_is_replaced_by_the_next_and_not_by_one_that_is_refused() {
    let script = Script::default()
        .with_everything()
        .calls(Callback::Connect, 1, "setreply \"550\" \"5.7.1\" \"first\"")
        .calls(Callback::Helo, 1, "setreply \"551\" ~ \"second\"")
        .calls(Callback::Helo, 1, "setreply \"250\" ~ \"refused\"")
        .calls(Callback::Helo, 1, "setreply \"55x\" ~ ~")
        .returns(Callback::Mail, 1, status::REJECT)
        .returns(Callback::Mail, 2, status::REJECT);
    same(&Setup::default(), [Session::new(script).letters("OCHMMAM")]);
}
