//! What stands in the attribute's parentheses: `require(add_headers), macros(mail = ["i"]), leading_space`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::meta::ParseNestedMeta;
use syn::parse::{Parse, Parser};
use syn::punctuated::Punctuated;
use syn::{Error, LitBool, LitStr, Path, Result, Token, bracketed, token};

use crate::names;

const OPTIONS: [&str; 10] = [
    "require",
    "allow",
    "collect",
    "if_missing",
    "macros",
    "data_size",
    "skip",
    "rejected_recipients",
    "leading_space",
    "crate",
];

/// The flags of `tamis::Actions`, but for that of macro lists, which follows from `macros(…)`.
const ACTIONS: [&str; 8] = [
    "add_headers",
    "replace_body",
    "add_recipients",
    "delete_recipients",
    "change_headers",
    "quarantine",
    "change_sender",
    "add_recipients_with_args",
];

/// The flags of libmilter, less `SMFIF_`.
const ACTIONS_ELSEWHERE: [(&str, &str); 9] = [
    ("addhdrs", "add_headers"),
    ("chghdrs", "change_headers"),
    ("chgbody", "replace_body"),
    ("modbody", "replace_body"),
    ("addrcpt", "add_recipients"),
    ("addrcpt_par", "add_recipients_with_args"),
    ("delrcpt", "delete_recipients"),
    ("chgfrom", "change_sender"),
    ("delete_headers", "change_headers"),
];

/// The methods of `tamis::Collect`.
const PARTS: [&str; 3] = ["envelope", "headers", "body"];

const MACRO_STAGES: [(&str, &str); 7] = [
    ("connect", "Connect"),
    ("helo", "Helo"),
    ("mail", "Mail"),
    ("rcpt", "Rcpt"),
    ("data", "Data"),
    ("end_of_headers", "EndOfHeaders"),
    ("end_of_message", "EndOfMessage"),
];

const IF_MISSING: [(&str, &str); 2] = [("close", "Close"), ("tempfail", "TempfailMail")];

const DATA_SIZES: [(&str, &str); 3] = [("64k", "K64"), ("256k", "K256"), ("1m", "M1")];

/// What was declared. Identifiers are those of `tamis`, in the place of what the author wrote for them.
#[derive(Default)]
pub(crate) struct Options {
    krate: Option<Path>,
    require: Vec<Ident>,
    allow: Vec<Ident>,
    collect: Vec<Ident>,
    if_missing: Option<Ident>,
    macros: Vec<(Ident, Vec<LitStr>)>,
    data_size: Option<Ident>,
    skip: Option<LitBool>,
    rejected_recipients: bool,
    leading_space: bool,
}

impl Options {
    pub(crate) fn parse(tokens: TokenStream) -> Result<Self> {
        let mut options = Self::default();
        let mut given: Vec<Ident> = Vec::new();
        let parser = syn::meta::parser(|meta| {
            let name = name(&meta)?;
            if given.contains(&name) {
                return Err(Error::new(name.span(), format!("`{name}` is given twice")));
            }
            options.read(&name, &meta)?;
            given.push(name);
            Ok(())
        });
        parser.parse2(tokens)?;
        Ok(options)
    }

    fn read(&mut self, name: &Ident, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let option = OPTIONS[names::find(name, "an option of `tamis::filter`", &OPTIONS, |name| name)?];
        match option {
            "require" => self.require = actions(name, meta)?,
            "allow" => self.allow = actions(name, meta)?,
            "collect" => list(name, meta, "headers", |part| {
                let written = self::name(&part)?;
                names::find(&written, "a part of the message", &PARTS, |name| name)?;
                self.collect.push(written);
                Ok(())
            })?,
            "if_missing" => {
                let policy: Ident = value(name, meta, "tempfail")?;
                let at = names::find(&policy, "a policy for missing actions", &IF_MISSING, |(name, _)| name)?;
                self.if_missing = Some(Ident::new(IF_MISSING[at].1, policy.span()));
            }
            "macros" => list(name, meta, "mail = [\"auth_authen\"]", |stage| {
                self.macros.push(macro_list(&stage)?);
                Ok(())
            })?,
            "data_size" => self.data_size = Some(data_size(&value(name, meta, "\"256k\"")?)?),
            "skip" => self.skip = Some(value(name, meta, "false")?),
            "rejected_recipients" => self.rejected_recipients = flag(name, meta)?,
            "leading_space" => self.leading_space = flag(name, meta)?,
            "crate" => self.krate = Some(meta.value()?.call(Path::parse_mod_style)?),
            other => unreachable!("{other} is in the list and nowhere else"),
        }
        Ok(())
    }

