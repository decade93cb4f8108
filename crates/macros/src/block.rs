//! Reads the `impl` block: which handlers there are, and the type of a message's state.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, FnArg, GenericParam, Ident, ImplItem, ImplItemFn, ImplItemType, ItemImpl, ReceiverKind,
    Result, ReturnType, Type,
};

use crate::names;

/// What may be handled.
pub(crate) struct Known {
    /// The method's name.
    pub(crate) name: &'static str,
    /// The variant of `Event` and of `Stage`, and the trait in `tamis::handler::arguments`.
    pub(crate) event: &'static str,
    pub(crate) kind: Kind,
    /// The event has something that the handler may look at.
    pub(crate) carries: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// May be answered.
    Stage,
    /// Is never answered.
    Notice,
    Negotiate,
}

const fn known(name: &'static str, event: &'static str, kind: Kind, carries: bool) -> Known {
    Known { name, event, kind, carries }
}

/// In the order of a session.
static HANDLERS: [Known; 13] = [
    known("negotiate", "Negotiate", Kind::Negotiate, true),
    known("connect", "Connect", Kind::Stage, true),
    known("helo", "Helo", Kind::Stage, true),
    known("mail", "Mail", Kind::Stage, true),
    known("rcpt", "Rcpt", Kind::Stage, true),
    known("data", "Data", Kind::Stage, false),
    known("header", "Header", Kind::Stage, true),
    known("end_of_headers", "EndOfHeaders", Kind::Stage, false),
    known("body", "Body", Kind::Stage, true),
    known("end_of_message", "EndOfMessage", Kind::Stage, false),
    known("unknown", "Unknown", Kind::Stage, true),
    known("abort", "Abort", Kind::Notice, false),
    known("close", "Close", Kind::Notice, false),
];

/// What other libraries call them.
const ELSEWHERE: [(&str, &str); 15] = [
    ("hello", "helo"),
    ("ehlo", "helo"),
    ("envfrom", "mail"),
    ("mail_from", "mail"),
    ("from", "mail"),
    ("sender", "mail"),
    ("envrcpt", "rcpt"),
    ("rcpt_to", "rcpt"),
    ("to", "rcpt"),
    ("recipient", "rcpt"),
    ("eoh", "end_of_headers"),
    ("body_chunk", "body"),
    ("eom", "end_of_message"),
    ("eob", "end_of_message"),
    ("disconnect", "close"),
];

/// A method that is a handler.
pub(crate) struct Handler {
    pub(crate) known: &'static Known,
    pub(crate) name: Ident,
    pub(crate) is_async: bool,
    /// The types of its arguments, without `self`.
    pub(crate) arguments: Vec<Type>,
    pub(crate) output: TokenStream,
    /// Conditions under which it is there.
    pub(crate) cfg: Vec<Attribute>,
}

/// The block without what is no part of an inherent `impl`, and what was in it.
pub(crate) struct Block {
    pub(crate) inherent: ItemImpl,
    pub(crate) handlers: Vec<Handler>,
    /// `type Message = …;`, more than one under different conditions.
    pub(crate) messages: Vec<ImplItemType>,
    /// What is wrong with the rest.
    pub(crate) errors: Vec<Error>,
}

impl Block {
    pub(crate) fn parse(tokens: TokenStream) -> Result<Self> {
        let block: ItemImpl = syn::parse2(tokens)?;
        if let Some((path, _)) = &block.trait_ {
            let name = block.self_ty.to_token_stream();
            let text = format!("the trait is implemented by the attribute: write `impl {name} {{ … }}`");
            return Err(Error::new_spanned(path, text));
        }
        let mut read = Self {
            inherent: ItemImpl { items: Vec::new(), ..block },
            handlers: Vec::new(),
            messages: Vec::new(),
            errors: Vec::new(),
        };
        block.items.into_iter().for_each(|item| read.take(item));
        Ok(read)
    }

