//! What authors are told, and what their blocks become.

use proc_macro2::TokenStream;
use quote::quote;

use crate::block::Block;
use crate::expand::expand;
use crate::options::Options;

fn said(block: TokenStream) -> Vec<String> {
    match Block::parse(block) {
        Ok(block) => block.errors.iter().map(ToString::to_string).collect(),
        Err(error) => vec![error.to_string()],
    }
}

fn said_to_option(options: TokenStream) -> String {
    Options::parse(options).err().expect("there is something wrong").to_string()
}

#[test]
fn wrong_names_are_answered_with_the_nearest_right_one() {
    for (written, meant) in [
        ("heder", "header"),
        ("Connect", "connect"),
        ("end_of_header", "end_of_headers"),
        ("endofmessage", "end_of_message"),
        ("envfrom", "mail"),
        ("xxfi_envrcpt", "rcpt"),
        ("eoh", "end_of_headers"),
        ("eom", "end_of_message"),
        ("on_mail_from", "mail"),
        ("on_body_chunk", "body"),
        ("hello", "helo"),
        ("negociate", "negotiate"),
    ] {
        let name = quote::format_ident!("{written}");
        let errors = said(quote!(impl F { fn #name(&mut self) {} }));
        let expected = format!("`{written}` is not a handler; did you mean `{meant}`?");
        assert_eq!(errors.iter().map(|error| error.lines().next().unwrap()).collect::<Vec<_>>(), [expected]);
    }
}

#[test]
fn names_like_no_other_are_answered_with_all_handlers_and_where_functions_go() {
    let errors = said(quote!(impl F { fn is_listed(&self, name: &str) -> bool { true } }));
    assert!(errors[0].contains("there are `negotiate`, `connect`,"), "{errors:?}");
    assert!(
        errors[0].ends_with("(a function that is no handler goes into another `impl` block)"),
        "{errors:?}"
    );
}

#[test]
fn everything_wrong_with_a_block_is_said_at_once() {
    let errors = said(quote! {
        impl F {
            type State = ();
            fn connect() -> Verdict { Verdict::Continue }
            fn mail(self: Self) {}
            fn rcpt(&mut self) -> impl Future<Output = Verdict> { async { Verdict::Continue } }
            fn data<const N: usize>(&mut self) {}
            fn body(&mut self, a: &mut Context<'_, ()>, b: &mut Context<'_, ()>) {}
            more!();
        }
    });
    let words = [
        "`State` is not a type that a filter has",
        "its first argument is `&mut self`",
        "its first argument is `&mut self`",
        "what `rcpt` returns has to be written out",
        "nothing says what this is when `data` is called",
        "`body` is given one `&mut`",
        "what a macro makes here would not be seen as a handler",
    ];
    assert_eq!(errors.len(), words.len(), "{errors:?}");
    for (error, words) in errors.iter().zip(words) {
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn impl_of_a_trait_is_refused() {
    let errors = said(quote!(impl tamis::Filter for Mine<S> {}));
    assert_eq!(errors, ["the trait is implemented by the attribute: write `impl Mine < S > { … }`"]);
}

#[test]
fn wrong_options_are_answered_with_the_right_ones() {
    for (options, words) in [
        (quote!(require(add_header)), "`add_header` is not an action; did you mean `add_headers`?"),
        (quote!(allow(chghdrs)), "did you mean `change_headers`?"),
        (quote!(allow(macro_lists)), "`macro_lists` is not an action; there are `add_headers`"),
        (quote!(leadingspace), "is not an option of `tamis::filter`; did you mean `leading_space`?"),
        (quote!(macros(hello = [])), "did you mean `helo`?"),
        (quote!(macros(body = [])), "is not a stage that macros can be asked for at; there are `connect`"),
        (quote!(macros = ["i"]), "`macros` has a list: `macros(mail = [\"auth_authen\"])`"),
        (quote!(data_size = "2m"), "`2m` is not a data size; there are `64k`, `256k`, `1m`"),
        (quote!(if_missing = tempfial), "did you mean `tempfail`?"),
        (quote!(skip), "`skip` has a value: `skip = false`"),
        (quote!(leading_space = true), "`leading_space` has no value"),
        (quote!(skip = true, skip = false), "`skip` is given twice"),
        (quote!(tamis::skip = true), "expected a single word"),
        (quote!("skip"), "expected"),
    ] {
        let error = said_to_option(options.clone());
        assert!(error.contains(words), "{options}: {error}");
    }
}

#[test]
fn what_is_right_is_expanded_beside_what_is_wrong() {
    let block = quote! {
        impl F {
            fn heder(&mut self) {}
            fn helo(&mut self) {}
        }
    };
    let output = expand(quote!(nonsense), block).to_string();
    assert_eq!(output.matches("compile_error").count(), 2);
    assert!(output.contains(":: tamis :: Filter for F"), "{output}");
    assert!(output.contains("Self :: helo (self"), "{output}");
    // Still there for whoever calls it.
    assert!(output.contains("fn heder"), "{output}");
}
