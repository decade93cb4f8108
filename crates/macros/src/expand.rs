//! Writes the `impl` of `tamis::Filter`.
//!
//! For each handler there is a line in `needs`, and an arm in `now` or, for an `async fn`, in `on`. `look` and `on_shown`
//! are the same for an event that is not given away, of which handlers get a copy of what they ask for:
//!
//! ```text
//! fn needs(&self) -> Needs {
//!     let needs = Needs::new().require(Actions::ADD_HEADERS);
//!     let needs = if <Result<Verdict, MyError> as Outcome>::REPLIES {
//!         needs.answer([Stage::Mail])
//!     } else {
//!         needs.watch([Stage::Mail])
//!     };
//!     needs
//! }
//!
//! fn now(&mut self, cx: &mut Context<'_, Self::Message>, event: Event) -> Now {
//!     match event {
//!         Event::Helo(subject) => {
//!             let subject = arguments::Subject::of(subject, cx);
//!             let mut cx = Some(cx);
//!             Now::Done(<() as Outcome>::into_reply(Self::helo(self, arguments::Helo::take(&mut cx, &subject))))
//!         }
//!         Event::Mail(_) => Now::Later(event),
//!         _ => Now::Done(Ok(Verdict::Continue)),
//!     }
//! }
//! ```

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote};
use syn::{Error, Ident, Type};

use crate::block::{Block, Handler, Kind, conditions};
use crate::options::Options;

/// The block and the trait's `impl`. Where something is wrong, as much of both as is right comes with the errors, so
/// that these are all that the author sees.
pub(crate) fn expand(options: TokenStream, block: TokenStream) -> TokenStream {
    let block = match Block::parse(block) {
        Ok(block) => block,
        Err(error) => return error.into_compile_error(),
    };
    let (options, error) = match Options::parse(options) {
        Ok(options) => (options, None),
        Err(error) => (Options::default(), Some(error)),
    };
    let errors = block.errors.iter().chain(&error).map(Error::to_compile_error);
    let inherent = &block.inherent;
    let implementation = Output { tamis: options.tamis(), options: &options, block: &block }.implementation();
    quote! {
        #(#errors)*
        // What a handler looks like is not its author's choice, as with methods of a trait.
        #[allow(
            clippy::needless_pass_by_ref_mut,
            clippy::trivially_copy_pass_by_ref,
            clippy::unnecessary_wraps,
            clippy::unused_async,
            clippy::unused_self
        )]
        #inherent
        #implementation
    }
}

struct Output<'a> {
    tamis: TokenStream,
    options: &'a Options,
    block: &'a Block,
}

