//! Arguments that a handler is not given.

use tamis::handler::Field;
use tamis::message::Text;
use tamis::{Context, Needs, Stage};

#[derive(Default)]
struct Message;

struct Arguments;

#[tamis::filter]
impl Arguments {
    type Message = Message;

    fn helo(&mut self, _: &str) {}

    async fn mail(&mut self, _: &Field) {}

    fn data(&mut self, _: &mut Context<'_, ()>) {}

    fn header(&mut self, _: &Text, _: &Text) {}

    fn end_of_message(&mut self, _: &mut Context<'_, Message>, _: &mut Context<'_, Message>) {}

    fn abort(&mut self, _: &Context<'_, Message>) {}

    fn negotiate(&mut self, _: Stage) -> Needs {
        Needs::new()
    }
}

fn main() {}
