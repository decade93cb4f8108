//! The edit model, and the edit compiler with it, judged by real Postfix.
//!
//! `TAMIS_MODEL_CASES=2000 cargo test -p tamis-interop --test postfix_model` tries more modifications.

mod common;
#[path = "common/compiler.rs"]
mod compiler;
#[path = "common/delivery.rs"]
mod delivery;
#[path = "common/edits.rs"]
mod edits;
#[path = "common/model.rs"]
mod model;
#[path = "common/random.rs"]
mod random;

use tamis_interop::mta::Kind;

#[test]
fn the_model_foretells_what_postfix_delivers() {
    model::check_deliveries(Kind::Postfix);
}

#[test]
fn the_next_filter_is_shown_what_the_model_shows() {
    model::check_next_filter(Kind::Postfix);
}

#[test]
fn compiled_edits_make_the_message_that_was_wanted() {
    compiler::check_deliveries(Kind::Postfix);
}