impl Output<'_> {
    fn implementation(&self) -> TokenStream {
        let Self { tamis, block, .. } = self;
        let (generics, _, condition) = block.inherent.generics.split_for_impl();
        let (cfg, of) = (conditions(&block.inherent.attrs), &block.inherent.self_ty);
        let (message, collect) = (self.message(), self.collect());
        let (needs, negotiate) = (self.needs(), self.negotiate());
        let (look, now, on, on_shown) = (self.look(), self.now(), self.on(), self.on_shown());
        quote! {
            #(#cfg)*
            #[automatically_derived]
            impl #generics #tamis::Filter for #of #condition {
                #message
                #needs
                #collect
                #negotiate
                #look
                #now
                #on
                #on_shown
            }
        }
    }

    fn message(&self) -> TokenStream {
        match &self.block.messages[..] {
            [] => quote!(
                type Message = ();
            ),
            given => quote!(#(#given)*),
        }
    }

    fn needs(&self) -> TokenStream {
        let Self { tamis, .. } = self;
        let declared = self.options.needs();
        let stages = self.handlers(Kind::Stage).map(|handler| {
            let Handler { cfg, output, .. } = handler;
            let stage = event(handler);
            quote! {
                #(#cfg)*
                let needs = if <#output as #tamis::handler::Outcome>::REPLIES {
                    needs.answer([#tamis::Stage::#stage])
                } else {
                    needs.watch([#tamis::Stage::#stage])
                };
            }
        });
        quote! {
            fn needs(&self) -> #tamis::Needs {
                let needs = #declared;
                #(#stages)*
                needs
            }
        }
    }

    fn collect(&self) -> Option<TokenStream> {
        let Self { tamis, options, .. } = self;
        let collect = options.collect()?;
        Some(quote! {
            fn collect(&self) -> #tamis::Collect {
                #collect
            }
        })
    }

    fn negotiate(&self) -> TokenStream {
        let Self { tamis, .. } = self;
        let methods = self.handlers(Kind::Negotiate).map(|handler| {
            let Handler { cfg, output, .. } = handler;
            let call = self.call(handler, [quote!(offer), quote!(&needs)]);
            quote! {
                #(#cfg)*
                async fn negotiate(
                    &mut self,
                    offer: &#tamis::Offer,
                ) -> ::core::result::Result<#tamis::Needs, #tamis::BoxError> {
                    let needs = #tamis::Filter::needs(self);
                    <#output as #tamis::handler::Negotiated>::into_needs(#call)
                }
            }
        });
        quote!(#(#methods)*)
    }

    fn look(&self) -> TokenStream {
        let Self { tamis, .. } = self;
        let subject = quote!(::core::clone::Clone::clone(subject));
        let done = |reply| quote!(#tamis::Look::Done(#reply));
        let later = quote!(#tamis::Look::Later);
        let arms = self.plain_arms(&subject, done, &later);
        quote! {
            #[allow(unused_variables)]
            fn look(
                &mut self,
                cx: &mut #tamis::Context<'_, Self::Message>,
                event: &#tamis::Event,
            ) -> #tamis::Look {
                match event {
                    #(#arms)*
                    _ => #tamis::Look::Done(::core::result::Result::Ok(#tamis::Verdict::Continue)),
                }
            }
        }
    }

    /// Has plain handlers called, and says something else about those that wait.
    fn plain_arms(
        &self,
        subject: &TokenStream,
        done: impl Fn(TokenStream) -> TokenStream,
        later: &TokenStream,
    ) -> impl Iterator<Item = TokenStream> {
        let Self { tamis, .. } = self;
        let arms = self.block.handlers.iter().filter(|handler| handler.known.kind != Kind::Negotiate);
        arms.map(move |handler| {
            if !handler.is_async {
                return self.arm(handler, subject, &done);
            }
            let (cfg, variant) = (&handler.cfg, event(handler));
            let ignored = handler.known.carries.then(|| quote!((_)));
            quote! {
                #(#cfg)*
                #tamis::Event::#variant #ignored => #later,
            }
        })
    }

    fn now(&self) -> TokenStream {
        let Self { tamis, .. } = self;
        let done = |reply| quote!(#tamis::Now::Done(#reply));
        let later = quote!(#tamis::Now::Later(event));
        let subject = quote!(subject);
        let arms = self.plain_arms(&subject, done, &later);
        quote! {
            #[allow(unused_variables)]
            fn now(
                &mut self,
                cx: &mut #tamis::Context<'_, Self::Message>,
                event: #tamis::Event,
            ) -> #tamis::Now {
                match event {
                    #(#arms)*
                    _ => #tamis::Now::Done(::core::result::Result::Ok(#tamis::Verdict::Continue)),
                }
            }
        }
    }

    fn on(&self) -> TokenStream {
        let Self { tamis, .. } = self;
        let subject = quote!(subject);
        let arms = self.async_arms(&subject);
        quote! {
            #[allow(unused_variables)]
            async fn on(
                &mut self,
                cx: &mut #tamis::Context<'_, Self::Message>,
                event: #tamis::Event,
            ) -> #tamis::Reply {
                match event {
                    #(#arms)*
                    _ => ::core::result::Result::Ok(#tamis::Verdict::Continue),
                }
            }
        }
    }

    fn on_shown(&self) -> TokenStream {
        let Self { tamis, .. } = self;
        let subject = quote!(::core::clone::Clone::clone(subject));
        let arms = self.async_arms(&subject);
        quote! {
            #[allow(unused_variables)]
            async fn on_shown(
                &mut self,
                cx: &mut #tamis::Context<'_, Self::Message>,
                event: &#tamis::Event,
            ) -> #tamis::Reply {
                match event {
                    #(#arms)*
                    _ => ::core::result::Result::Ok(#tamis::Verdict::Continue),
                }
            }
        }
    }

    fn async_arms(&self, subject: &TokenStream) -> impl Iterator<Item = TokenStream> {
        let handlers = self.block.handlers.iter();
        handlers
            .filter(|handler| handler.is_async && handler.known.kind != Kind::Negotiate)
            .map(move |handler| self.arm(handler, subject, |reply| reply))
    }

    /// Has a handler called for its event, of which it gets the subject.
    fn arm(
        &self,
        handler: &Handler,
        subject: &TokenStream,
        reply_as: impl Fn(TokenStream) -> TokenStream,
    ) -> TokenStream {
        let Self { tamis, .. } = self;
        let Handler { cfg, output, known, .. } = handler;
        let (variant, outcome) = (
            event(handler),
            match known.kind {
                Kind::Notice => quote!(Silent),
                Kind::Stage | Kind::Negotiate => quote!(Outcome),
            },
        );
        let looks = known.carries && !handler.arguments.is_empty();
        let (pattern, subject) = match (known.carries, looks) {
            (false, _) => (quote!(), quote!()),
            (true, false) => (quote!((_)), quote!()),
            (true, true) => (
                quote!((subject)),
                quote!(let subject = #tamis::handler::arguments::Subject::of(#subject, cx);),
            ),
        };
        let given = if looks { quote!(&subject) } else { quote!(&()) };
        let context =
            (!handler.arguments.is_empty()).then(|| quote!(let mut cx = ::core::option::Option::Some(cx);));
        let call = self.call(handler, [quote!(&mut cx), given]);
        let reply = reply_as(quote!(<#output as #tamis::handler::#outcome>::into_reply(#call)));
        quote! {
            #(#cfg)*
            #tamis::Event::#variant #pattern => {
                #subject
                #context
                #reply
            }
        }
    }

    /// The call of a handler: each of its arguments takes by its type what it wants of what is given.
    fn call(&self, handler: &Handler, given: [TokenStream; 2]) -> TokenStream {
        let Self { tamis, .. } = self;
        let [first, second] = given;
        let (name, of) = (&handler.name, event(handler));
        let arguments = handler.arguments.iter().map(|argument| {
            let place = |tokens| in_place_of(argument, tokens);
            let (first, second) = (place(first.clone()), place(second.clone()));
            place(quote!(#tamis::handler::arguments::#of::take(#first, #second)))
        });
        let wait = handler.is_async.then(|| quote!(.await));
        quote!(Self::#name(self, #(#arguments),*) #wait)
    }

    fn handlers(&self, kind: Kind) -> impl Iterator<Item = &Handler> {
        self.block.handlers.iter().filter(move |handler| handler.known.kind == kind)
    }
}

/// Tokens as if they stood where a type stands, so that what the compiler has to say about them is said there.
fn in_place_of(argument: &Type, tokens: TokenStream) -> TokenStream {
    let place: Vec<Span> = argument.to_token_stream().into_iter().map(|token| token.span()).collect();
    let (Some(begin), Some(end)) = (place.first(), place.last()) else { return tokens };
    let mut tokens: Vec<TokenTree> = tokens.into_iter().collect();
    // A span reaches from its first token to its last.
    for token in &mut tokens {
        token.set_span(begin.resolved_at(Span::call_site()));
    }
    if let Some(last) = tokens.last_mut() {
        last.set_span(end.resolved_at(Span::call_site()));
    }
    tokens.into_iter().collect()
}

/// The variant of `Event` and `Stage`, and the trait of arguments.
fn event(handler: &Handler) -> Ident {
    format_ident!("{}", handler.known.event)
}
