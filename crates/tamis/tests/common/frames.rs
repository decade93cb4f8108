//! Frames as an MTA writes them.

use tamis::proto::command::{Connect, Envelope, Header, Kind, Macros};
use tamis::proto::{Command, Offer};

fn frame(command: &Command<&[u8]>) -> Vec<u8> {
    let mut wire = Vec::new();
    command.encode(&mut wire);
    wire
}

pub fn offer() -> Vec<u8> {
    offer_of(Offer::CURRENT)
}

pub fn offer_of(offer: Offer) -> Vec<u8> {
    frame(&Command::Negotiate(offer))
}

pub fn connect() -> Vec<u8> {
    let mut wire = Vec::new();
    let connect = Connect::inet("client.example", ([192, 0, 2, 1], 49_152).into(), false);
    Command::Connect(connect).encode(&mut wire);
    wire
}

pub fn helo(name: &str) -> Vec<u8> {
    frame(&Command::Helo(name.as_bytes()))
}

pub fn mail(address: &str) -> Vec<u8> {
    frame(&Command::Mail(Envelope::new(address.as_bytes())))
}

pub fn rcpt(address: &str) -> Vec<u8> {
    frame(&Command::Rcpt(Envelope::new(address.as_bytes())))
}

pub fn data() -> Vec<u8> {
    frame(&Command::Data)
}

pub fn header(name: &str, value: &str) -> Vec<u8> {
    frame(&Command::Header(Header { name: name.as_bytes(), value: value.as_bytes(), implied_space: true }))
}

pub fn end_of_headers() -> Vec<u8> {
    frame(&Command::EndOfHeaders)
}

pub fn body(bytes: &[u8]) -> Vec<u8> {
    frame(&Command::Body(bytes))
}

pub fn end_of_message() -> Vec<u8> {
    frame(&Command::EndOfMessage(&[]))
}

pub fn unknown(line: &str) -> Vec<u8> {
    frame(&Command::Unknown(line.as_bytes()))
}

pub fn abort() -> Vec<u8> {
    frame(&Command::Abort)
}

pub fn quit() -> Vec<u8> {
    frame(&Command::Quit)
}

pub fn quit_new_connection() -> Vec<u8> {
    frame(&Command::QuitNewConnection)
}

pub fn macros(command: Kind, pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut wire = Vec::new();
    Command::Macros(Macros::new(command, pairs.iter().copied())).encode(&mut wire);
    wire
}

/// A whole small message, from its sender to its end.
pub fn message(sender: &str) -> Vec<Vec<u8>> {
    vec![
        mail(sender),
        rcpt("<to@example.com>"),
        data(),
        header("Subject", "hello"),
        end_of_headers(),
        body(b"Hi!\r\n"),
        end_of_message(),
    ]
}