    /// Where the crate `tamis` is.
    pub(crate) fn tamis(&self) -> TokenStream {
        self.krate.as_ref().map_or_else(|| quote!(::tamis), ToTokens::to_token_stream)
    }

    /// What is to be collected as a value of `Collect`, if anything is.
    pub(crate) fn collect(&self) -> Option<TokenStream> {
        let (tamis, parts) = (self.tamis(), &self.collect);
        (!parts.is_empty()).then(|| quote!(#tamis::Collect::nothing()#(.#parts())*))
    }

    /// What was declared as a value of `Needs`.
    pub(crate) fn needs(&self) -> TokenStream {
        let tamis = self.tamis();
        let mut needs = quote!(#tamis::Needs::new());
        for (call, flags) in [("require", &self.require), ("allow", &self.allow)] {
            if !flags.is_empty() {
                let call = format_ident!("{call}");
                needs.extend(quote!(.#call(#(#tamis::Actions::#flags)|*)));
            }
        }
        if let Some(policy) = &self.if_missing {
            needs.extend(quote!(.if_missing(#tamis::IfMissing::#policy)));
        }
        for (stage, names) in &self.macros {
            // The type is for a list of none.
            let count = names.len();
            needs
                .extend(quote!(.macros::<&str>(#tamis::MacroStage::#stage, [#(#names),*] as [&str; #count])));
        }
        if let Some(size) = &self.data_size {
            needs.extend(quote!(.data_size(#tamis::DataSize::#size)));
        }
        if let Some(skip) = &self.skip {
            needs.extend(quote!(.skip(#skip)));
        }
        if self.rejected_recipients {
            needs.extend(quote!(.rejected_recipients()));
        }
        if self.leading_space {
            needs.extend(quote!(.leading_space()));
        }
        needs
    }
}

fn name(meta: &ParseNestedMeta<'_>) -> Result<Ident> {
    meta.path.get_ident().cloned().ok_or_else(|| meta.error("expected a single word"))
}

/// An option that is given by its name alone.
fn flag(name: &Ident, meta: &ParseNestedMeta<'_>) -> Result<bool> {
    if meta.input.is_empty() || meta.input.peek(Token![,]) {
        return Ok(true);
    }
    Err(meta.input.error(format!("`{name}` has no value: write it, or leave it out")))
}

/// An option that has one value.
fn value<T: Parse>(option: &Ident, meta: &ParseNestedMeta<'_>, example: &str) -> Result<T> {
    if !meta.input.peek(Token![=]) {
        return Err(Error::new(option.span(), format!("`{option}` has a value: `{option} = {example}`")));
    }
    meta.value()?.parse()
}

/// An option that has a list in parentheses.
fn list(
    option: &Ident,
    meta: &ParseNestedMeta<'_>,
    example: &str,
    each: impl FnMut(ParseNestedMeta<'_>) -> Result<()>,
) -> Result<()> {
    if !meta.input.peek(token::Paren) {
        return Err(Error::new(option.span(), format!("`{option}` has a list: `{option}({example})`")));
    }
    meta.parse_nested_meta(each)
}

fn actions(option: &Ident, meta: &ParseNestedMeta<'_>) -> Result<Vec<Ident>> {
    let mut flags = Vec::new();
    list(option, meta, "add_headers", |action| {
        let written = name(&action)?;
        let at = names::find_or_translate(&written, "an action", &ACTIONS, |name| name, &ACTIONS_ELSEWHERE)?;
        flags.push(Ident::new(&ACTIONS[at].to_uppercase(), written.span()));
        Ok(())
    })?;
    Ok(flags)
}

/// `mail = ["auth_authen", "i"]`.
fn macro_list(meta: &ParseNestedMeta<'_>) -> Result<(Ident, Vec<LitStr>)> {
    let stage = name(meta)?;
    let what = "a stage that macros can be asked for at";
    let at = names::find(&stage, what, &MACRO_STAGES, |(name, _)| name)?;
    let content;
    let value = meta.value()?;
    bracketed!(content in value);
    let names = Punctuated::<LitStr, Token![,]>::parse_terminated(&content)?;
    Ok((Ident::new(MACRO_STAGES[at].1, stage.span()), names.into_iter().collect()))
}

fn data_size(written: &LitStr) -> Result<Ident> {
    let value = written.value().to_lowercase();
    let size = DATA_SIZES.iter().find(|(name, _)| *name == value);
    size.map(|(_, size)| Ident::new(size, Span::call_site())).ok_or_else(|| {
        let names = DATA_SIZES.map(|(name, _)| name);
        Error::new(written.span(), format!("`{value}` is not a data size; there are {}", names::list(&names)))
    })
}