    fn take(&mut self, item: ImplItem) {
        match item {
            ImplItem::Fn(method) => {
                match Handler::of(&method) {
                    Ok(handler) => self.handlers.push(handler),
                    Err(error) => self.errors.push(error),
                }
                self.inherent.items.push(ImplItem::Fn(method));
            }
            ImplItem::Type(item) => {
                match names::find(&item.ident, "a type that a filter has", &["Message"], |name| name) {
                    Ok(_) => self.messages.push(item),
                    Err(error) => self.errors.push(error),
                }
            }
            ImplItem::Macro(call) => {
                let text =
                    "what a macro makes here would not be seen as a handler; call it in another `impl` block";
                self.errors.push(Error::new_spanned(call, text));
            }
            other => self.inherent.items.push(other),
        }
    }
}

impl Handler {
    fn of(method: &ImplItemFn) -> Result<Self> {
        let sig = &method.sig;
        let known = find(&sig.ident)?;
        receiver(method)?;
        let is_type = |param: &&GenericParam| !matches!(param, GenericParam::Lifetime(_));
        if let Some(param) = sig.generics.params.iter().find(is_type) {
            let text = format!(
                "nothing says what this is when `{}` is called; declare it at the `impl`",
                known.name
            );
            return Err(Error::new_spanned(param, text));
        }
        let typed = |argument: &FnArg| match argument {
            FnArg::Typed(argument) => Some((*argument.ty).clone()),
            FnArg::Receiver(_) => None,
        };
        let arguments: Vec<Type> = sig.inputs.iter().filter_map(typed).collect();
        // Two of them would be found out only when the handler is called.
        let is_context =
            |argument: &&Type| matches!(argument, Type::Reference(to) if to.mutability.is_some());
        if let Some(second) = arguments.iter().filter(is_context).nth(1) {
            let text = format!("`{}` is given one `&mut`, that of its context", known.name);
            return Err(Error::new_spanned(second, text));
        }
        Ok(Self {
            known,
            name: sig.ident.clone(),
            is_async: sig.asyncness.is_some(),
            arguments,
            output: output(method, known)?,
            cfg: conditions(&method.attrs),
        })
    }
}

/// The conditions among some attributes.
pub(crate) fn conditions(attributes: &[Attribute]) -> Vec<Attribute> {
    attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).cloned().collect()
}

fn find(name: &Ident) -> Result<&'static Known> {
    let found = names::find_or_translate(name, "a handler", &HANDLERS, |known| known.name, &ELSEWHERE);
    found.map(|at| &HANDLERS[at]).map_err(|error| {
        let text = format!("{error}\n(a function that is no handler goes into another `impl` block)");
        Error::new(name.span(), text)
    })
}

fn receiver(method: &ImplItemFn) -> Result<()> {
    let sig = &method.sig;
    match sig.receiver().map(|receiver| &receiver.kind) {
        Some(ReceiverKind::Reference(..)) => Ok(()),
        Some(ReceiverKind::Typed(_, of)) if matches!(**of, Type::Reference(_)) => Ok(()),
        _ => {
            let span = sig.inputs.first().map_or_else(|| sig.ident.span(), Spanned::span);
            let text =
                "a handler is called for the filter of a connection: its first argument is `&mut self`";
            Err(Error::new(span, text))
        }
    }
}

/// The return type as an expression can name it.
fn output(method: &ImplItemFn, known: &Known) -> Result<TokenStream> {
    let sig = &method.sig;
    match &sig.output {
        ReturnType::Default => {
            let span = sig.ident.span().resolved_at(Span::mixed_site());
            Ok(quote_spanned!(span=> ()))
        }
        ReturnType::Type(_, output) if matches!(**output, Type::ImplTrait(_)) => {
            let instead = match known.kind {
                Kind::Stage => "nothing, `Verdict` or `Result<Verdict, E>`",
                Kind::Notice => "nothing or `Result<(), E>`",
                Kind::Negotiate => "`Needs` or `Result<Needs, E>`",
            };
            let text = format!(
                "what `{}` returns has to be written out: {instead}; if it is a future, write `async fn`",
                known.name
            );
            Err(Error::new_spanned(output, text))
        }
        ReturnType::Type(_, output) => Ok(output.to_token_stream()),
    }
}
