//! Verdicts where the MTA waits for none.

use tamis::{BoxError, Verdict};

struct Late;

#[tamis::filter]
impl Late {
    fn abort(&mut self) -> Verdict {
        Verdict::Reject
    }

    async fn close(&mut self) -> Result<Verdict, BoxError> {
        Ok(Verdict::Reject)
    }
}

fn main() {}
