//! The attribute `#[tamis::filter]`: turns the handlers of an `impl` block into a filter.
//!
//! Used through the crate `tamis`, which documents it; what is made here calls the items of `tamis::handler`.
//!
//! - `options` reads what stands in the attribute's parentheses.
//! - `block` reads the `impl` block: which handlers there are.
//! - `expand` writes the `impl` of the trait.
//!
//! Types are left to the compiler: the output names traits of `tamis::handler`, and which of their `impl`s apply
//! decides what is negotiated and what a handler is given. So aliases and generics mean what they mean elsewhere.
#![forbid(unsafe_code)]

mod block;
mod expand;
mod names;
mod options;
#[cfg(test)]
mod tests;

use proc_macro::TokenStream;

// Documented where it is re-exported, as only there its examples compile.
#[allow(missing_docs)]
#[proc_macro_attribute]
pub fn filter(options: TokenStream, block: TokenStream) -> TokenStream {
    expand::expand(options.into(), block.into()).into()
}
