//! What handlers may be given: a trait for each handler, implemented for the types of its arguments.

use bytes::Bytes;
use tamis_proto::command::{Connect as RawClient, Envelope as RawPath, Header as RawField};
use tamis_proto::{Needs, Offer};

use super::Field;
use crate::filter::Context;
use crate::message::{Client, Facts, Recipient, Sender, Text};

/// Declares the trait of a handler that is given a context, and a subject if its event has one.
macro_rules! arguments {
    ($($doc:literal $name:ident($handler:literal) $note:literal $subject:ty $(=> $($given:ty),+)?;)*) => {$(
        #[doc = $doc]
        #[diagnostic::on_unimplemented(
            message = $handler,
            label = "not something that it is given",
            note = $note,
        )]
        pub trait $name<'x, 'e, 'c, M> {
            /// What a handler asked for by the type of an argument.
            #[doc(hidden)]
            fn take(cx: &mut Option<&'x mut Context<'c, M>>, subject: &'e $subject) -> Self;
        }

        #[diagnostic::do_not_recommend]
        impl<'x, 'c, M> $name<'x, '_, 'c, M> for &'x mut Context<'c, M> {
            fn take(cx: &mut Option<Self>, _: &$subject) -> Self {
                cx.take().expect("a handler has one argument of this type")
            }
        }

        $($(
        #[diagnostic::do_not_recommend]
        impl<'e, M> $name<'_, 'e, '_, M> for &'e $given {
            fn take(_: &mut Option<&mut Context<'_, M>>, subject: &'e $subject) -> Self {
                subject
            }
        })+)?
    )*};
}

arguments! {
    "What `connect` may be given: the client and the context."
    Connect("the handler `connect` is not given a `{Self}`")
    "its arguments are `client: &tamis::message::Client` and `cx: &mut tamis::Context<'_, {M}>`, in any order; each can be left out"
    Client => Client;

    "What `helo` may be given: the client's name and the context."
    Helo("the handler `helo` is not given a `{Self}`")
    "its arguments are `name: &tamis::message::Text` and `cx: &mut tamis::Context<'_, {M}>`, in any order; each can be left out"
    Text => Text;

    "What `mail` may be given: the sender and the context."
    Mail("the handler `mail` is not given a `{Self}`")
    "its arguments are `sender: &tamis::message::Sender` and `cx: &mut tamis::Context<'_, {M}>`, in any order; each can be left out"
    Sender => Sender;

    "What `rcpt` may be given: the recipient and the context."
    Rcpt("the handler `rcpt` is not given a `{Self}`")
    "its arguments are `recipient: &tamis::message::Recipient` and `cx: &mut tamis::Context<'_, {M}>`, in any order; each can be left out"
    Recipient => Recipient;

    "What `data` may be given: the context."
    Data("the handler `data` is not given a `{Self}`")
    "its argument is `cx: &mut tamis::Context<'_, {M}>`; it can be left out"
    ();

    "What `header` may be given: the field and the context."
    Header("the handler `header` is not given a `{Self}`")
    "its arguments are `field: &tamis::handler::Field` and `cx: &mut tamis::Context<'_, {M}>`, in any order; each can be left out"
    Field => Field;

    "What `end_of_headers` may be given: the context."
    EndOfHeaders("the handler `end_of_headers` is not given a `{Self}`")
    "its argument is `cx: &mut tamis::Context<'_, {M}>`; it can be left out"
    ();

    "What `body` may be given: a piece of the body and the context."
    Body("the handler `body` is not given a `{Self}`")
    "its arguments are `piece: &[u8]` (or `&bytes::Bytes`) and `cx: &mut tamis::Context<'_, {M}>`, in any order; each can be left out"
    Bytes => Bytes, [u8];

    "What `end_of_message` may be given: the context."
    EndOfMessage("the handler `end_of_message` is not given a `{Self}`")
    "its argument is `cx: &mut tamis::Context<'_, {M}>`; it can be left out"
    ();

    "What `unknown` may be given: the command line and the context."
    Unknown("the handler `unknown` is not given a `{Self}`")
    "its arguments are `line: &tamis::message::Text` and `cx: &mut tamis::Context<'_, {M}>`, in any order; each can be left out"
    Text => Text;

    "What `abort` may be given: the context, with the state of the message that is dropped."
    Abort("the handler `abort` is not given a `{Self}`")
    "its argument is `cx: &mut tamis::Context<'_, {M}>`; it can be left out"
    ();

    "What `close` may be given: the context."
    Close("the handler `close` is not given a `{Self}`")
    "its argument is `cx: &mut tamis::Context<'_, {M}>`; it can be left out"
    ();
}

/// What `negotiate` may be given: the MTA's offer, and what the filter needs by its handlers and declarations.
#[diagnostic::on_unimplemented(
    message = "the handler `negotiate` is not given a `{Self}`",
    label = "not something that it is given",
    note = "its arguments are `offer: &tamis::Offer` and `needs: tamis::Needs`, in any order; each can be left out"
)]
pub trait Negotiate<'e> {
    /// What the handler asked for by the type of an argument.
    #[doc(hidden)]
    fn take(offer: &'e Offer, needs: &Needs) -> Self;
}

impl<'e> Negotiate<'e> for &'e Offer {
    fn take(offer: &'e Offer, _: &Needs) -> Self {
        offer
    }
}

impl Negotiate<'_> for Needs {
    fn take(_: &Offer, needs: &Needs) -> Self {
        needs.clone()
    }
}

/// How what an event carries becomes what its handler is given, without a copy.
#[doc(hidden)]
pub trait Subject<R> {
    fn of<M>(raw: R, cx: &Context<'_, M>) -> Self;
}

impl Subject<RawClient<Bytes>> for Client {
    fn of<M>(raw: RawClient<Bytes>, _: &Context<'_, M>) -> Self {
        raw.into()
    }
}

impl Subject<RawPath<Bytes>> for Sender {
    fn of<M>(raw: RawPath<Bytes>, _: &Context<'_, M>) -> Self {
        raw.into()
    }
}

impl Subject<RawPath<Bytes>> for Recipient {
    fn of<M>(raw: RawPath<Bytes>, cx: &Context<'_, M>) -> Self {
        Self::new(raw, Facts::new(cx.macros()).rejection())
    }
}

impl Subject<RawField<Bytes>> for Field {
    fn of<M>(raw: RawField<Bytes>, _: &Context<'_, M>) -> Self {
        raw.into()
    }
}

impl Subject<Bytes> for Text {
    fn of<M>(raw: Bytes, _: &Context<'_, M>) -> Self {
        raw.into()
    }
}

impl Subject<Bytes> for Bytes {
    fn of<M>(raw: Bytes, _: &Context<'_, M>) -> Self {
        raw
    }
}
