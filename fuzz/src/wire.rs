//! Bytes on the wire, looked at without the library's help where that is what is being tested.

use bytes::Buf;
use tamis_proto::command::Kind;
use tamis_proto::{Edit, Output, Reply, SmtpReply, Steps, frame};

/// A frame with this letter.
pub fn frame(code: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 1).expect("inputs are short");
    [&length.to_be_bytes()[..], &[code], payload].concat()
}

/// Splits bytes that must be whole frames and nothing else.
pub fn frames(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk().expect("length of a frame is cut off");
        let length = u32::from_be_bytes(*length) as usize;
        assert!(length > 0 && length <= rest.len(), "length {length} of {} bytes", rest.len());
        frames.push((rest[0], &rest[1..length]));
        bytes = &rest[length..];
    }
    frames
}

/// The size of the first frame, or of what there is of it.
pub fn first(bytes: &[u8]) -> usize {
    match frame::total(bytes, usize::MAX >> 1) {
        Ok(Some(total)) => total.min(bytes.len()),
        _ => bytes.len(),
    }
}

/// Writes everything, in steps of at most `step` bytes.
pub fn drain(output: &mut Output, step: usize, to: &mut Vec<u8>) {
    while output.has_remaining() {
        let length = output.chunk().len().min(step);
        to.extend_from_slice(&output.chunk()[..length]);
        output.advance(length);
    }
    assert!(output.is_empty() && output.chunk().is_empty(), "nothing is left, and something is");
}

/// How many of these commands have to be answered.
pub fn answered(commands: &[(u8, &[u8])], steps: Steps) -> usize {
    let stages = commands.iter().filter_map(|(code, _)| Kind::from_code(*code)?.stage());
    stages.filter(|stage| steps.answers(*stage)).count()
}

/// What a filter's session wrote, once it owes nothing.
#[derive(Debug, Default)]
pub struct Replies<'a> {
    pub verdicts: usize,
    pub edits: Vec<Edit<&'a [u8]>>,
    pub body: Vec<u8>,
}

/// Reads what a filter's session wrote, as strictly as an MTA can: the negotiation first and once, every reply well
/// formed, modifications and progress never without the verdict they precede, and with `body_last` the pieces of a
/// body in a row before it.
pub fn replies(bytes: &[u8], body_last: bool) -> Replies<'_> {
    let mut replies = Replies::default();
    let (mut open, mut body) = (false, false);
    for (place, (code, payload)) in frames(bytes).into_iter().enumerate() {
        let reply = Reply::decode(tamis_proto::Frame { code, payload }).expect("replies are well formed");
        let verdict = match reply {
            Reply::Negotiate(_) => {
                assert_eq!(place, 0, "the answer to the offer comes first");
                continue;
            }
            Reply::Custom(text) => {
                SmtpReply::parse(text).expect("custom replies are SMTP replies");
                true
            }
            Reply::Edit(Edit::ReplaceBody(piece)) => {
                replies.body.extend_from_slice(piece);
                body = true;
                false
            }
            Reply::Edit(edit) => {
                replies.edits.push(edit);
                assert!(!(body && body_last), "something is between the body and the verdict");
                false
            }
            Reply::Progress => {
                assert!(!(body && body_last), "something is between the body and the verdict");
                false
            }
            Reply::ConnectionFailed | Reply::Shutdown => panic!("nobody asked for {code}"),
            _ => true,
        };
        assert!(place > 0, "the answer to the offer comes first");
        replies.verdicts += usize::from(verdict);
        open = !verdict;
        body &= !verdict;
    }
    assert!(!open, "a verdict is owed after a modification");
    replies
}
