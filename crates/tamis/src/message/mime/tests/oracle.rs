//! The same message read by mail-parser.

use mail_parser::{Message, MessageParser, PartType};
use proptest::prelude::*;

use super::properties::ordinary;
use super::*;

/// The leaves of a message, decoded, in order.
fn leaves(message: &Message<'_>, at: usize, out: &mut Vec<Vec<u8>>) {
    match &message.parts[at].body {
        PartType::Multipart(parts) => parts.iter().for_each(|part| leaves(message, *part as usize, out)),
        PartType::Message(message) => leaves(message, 0, out),
        PartType::Text(text) | PartType::Html(text) => out.push(text.as_bytes().to_vec()),
        PartType::Binary(bytes) | PartType::InlineBinary(bytes) => out.push(bytes.to_vec()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_ordinary_message_has_the_same_parts_for_mail_parser(message in ordinary()) {
        let theirs = MessageParser::default().parse(&message).unwrap();
        let mut expected = Vec::new();
        leaves(&theirs, 0, &mut expected);
        let ours = mime(&message);
        let leaf = |part: &Part<'_>| !part.is_multipart() && !part.is_message();
        let found: Vec<_> = ours.parts().filter(leaf).map(|part| part.decoded().to_vec()).collect();
        prop_assert_eq!(found, expected);
    }
}
