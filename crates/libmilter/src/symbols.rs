//! Values of macros that a program was given pointers to (`smfi_getsymval`, spec §2.14).
//!
//! Such a pointer is good until the macros of its stage are replaced or cleared, which is later than the next packet
//! of macros, where the session may move its own copy. So each value that was asked for is kept apart.

use std::ffi::CString;

use tamis_proto::{MacroTable, Stage};

/// Values that were asked for.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    kept: Vec<Symbol>,
    /// Values that are no longer to be had are dropped when there are more than this.
    tidy_at: u32,
}

#[derive(Debug)]
struct Symbol {
    stage: Stage,
    name: Box<[u8]>,
    value: CString,
}

/// Stages whose macros are looked at, from the one that wins. libmilter keeps no others.
const STAGES: [Stage; 7] = [
    Stage::EndOfMessage,
    Stage::EndOfHeaders,
    Stage::Data,
    Stage::Rcpt,
    Stage::Mail,
    Stage::Helo,
    Stage::Connect,
];

const FEW: u32 = 16;

impl Symbols {
    /// Finds a macro's value, and keeps it where it is for as long as the macro is there.
    pub(crate) fn get(&mut self, macros: &MacroTable, name: &[u8]) -> Option<*const std::ffi::c_char> {
        let (stage, value) = find(macros, name)?;
        let known = |symbol: &&Symbol| {
            symbol.stage == stage && *symbol.name == *name && symbol.value.as_bytes() == value
        };
        if let Some(symbol) = self.kept.iter().find(known) {
            return Some(symbol.value.as_ptr());
        }
        if self.kept.len() >= self.tidy_at.max(FEW) as usize {
            self.drop_old(macros);
            self.tidy_at = u32::try_from(self.kept.len() * 2).unwrap_or(u32::MAX);
        }
        let value = CString::new(value).expect("values on the wire end at their NUL");
        let pointer = value.as_ptr();
        self.kept.push(Symbol { stage, name: name.into(), value });
        Some(pointer)
    }

    /// Drops what is no longer to be had, between messages; whether nothing is left.
    pub(crate) fn tidy(&mut self, macros: &MacroTable) -> bool {
        self.drop_old(macros);
        self.kept.is_empty()
    }

    fn drop_old(&mut self, macros: &MacroTable) {
        self.kept
            .retain(|symbol| of_stage(macros, symbol.stage, &symbol.name) == Some(symbol.value.as_bytes()));
    }
}

fn find<'a>(macros: &'a MacroTable, name: &[u8]) -> Option<(Stage, &'a [u8])> {
    STAGES.into_iter().find_map(|stage| Some((stage, of_stage(macros, stage, name)?)))
}

fn of_stage<'a>(macros: &'a MacroTable, stage: Stage, name: &[u8]) -> Option<&'a [u8]> {
    macros.of_stage(stage).find(|(key, _)| is_same(key, name)).map(|(_, value)| value)
}

/// `x` and `{x}` are the same; longer names are compared as they are.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    fn letter(name: &[u8]) -> Option<u8> {
        match name {
            [letter] | [b'{', letter, b'}'] => Some(*letter),
            _ => None,
        }
    }
    one == other || letter(one).is_some_and(|one| Some(one) == letter(other))
}
