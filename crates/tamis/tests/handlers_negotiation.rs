//! What is negotiated for the handlers of `#[tamis::filter]` (N3, N4, N7, N8, N10, N12, N15).

use std::convert::Infallible;

use bytes::Buf;
use tamis::proto::{Command, FilterSession, Limits, Rules, See, Steps};
use tamis::{
    Actions, BoxError, Context, DataSize, Filter, IfMissing, MacroStage, Needs, Offer, SmtpReply, Stage,
    Verdict,
};

/// The payload of a filter's answer.
fn answer(filter: &impl Filter, offer: Offer) -> Vec<u8> {
    let mut frame = Vec::new();
    Command::<&[u8]>::Negotiate(offer).encode(&mut frame);
    let mut session = FilterSession::new(Rules::tamis(), Limits::default());
    session.next(&frame).unwrap();
    session.negotiate(&filter.needs()).unwrap();
    let output = session.output();
    let answer = output.copy_to_bytes(output.remaining());
    assert_eq!(answer[4], b'O');
    answer[5..].to_vec()
}

/// Version 6, these actions, these steps, and macro lists.
fn words(actions: u32, steps: u32, macros: &[u8]) -> Vec<u8> {
    [&6_u32.to_be_bytes()[..], &actions.to_be_bytes(), &steps.to_be_bytes(), macros].concat()
}

struct Nothing;

#[tamis::filter]
impl Nothing {}

#[test]
fn filter_without_handlers_has_every_stage_switched_off() {
    assert_eq!(Nothing.needs(), Needs::new());
    assert_eq!(answer(&Nothing, Offer::CURRENT), words(0, 0x0000_037f, b""));
}

type Checked<T = ()> = Result<T, Infallible>;
type Answer = Checked<Checked<Verdict>>;

struct ByType;

#[tamis::filter]
impl ByType {
    fn connect(&mut self) -> Checked {
        Ok(())
    }
    fn helo(&mut self) {}
    async fn mail(&mut self) {}
    fn rcpt(&mut self) -> Verdict {
        Verdict::Continue
    }
    async fn data(&mut self) -> SmtpReply {
        SmtpReply::new(450, "4.2.0", "later").unwrap()
    }
    fn header(&mut self) -> Checked<()> {
        Ok(())
    }
    fn end_of_headers(&mut self) -> Answer {
        Ok(Ok(Verdict::Continue))
    }
    async fn unknown(&mut self) -> Result<Verdict, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Verdict::Continue)
    }
    fn end_of_message(&mut self) {}
}

#[test]
fn return_types_say_what_is_answered_through_aliases_too() {
    let needs = ByType.needs();
    let watched = [Stage::Connect, Stage::Helo, Stage::Mail, Stage::Header, Stage::EndOfMessage];
    let answered = [Stage::Rcpt, Stage::Data, Stage::EndOfHeaders, Stage::Unknown];
    assert_eq!(needs, Needs::new().watch(watched).answer(answered));
    assert_eq!(needs.sees(Stage::Body), See::Nothing);
    let steps = Steps::NO_BODY
        | Steps::NO_REPLY_CONNECT
        | Steps::NO_REPLY_HELO
        | Steps::NO_REPLY_MAIL
        | Steps::NO_REPLY_HEADER;
    assert_eq!(steps.bits(), 0x0000_7090);
    assert_eq!(answer(&ByType, Offer::CURRENT), words(0, 0x0000_7090, b""));
}

struct Declared;

#[tamis::filter(
    require(add_headers, change_headers),
    allow(quarantine),
    if_missing = tempfail,
    macros(mail = ["auth_authen", "i"], end_of_message = ["i"], helo = []),
    data_size = "256k",
    skip = false,
    rejected_recipients,
    leading_space
)]
impl Declared {
    fn body(&mut self) -> Verdict {
        Verdict::Continue
    }
}

#[test]
fn declarations_beside_the_handlers_are_negotiated() {
    let needs = Needs::new()
        .answer([Stage::Body])
        .require(Actions::ADD_HEADERS | Actions::CHANGE_HEADERS)
        .allow(Actions::QUARANTINE)
        .if_missing(IfMissing::TempfailMail)
        .macros(MacroStage::Mail, ["auth_authen", "i"])
        .macros(MacroStage::EndOfMessage, ["i"])
        .macros(MacroStage::Helo, [""; 0])
        .data_size(DataSize::K256)
        .skip(false)
        .rejected_recipients()
        .leading_space();
    assert_eq!(Declared.needs(), needs);
    let offer = Offer { steps: Steps::CURRENT | Steps::PAYLOAD_SIZES, ..Offer::CURRENT };
    // The list of the end of headers is there for the sake of Sendmail (spec §4.8).
    let macros = b"\0\0\0\x01\0\0\0\0\x02{auth_authen} i\0\0\0\0\x05i\0\0\0\0\x06i\0";
    assert_eq!(answer(&Declared, offer), words(0x131, 0x1010_0800 | 0x36f, macros));
}

