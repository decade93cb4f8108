//! Calls of smfi_ functions by chance, with arguments of all kinds.

use crate::dice::Dice;

const NAMES: [&str; 6] = ["\"X-Added\"", "\"Subject\"", "\"\"", "~", "\"a b:\"", "\"\\xe9\""];
const VALUES: [&str; 7] =
    ["\"v\"", "\" lead\"", "\"\"", "~", "\"one\\x0a\\x09two\"", "\"cr\\x0d\\x0alf\"", "*3000:\"long \""];
const ADDRESSES: [&str; 6] =
    ["\"<new@example.org>\"", "\"plain@example.org\"", "\"<>\"", "\"\"", "~", "\"a\\x0d\\x0ab\""];
const ARGUMENTS: [&str; 4] = ["~", "\"\"", "\"NOTIFY=NEVER\"", "\"RET=HDRS ENVID=a\""];
const CODES: [&str; 12] = [
    "\"550\"", "\"451\"", "\"421\"", "\"554\"", "\"250\"", "\"55\"", "\"5500\"", "~", "\"\"", "\"4a0\"",
    "\"650\"", "\"499\"",
];
const STATUSES: [&str; 12] = [
    "~",
    "\"5.7.1\"",
    "\"4.0.0\"",
    "\"2.1.5\"",
    "\"5.123.999\"",
    "\"5.1234.1\"",
    "\"5.7\"",
    "\"\"",
    "\"6.1.1\"",
    "\"5.7.1x\"",
    "\"5..1\"",
    "\"5.7.\"",
];
const TEXTS: [&str; 9] = [
    "~",
    "\"no\"",
    "\"100% sure %s %%\"",
    "\"\"",
    "\"cr\\x0d\"",
    "\"lf\\x0a\"",
    "*980:\"x\"",
    "*981:\"x\"",
    "\"\\xff\\x01\"",
];
const MACROS: [&str; 8] =
    ["\"i\"", "\"{i}\"", "\"{mail_addr}\"", "\"mail_addr\"", "\"\"", "~", "\"{\"", "\"{ii}\""];

/// An edit of the message, legal at the end of one.
pub(super) fn edit(dice: &mut Dice) -> String {
    let index = dice.pick(&[0, 1, 2, 100, -1, i32::MAX, i32::MIN]);
    match dice.below(10) {
        0 => format!("addheader {} {}", dice.pick(&NAMES), dice.pick(&VALUES)),
        1 => format!("insheader {index} {} {}", dice.pick(&NAMES), dice.pick(&VALUES)),
        2 => format!("chgheader {} {index} {}", dice.pick(&NAMES), dice.pick(&VALUES)),
        3 => format!("chgfrom {} {}", dice.pick(&ADDRESSES), dice.pick(&ARGUMENTS)),
        4 => format!("addrcpt {}", dice.pick(&ADDRESSES)),
        5 => format!("addrcpt_par {} {}", dice.pick(&ADDRESSES), dice.pick(&ARGUMENTS)),
        6 => format!("delrcpt {}", dice.pick(&ADDRESSES)),
        7 => format!("quarantine {}", dice.pick(&["\"why\"", "\"\"", "~", "\"a\\x0ab\""])),
        8 => body(dice),
        _ => "progress".to_owned(),
    }
}

fn body(dice: &mut Dice) -> String {
    match dice.below(8) {
        0 => "replacebody ~ 0".to_owned(),
        1 => "replacebody ~ 5".to_owned(),
        2 => "replacebody \"x\" -1".to_owned(),
        3 => format!("replacebody *{}:\"z\"", dice.pick(&[65_535, 65_536, 70_000, 131_070, 200_000])),
        4 => "replacebody \"\"".to_owned(),
        _ => "replacebody \"new\\x0d\\x0abody\\x00\\xff\"".to_owned(),
    }
}

/// A call that is legal in any callback.
pub(super) fn anywhere(dice: &mut Dice) -> String {
    match dice.below(10) {
        0..=3 => reply(dice),
        4 | 5 => lines(dice),
        6 => format!("setpriv {}", dice.below(3)),
        7 => "getpriv".to_owned(),
        _ => format!("getsymval {}", dice.pick(&MACROS)),
    }
}

/// A reply for the next verdict.
pub(super) fn reply(dice: &mut Dice) -> String {
    format!("setreply {} {} {}", dice.pick(&CODES), dice.pick(&STATUSES), dice.pick(&TEXTS))
}

fn lines(dice: &mut Dice) -> String {
    // None at all is a malformed reply in the stock library (§9.4).
    let count = if dice.one_in(10) { dice.pick(&[31, 32, 33, 40]) } else { 1 + dice.below(4) };
    let mut call = format!("setmlreply {} {}", dice.pick(&CODES), dice.pick(&STATUSES));
    for number in 0..count {
        let text = if number == 0 || dice.one_in(6) { dice.pick(&TEXTS[1..]) } else { "\"more\"" };
        call.push(' ');
        call.push_str(text);
    }
    call
}

/// A call without the context that it belongs to.
pub(super) fn without_context(dice: &mut Dice) -> String {
    let call = if dice.one_in(2) { edit(dice) } else { anywhere(dice) };
    format!("null-{call}")
}

/// Macro lists, legal when negotiating.
pub(super) fn macro_list(dice: &mut Dice) -> String {
    let stage = dice.pick(&[0, 1, 2, 3, 4, 5, 6, 7, -1]);
    format!("setsymlist {stage} {}", dice.pick(&["\"i {mail_addr}\"", "\"\"", "~", "\"j, _\"", "\" \""]))
}
