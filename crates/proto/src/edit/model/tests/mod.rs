mod body;
mod captured;
mod envelope;
mod headers;
mod message;
mod properties;

use super::Profile::{Postfix, Sendmail};
use super::*;

const BOTH: [Profile; 2] = [Postfix, Sendmail];

type TestEdit = Edit<&'static [u8]>;

fn add(name: &'static str, value: &'static str) -> TestEdit {
    Edit::AddHeader { name: name.as_bytes(), value: value.as_bytes() }
}

fn insert(index: u32, name: &'static str, value: &'static str) -> TestEdit {
    Edit::InsertHeader { index, name: name.as_bytes(), value: value.as_bytes() }
}

fn change(index: u32, name: &'static str, value: &'static str) -> TestEdit {
    Edit::ChangeHeader { index, name: name.as_bytes(), value: value.as_bytes() }
}

fn body(piece: &'static str) -> TestEdit {
    Edit::ReplaceBody(piece.as_bytes())
}

fn to(address: &'static str) -> TestEdit {
    Edit::AddRecipient { address: address.as_bytes() }
}

fn to_with(address: &'static str, args: &'static str) -> TestEdit {
    Edit::AddRecipientWithArgs { address: address.as_bytes(), args: Some(args.as_bytes()) }
}

fn not_to(address: &'static str) -> TestEdit {
    Edit::DeleteRecipient { address: address.as_bytes() }
}

fn from(address: &'static str, args: Option<&'static str>) -> TestEdit {
    Edit::ChangeSender { address: address.as_bytes(), args: args.map(str::as_bytes) }
}

/// A model of a message whose first field is the MTA's own.
fn model(profile: Profile, header: &str) -> Model {
    let text = format!("Received: own\r\n{header}\r\nbody\r\n");
    Model::new(profile, Message::parse(text.as_bytes())).own_fields(1)
}

fn header_of(message: &Message) -> String {
    let text = String::from_utf8(message.to_bytes()).unwrap();
    text.split_once("\r\n\r\n").unwrap().0.replace("\r\n", "|")
}

/// The header after the edits, `|` for line ends.
fn header(profile: Profile, before: &str, edits: &[TestEdit]) -> String {
    header_with(model(profile, before), edits)
}

fn header_with(mut model: Model, edits: &[TestEdit]) -> String {
    for edit in edits {
        model.apply(edit).unwrap();
    }
    header_of(&model.finish())
}

fn shown(model: &Model) -> Vec<String> {
    let line = |field: &Field| [&field.name[..], b":", &field.value].concat();
    model.shown().map(|field| String::from_utf8(line(field)).unwrap()).collect()
}

fn addresses(message: &Message) -> Vec<&[u8]> {
    message.recipients.iter().map(|path| &path.address[..]).collect()
}