struct EveryAction;

#[tamis::filter(allow(
    add_headers,
    replace_body,
    add_recipients,
    delete_recipients,
    change_headers,
    quarantine,
    change_sender,
    add_recipients_with_args
))]
impl EveryAction {}

#[test]
fn every_action_has_a_name_in_the_attribute() {
    assert_eq!(EveryAction.needs().actions(), Actions::CURRENT - Actions::MACRO_LISTS);
}

struct Sizes;

#[tamis::filter(data_size = "1M", if_missing = close, skip = true)]
impl Sizes {}

#[test]
fn what_is_the_default_can_be_said() {
    assert_eq!(Sizes.needs(), Needs::new().data_size(DataSize::M1).if_missing(IfMissing::Close).skip(true));
}

struct Conditional;

#[tamis::filter]
impl Conditional {
    #[cfg(any())]
    type Message = NoSuchType;

    #[cfg(not(any()))]
    type Message = u8;

    /// Never there.
    #[cfg(any())]
    fn connect(&mut self) -> NoSuchType {}

    /// There in one of two shapes.
    #[cfg(any())]
    async fn helo(&mut self) -> Verdict {
        Verdict::Continue
    }

    #[cfg(not(any()))]
    fn helo(&mut self) {}

    #[cfg(any())]
    fn negotiate(&mut self) -> NoSuchType {}
}

#[test]
fn handlers_under_a_condition_that_does_not_hold_are_not_there() {
    assert_eq!(Conditional.needs(), Needs::new().watch([Stage::Helo]));
}

/// A store that a filter looks things up in.
trait Store {
    type Error: Into<BoxError>;
}

struct Memory;

impl Store for Memory {
    type Error = Infallible;
}

struct Generic<'a, S, const N: usize> {
    _store: &'a S,
}

#[tamis::filter]
impl<S, const N: usize> Generic<'static, S, N>
where
    S: Store + Sync + 'static,
{
    const ANSWER: Verdict = Verdict::Continue;

    type Message = [u8; 4];

    async fn mail<'a>(&'a mut self, cx: &'a mut Context<'_, [u8; 4]>) -> Result<Verdict, S::Error> {
        cx.message[0] = 1;
        Ok(Self::ANSWER)
    }
}

#[test]
fn generic_filters_have_handlers() {
    let filter = Generic::<_, 4> { _store: &Memory };
    assert_eq!(filter.needs(), Needs::new().answer([Stage::Mail]));
}

mod renamed {
    pub(crate) use tamis as mail_filters;
}

struct Renamed;

#[tamis::filter(crate = self::renamed::mail_filters, require(add_headers))]
impl Renamed {
    fn helo(&mut self, _name: &tamis::message::Text) {}
}

#[test]
fn crate_may_be_elsewhere() {
    assert_eq!(Renamed.needs(), Needs::new().watch([Stage::Helo]).require(Actions::ADD_HEADERS));
}

struct Negotiates;

#[tamis::filter(allow(quarantine))]
impl Negotiates {
    fn negotiate(&mut self, mut needs: Needs, offer: &Offer) -> Result<Needs, &'static str> {
        if offer.version < 6 {
            return Err("too old");
        }
        if offer.actions.contains(Actions::CHANGE_SENDER) {
            needs = needs.require(Actions::CHANGE_SENDER);
        }
        Ok(needs)
    }

    fn data(&self) {}
}

#[tokio::test]
async fn negotiation_begins_with_what_handlers_need() {
    let needs = Needs::new().watch([Stage::Data]).allow(Actions::QUARANTINE);
    assert_eq!(Negotiates.needs(), needs);
    let agreed = Filter::negotiate(&mut Negotiates, &Offer::CURRENT).await.unwrap();
    assert_eq!(agreed, needs.require(Actions::CHANGE_SENDER));
    let error = Filter::negotiate(&mut Negotiates, &Offer::of_version(4)).await.unwrap_err();
    assert_eq!(error.to_string(), "too old");
}
