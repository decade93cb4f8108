//! Names that are no handlers'.

use tamis::Verdict;

struct Slip;

#[tamis::filter]
impl Slip {
    fn heder(&mut self) -> Verdict {
        Verdict::Continue
    }

    fn envfrom(&mut self) {}

    fn on_end_of_message(&mut self) -> Verdict {
        Verdict::Continue
    }

    fn is_blocked(&self, domain: &str) -> bool {
        domain == "example.com"
    }

    type Mesage = String;
}

fn main() {}
