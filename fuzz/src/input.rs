//! Choices read off the input of a target.

use bytes::Bytes;
use tamis_proto::{Actions, Edit, IfMissing, Limits, Needs, Rules, SmtpReply, Steps, Verdict};

/// What is left of an input. Once it is used up, every number is 0 and every text empty, so that any input means
/// something and cutting one short keeps its beginning.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(pub &'a [u8]);

/// The edits' letters in the order of their numbers in an input.
pub const EDITS: &[u8] = b"himebq+2-";

/// A body for two packets.
static LONG: [u8; 66_000] = [b'x'; 66_000];

impl<'a> Input<'a> {
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.array())
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }

    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let taken = self.take(N);
        out[..taken.len()].copy_from_slice(taken);
        out
    }

    /// A text behind its length in one byte.
    pub fn text(&mut self) -> &'a [u8] {
        let length = self.u8();
        self.take(length.into())
    }

    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// One bit of a byte chooses one of both sets of rules, strict or not.
    pub fn rules(flags: u8) -> Rules {
        let rules = if flags & 1 == 0 { Rules::tamis() } else { Rules::libmilter() };
        if flags & 2 == 0 { rules } else { rules.strict() }
    }

    /// The usual limits, fixed ones that are reached now and then, or small ones of the input's own: so that each of
    /// them can be the one that ends a session.
    pub fn limits(&mut self, flags: u8) -> Limits {
        if flags & 0x10 != 0 {
            let [macros, macro_bytes, headers, header_bytes, recipients, argument, replies] = self.array();
            let count = |byte: u8| usize::from(byte % 8);
            let limits = Limits::new().with_payload(0).with_macros(count(macros));
            let limits = limits.with_macro_bytes(macro_bytes.into()).with_headers(count(headers));
            let limits = limits.with_header_bytes(header_bytes.into()).with_recipients(count(recipients));
            return limits.with_argument(argument.into()).with_replies(replies.into());
        }
        if flags & 4 == 0 {
            return Limits::new();
        }
        let limits = Limits::new().with_payload(0).with_macros(2).with_macro_bytes(200);
        limits.with_headers(4).with_header_bytes(80).with_recipients(2).with_argument(100)
    }

    /// What a filter needs: by the bits of its answer, with the actions required or only allowed.
    pub fn needs(&mut self) -> Needs {
        let flags = self.u8();
        let steps = Steps::from_bits_retain(self.u32());
        let actions = Actions::from_bits_retain(self.u16().into());
        let needs = if flags & 1 == 0 {
            Needs::from_bits(Actions::empty(), steps).allow(actions)
        } else {
            Needs::from_bits(actions, steps)
        };
        let policy = if flags & 2 == 0 { IfMissing::TempfailMail } else { IfMissing::Close };
        needs.if_missing(policy)
    }

    pub fn verdict(&mut self) -> Verdict {
        match self.u8() % 12 {
            0 => Verdict::Continue,
            1 => Verdict::Accept,
            2 => Verdict::Reject,
            3 => Verdict::Tempfail,
            4 => Verdict::Discard,
            5 => Verdict::Skip,
            6 => Verdict::reject("5.7.1", &String::from_utf8_lossy(self.text())),
            7 => Verdict::tempfail(&String::from_utf8_lossy(self.text()), "later"),
            8 => Verdict::shutdown(&String::from_utf8_lossy(self.text())),
            _ => {
                let (code, lines) = (400 + self.u16() % 200, 1 + self.u8() % 3);
                let enhanced = [String::new(), format!("{}.7.1", code / 100)][usize::from(code % 2)].clone();
                let lines: Vec<_> = (0..lines).map(|_| self.text()).collect();
                SmtpReply::multiline(code, &enhanced, lines).map_or(Verdict::Reject, Verdict::from)
            }
        }
    }

    pub fn edit(&mut self) -> Edit<Bytes> {
        let kind = EDITS[usize::from(self.u8()) % EDITS.len()];
        let index = if matches!(kind, b'i' | b'm') { self.u32() } else { 0 };
        let text = |input: &mut Self| Bytes::copy_from_slice(input.text());
        let first = text(self);
        match kind {
            b'h' => Edit::AddHeader { name: first, value: text(self) },
            b'i' => Edit::InsertHeader { index, name: first, value: text(self) },
            b'm' => Edit::ChangeHeader { index, name: first, value: text(self) },
            b'e' => {
                Edit::ChangeSender { address: first, args: Some(text(self)).filter(|args| !args.is_empty()) }
            }
            b'2' => Edit::AddRecipientWithArgs {
                address: first,
                args: Some(text(self)).filter(|args| !args.is_empty()),
            },
            b'+' => Edit::AddRecipient { address: first },
            b'-' => Edit::DeleteRecipient { address: first },
            b'q' => Edit::Quarantine { reason: first },
            // A piece of this length is split into two packets.
            _ if first.len() == 255 => Edit::ReplaceBody(Bytes::from_static(&LONG)),
            _ => Edit::ReplaceBody(first),
        }
    }
}
