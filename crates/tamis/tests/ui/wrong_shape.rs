//! Methods and blocks that cannot be a filter's.

use tamis::Verdict;

struct Shapes;

#[tamis::filter]
impl Shapes {
    fn connect() -> Verdict {
        Verdict::Continue
    }

    fn helo(self) {}

    fn mail<T: Default>(&mut self) -> Verdict {
        Verdict::Continue
    }

    include!("more.rs");
}

struct Trait;

#[tamis::filter]
impl tamis::Filter for Trait {
    type Message = ();
}

fn main() {}
