//! The list of differences: each one still occurs, exactly as it says.

use std::path::Path;

use tamis_libmilter_tests::library::Library;
use tamis_libmilter_tests::probe::Probe;
use tamis_libmilter_tests::rules::Rule;
use tamis_libmilter_tests::script::{Callback, Script, status};
use tamis_libmilter_tests::session::{Manner, Session, Setup, Turn};
use tamis_libmilter_tests::stock::bits;

use crate::judged;

fn everything() -> Session {
    Session::new(Script::default().with_everything())
}

fn wanting(steps: u32) -> Script {
    Script::default().calls(Callback::Negotiate, 1, format!("out 1 {steps:#x}"))
}

fn calling(callback: Callback, call: &str) -> Session {
    Session::new(Script::default().with_everything().calls(callback, 1, call))
}

/// A session in which a difference shows.
fn example(rule: Rule) -> Session {
    let mut session = match rule {
        Rule::OutOfOrder => everything().letters("OCHLM"),
        Rule::BeforeNegotiation => everything().letters("M"),
        Rule::EmptyFrame | Rule::NegativeLength => everything().letters("OCHM"),
        Rule::Unterminated => everything().letters("OC").sending([(b'H', &b"host"[..])]).letters("M"),
        Rule::UnterminatedArgument => {
            everything().letters("OCH").sending([(b'M', &b"<a@b>\0SIZE"[..])]).letters("R")
        }
        Rule::Unexamined => {
            let setup = Setup::without([Callback::Helo]);
            Session { setup, ..Session::new(wanting(0)) }
                .letters("OC")
                .sending([(b'H', &b"host"[..])])
                .letters("M")
        }
        Rule::NamelessHeader => {
            everything().letters("OCHMR").sending([(b'L', &b"\0v\0x\0"[..])]).letters("L")
        }
        Rule::OddMacros => everything().letters("ODC").sending([(b'D', &b"Hj\0"[..])]).letters("H"),
        Rule::UnknownKeepsMessage => everything().letters("OCHMRTLUNBE"),
        Rule::UnknownKeepsState => everything().letters("OUCH"),
        Rule::StepsWithoutCallback => {
            let setup = Setup::without([Callback::Rcpt]);
            Session { setup, ..Session::new(wanting(0)) }.letters("OCHMT")
        }
        Rule::NoHeader => Session::new(wanting(bits::NO_EOH)).letters("OCHMRTBE"),
        Rule::AbortOutsideMessage => Session::new(wanting(bits::NO_MAIL)).letters("OCHA"),
        Rule::DecidedMessage => {
            Session::new(Script::default().with_everything().returns(Callback::Mail, 1, status::REJECT))
                .letters("OCHMRM")
        }
        Rule::AnyNewConnection => everything().letters("OCHKCH"),
        Rule::MissingAnswer => {
            Session::new(wanting(0).returns(Callback::Mail, 1, status::NOREPLY)).letters("OCHM")
        }
        Rule::NoSuchAnswer => Session::new(wanting(0).returns(Callback::Mail, 1, 99)).letters("OCHM"),
        Rule::UnheardAnswer => {
            Session::new(wanting(bits::NR_MAIL).returns(Callback::Mail, 1, status::REJECT)).letters("OCHMRT")
        }
        Rule::DoubleAbort => everything().letters("OCHM").sending([(b'H', &b""[..])]),
        Rule::AddressBeforeBlank => {
            everything().letters("O").sending([(b'C', &b"host\x004\0\x191.2.3.4 x\0"[..])]).letters("H")
        }
        Rule::UnknownAddress => {
            everything().letters("O").sending([(b'C', &b"host\x004\0\0unknown\0"[..])]).letters("H")
        }
        Rule::ListsNotOffered => {
            let offer = [6, 0xff, 0x1f_ffff].map(u32::to_be_bytes).concat();
            calling(Callback::Negotiate, "setsymlist 2 \"i\"").sending([(b'O', &offer[..])]).letters("CHM")
        }
        Rule::LastPiece => Session::new(wanting(0).returns(Callback::Body, 1, status::REJECT))
            .letters("OCHMR")
            .sending([(b'E', &b"the end"[..])])
            .letters("M"),
        Rule::SkipNotAgreedOn => {
            Session::new(wanting(0).returns(Callback::Body, 1, status::SKIP)).letters("OCHMRTLNBE")
        }
        Rule::ProgressElsewhere => calling(Callback::Body, "progress").letters("OCHMRTLNBE"),
        Rule::NoLines => {
            let session = calling(Callback::Mail, "setmlreply \"550\" \"5.7.1\"");
            let script = session.script.clone().returns(Callback::Mail, 1, status::REJECT);
            Session { script, ..session }.letters("OCHM")
        }
        Rule::NoContext => calling(Callback::Negotiate, "null-setsymlist 0 \"i\"").letters("OCH"),
    };
    let length = match rule {
        Rule::EmptyFrame => Some(0_u32),
        Rule::NegativeLength => Some(0xffff_fff0),
        _ => None,
    };
    if let Some(length) = length {
        let bytes = [&length.to_be_bytes()[..], b"A"].concat();
        session.turns.push(Turn { bytes, answered: false });
        session = session.letters("M");
    }
    session
}

#[test]
fn every_accepted_difference_still_occurs() {
    for rule in Rule::ALL {
        let session = example(rule);
        let counts = judged(&session.setup, [session.clone()]);
        assert_eq!(counts.into_iter().collect::<Vec<_>>(), [(rule, 1)]);
        // Without any help for the stock library.
        let [stock, ours] = Library::ALL.map(|library| Probe::start(library, &session.setup).run(&session));
        assert_ne!(stock, ours, "{rule:?}: there is no difference any more");
    }
}

#[test]
fn every_accepted_difference_is_documented() {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/libmilter/DIFFERENCES.md");
    let list = std::fs::read_to_string(list).expect("the library has a list");
    for rule in Rule::ALL {
        assert!(list.contains(&format!("\n| {} |", rule.documented())), "{rule:?} is not in DIFFERENCES.md");
    }
}

/// The stock library has one table for all connections of a process, and ours none that is shared (§6.3).
#[test]
fn what_one_connection_switches_off_is_its_own() {
    let off = Session::new(wanting(bits::NO_HEADERS | bits::NO_EOH | bits::NO_BODY)).letters("OCHMR");
    // Whatever is wanted here, it is not that.
    let plain = Session::new(wanting(0)).letters("OCHMRTE");
    let [stock, ours] = Library::ALL.map(|library| {
        let mut probe = Probe::start(library, &Setup::default());
        let before = probe.run(&plain);
        probe.run(&off);
        (before, probe.run(&plain))
    });
    assert_ne!(stock.0, stock.1, "the stock library has mended its ways");
    assert_eq!(ours.0, ours.1);
}

/// In steps, the stock library never reads what comes after quit-new-connection (§2.13).
#[test]
fn what_follows_on_quit_new_connection_is_read_whenever_it_comes() {
    let mut session = everything().letters("OCHMRTLNBEKCHMR");
    for turn in &mut session.turns {
        turn.answered = turn.bytes[4] != b'K';
    }
    session.manner = Manner::Step;
    let ours = Probe::start(Library::Ours, &Setup::default()).run(&session);
    assert_eq!(ours.trouble, Vec::<String>::new(), "{ours}");
    session.manner = Manner::Pour;
    assert_eq!(Probe::start(Library::Stock, &Setup::default()).run(&session), ours);
}
