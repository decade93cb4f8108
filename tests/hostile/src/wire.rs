//! Bytes as an MTA sends them, right or wrong. Nothing is checked here: that is the point.

/// Every action that an MTA can offer (§4.3).
pub const ACTIONS: u32 = 0x1ff;

/// Every step bit that Postfix 3.7 offers (§4.4): the filter may leave out steps and answers.
pub const ALL_STEPS: u32 = 0x1f_ffff;

/// No step bit: every command is sent, and every one is answered.
pub const NO_STEPS: u32 = 0;

/// Most bytes of a body in one frame (§2.10).
pub const CHUNK: usize = 65_535;

/// One frame.
///
/// # Panics
///
/// When the payload fits no length field.
pub fn frame(code: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 1).expect("no attack has a frame of 4 GiB");
    [&length.to_be_bytes(), &[code][..], payload].concat()
}

/// One frame whose payload are strings, each with its NUL.
pub fn strings(code: u8, strings: &[&[u8]]) -> Vec<u8> {
    let payload: Vec<u8> = strings.iter().flat_map(|string| [string, &b"\0"[..]].concat()).collect();
    frame(code, &payload)
}

/// An offer.
pub fn offer(version: u32, actions: u32, steps: u32) -> Vec<u8> {
    frame(b'O', &[version, actions, steps].map(u32::to_be_bytes).concat())
}

/// A client that connects over IPv4.
pub fn connect() -> Vec<u8> {
    frame(b'C', b"client.example\x004\x30\x39192.0.2.1\0")
}

/// Macros for a command.
pub fn macros(code: u8, pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut payload = vec![code];
    for (name, value) in pairs {
        payload.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
    }
    frame(b'D', &payload)
}

/// A frame of `count` macros, eight bytes each.
pub fn many_macros(code: u8, count: u32) -> Vec<u8> {
    let mut payload = vec![code];
    for number in 0..count {
        payload.extend_from_slice(format!("{number:05x}\0v\0").as_bytes());
    }
    frame(b'D', &payload)
}
