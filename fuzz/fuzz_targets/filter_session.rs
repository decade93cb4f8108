//! Any bytes into a filter's session, under both sets of rules: it answers what has to be answered and nothing else,
//! aborts and closes once, and does the same however the stream is cut.
//!
//! Input: flags, limits, needs, eight answers, a number for the cuts, the stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tamis_fuzz::Input;
use tamis_fuzz::filter::{Feed, Filter};

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let flags = input.u8();
    let limits = input.limits(flags);
    let (needs, answers, cuts) = (input.needs(), input.array(), input.u32());
    for rules in [0, 1] {
        let filter =
            Filter { rules: Input::rules(flags & !1 | rules), limits, needs: needs.clone(), answers };
        let by_frame = filter.play(input.0, Feed::Frames);
        for feed in [Feed::Whole, Feed::Cuts(cuts)] {
            assert_eq!(filter.play(input.0, feed), by_frame, "{feed:?} is not the same as frame by frame");
        }
    }
});
