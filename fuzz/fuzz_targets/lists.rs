//! Any text as a file of each kind of list, and any bytes as the value of `Authentication-Results`: a file is taken if
//! and only if each of its lines is, and a mistake names its line; an identifier that was read is read again however it
//! is written.
//!
//! Input: a byte that chooses, then the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tamis::message::Address;
use tamis_filters::headers::AuthservId;
use tamis_filters::lists::{Addresses, Domains, Lines, Networks, ReadLines, Words, looks_dynamic};

fuzz_target!(|data: &[u8]| {
    let Some((choice, text)) = data.split_first() else { return };
    match choice % 6 {
        0 => file::<Networks>(text, |list, entry| {
            if let Ok(address) = entry.parse() {
                list.contains(address);
            }
        }),
        1 => file::<Domains>(text, |list, entry| {
            list.contains(entry);
        }),
        2 => file::<Addresses>(text, |list, entry| {
            list.contains(&Address::parse(entry.to_owned()));
        }),
        3 => file::<Words>(text, |list, entry| {
            list.contains(entry);
        }),
        4 => identifier(text),
        _ => {
            let (address, name) = text.split_at(text.len().min(16));
            let mut octets = [0; 16];
            octets[..address.len()].copy_from_slice(address);
            looks_dynamic(octets.into(), &String::from_utf8_lossy(name));
        }
    }
});

/// Reads a file, and looks each of its lines up in what it makes.
fn file<T: ReadLines>(text: &[u8], look: impl Fn(&T, &str)) {
    let lines = text.split(|byte| *byte == b'\n');
    let bad: Vec<usize> = (1..)
        .zip(lines.clone())
        .filter_map(|(number, line)| Lines::<T>::parse(&"line", line).err().map(|_| number))
        .collect();
    match Lines::<T>::parse(&"file", text) {
        Ok(list) => {
            assert!(bad.is_empty(), "a line that is wrong alone is wrong in a file");
            for entry in lines.filter_map(|line| std::str::from_utf8(line).ok()) {
                look(&list, entry);
            }
        }
        Err(errors) => {
            let told: Vec<&str> = errors.iter().collect();
            for (number, error) in bad.iter().zip(&told).take(10) {
                assert!(error.starts_with(&format!("file:{number}: ")), "{error}");
            }
            // Patterns that can be used alone may be too many together.
            assert!(!bad.is_empty() || told.iter().all(|error| error.contains("together")), "{told:?}");
        }
    }
}

fn identifier(value: &[u8]) {
    let Ok(id) = AuthservId::parse(value) else { return };
    let quoted: String = id.name().chars().flat_map(|letter| ['\\', letter]).collect();
    let again = format!("(x (y))\r\n \"{quoted}\"\t({}) {};", "z\\)", id.version());
    // Only what is in ASCII can have a backslash before it.
    if id.name().is_ascii() {
        assert_eq!(AuthservId::parse(again.as_bytes()).as_ref(), Ok(&id), "{again:?}");
    }
}
