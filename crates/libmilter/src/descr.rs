//! What a program registers: `struct smfiDesc` (spec §9.2), and what is kept of it.

use std::ffi::{c_char, c_int, c_long, c_uchar, c_ulong, c_void};
use std::mem::MaybeUninit;

use tamis_proto::Stage;

/// A connection, as C programs hold it: opaque, and never looked into (see [`crate::context`]).
pub(crate) type Ctx = *mut c_void;

/// `sfsistat`, what callbacks return.
pub(crate) type Status = c_int;

pub(crate) type Plain = unsafe extern "C" fn(Ctx) -> Status;
pub(crate) type WithText = unsafe extern "C" fn(Ctx, *mut c_char) -> Status;
pub(crate) type WithConstText = unsafe extern "C" fn(Ctx, *const c_char) -> Status;
pub(crate) type WithArgs = unsafe extern "C" fn(Ctx, *mut *mut c_char) -> Status;
pub(crate) type WithHeader = unsafe extern "C" fn(Ctx, *mut c_char, *mut c_char) -> Status;
pub(crate) type WithBytes = unsafe extern "C" fn(Ctx, *mut c_uchar, usize) -> Status;
pub(crate) type WithClient = unsafe extern "C" fn(Ctx, *mut c_char, *mut libc::sockaddr) -> Status;
pub(crate) type WithOptions = unsafe extern "C" fn(
    Ctx,
    c_ulong,
    c_ulong,
    c_ulong,
    c_ulong,
    *mut c_ulong,
    *mut c_ulong,
    *mut c_ulong,
    *mut c_ulong,
) -> Status;

/// `struct smfiDesc`, which programs pass by value. Those of old versions pass a shorter one, so that the last
/// fields are whatever lies behind it on their stack.
#[repr(C)]
pub(crate) struct SmfiDesc {
    name: *mut c_char,
    version: c_int,
    flags: c_ulong,
    connect: Option<WithClient>,
    helo: Option<WithText>,
    envfrom: Option<WithArgs>,
    envrcpt: Option<WithArgs>,
    header: Option<WithHeader>,
    eoh: Option<Plain>,
    body: Option<WithBytes>,
    eom: Option<Plain>,
    abort: Option<Plain>,
    close: Option<Plain>,
    unknown: MaybeUninit<Option<WithConstText>>,
    data: MaybeUninit<Option<Plain>>,
    negotiate: MaybeUninit<Option<WithOptions>>,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<SmfiDesc>() == 128 && align_of::<SmfiDesc>() == 8);

/// The version of this library, as in `SMFI_VERSION` of the headers.
pub(crate) const VERSION: c_int = 0x0100_0001;

/// A registered filter: its name, what it may do, its callbacks.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) name: Vec<u8>,
    pub(crate) flags: c_ulong,
    pub(crate) connect: Option<WithClient>,
    pub(crate) helo: Option<WithText>,
    pub(crate) envfrom: Option<WithArgs>,
    pub(crate) envrcpt: Option<WithArgs>,
    pub(crate) header: Option<WithHeader>,
    pub(crate) eoh: Option<Plain>,
    pub(crate) body: Option<WithBytes>,
    pub(crate) eom: Option<Plain>,
    pub(crate) abort: Option<Plain>,
    pub(crate) close: Option<Plain>,
    pub(crate) unknown: Option<WithConstText>,
    pub(crate) data: Option<Plain>,
    pub(crate) negotiate: Option<WithOptions>,
}

/// A version of `smfiDesc` that this library does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WrongVersion {
    pub(crate) name: [u8; 32],
    pub(crate) version: c_int,
}

impl SmfiDesc {
    /// Takes what the program's version of the struct has.
    ///
    /// # Safety
    ///
    /// `name` is null or a C string.
    pub(crate) unsafe fn filter(&self) -> Result<Filter, WrongVersion> {
        // SAFETY: as the caller says.
        let name = unsafe { crate::ffi::text(self.name) }.unwrap_or(b"Unknown");
        if !is_served(self.version) {
            let mut start = [0; 32];
            let count = name.len().min(start.len());
            start[..count].copy_from_slice(&name[..count]);
            return Err(WrongVersion { name: start, version: self.version });
        }
        Ok(Filter {
            name: name.to_vec(),
            flags: self.flags,
            connect: self.connect,
            helo: self.helo,
            envfrom: self.envfrom,
            envrcpt: self.envrcpt,
            header: self.header,
            eoh: self.eoh,
            body: self.body,
            eom: self.eom,
            abort: self.abort,
            close: self.close,
            // SAFETY: a struct of this version has the field, and the program has set it.
            unknown: if self.version > 2 { unsafe { self.unknown.assume_init() } } else { None },
            // SAFETY: as above.
            data: if self.version > 3 { unsafe { self.data.assume_init() } } else { None },
            // SAFETY: as above.
            negotiate: if self.version > 4 { unsafe { self.negotiate.assume_init() } } else { None },
        })
    }
}

/// Versions 2 to 4 are from before there were library versions; of those, major and minor must be ours.
fn is_served(version: c_int) -> bool {
    let (major, minor) = (|v: c_int| (v & 0x7f00_0000) >> 24, |v: c_int| (v & 0x007f_ff00) >> 8);
    (2..=4).contains(&version) || (major(version), minor(version)) == (major(VERSION), minor(VERSION))
}

impl Filter {
    /// Whether there is a callback for a stage.
    pub(crate) const fn has(&self, stage: Stage) -> bool {
        match stage {
            Stage::Connect => self.connect.is_some(),
            Stage::Helo => self.helo.is_some(),
            Stage::Mail => self.envfrom.is_some(),
            Stage::Rcpt => self.envrcpt.is_some(),
            Stage::Data => self.data.is_some(),
            Stage::Header => self.header.is_some(),
            Stage::EndOfHeaders => self.eoh.is_some(),
            Stage::Body => self.body.is_some(),
            Stage::EndOfMessage => self.eom.is_some(),
            Stage::Unknown => self.unknown.is_some(),
        }
    }

    /// The name for messages.
    pub(crate) fn display_name(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.name)
    }
}

/// `SMFIS_…`, what callbacks may return.
pub(crate) mod status {
    use super::Status;

    pub(crate) const CONTINUE: Status = 0;
    pub(crate) const REJECT: Status = 1;
    pub(crate) const DISCARD: Status = 2;
    pub(crate) const ACCEPT: Status = 3;
    pub(crate) const TEMPFAIL: Status = 4;
    pub(crate) const NOREPLY: Status = 7;
    pub(crate) const SKIP: Status = 8;
    pub(crate) const ALL_OPTS: Status = 10;
}

/// `MI_SUCCESS`.
pub(crate) const SUCCESS: c_int = 0;
/// `MI_FAILURE`.
pub(crate) const FAILURE: c_int = -1;

/// A `long` of 32 bits of options, as `smfiDesc` and the negotiation callback have them.
pub(crate) const fn low_bits(options: c_ulong) -> u32 {
    (options & 0xffff_ffff) as u32
}

/// Options as the negotiation callback is given them: an `int` made a `long`, sign and all (spec §9.5).
pub(crate) const fn widened(bits: u32) -> c_ulong {
    (bits.cast_signed() as c_long).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patch_levels_are_free_and_nothing_else_is() {
        for served in [2, 3, 4, VERSION, 0x0100_0000, 0x0100_007f, 0x0100_0002] {
            assert!(is_served(served), "{served:#x}");
        }
        for refused in [0, 1, 5, 6, 0x0200_0001, 0x0100_0101, -1] {
            assert!(!is_served(refused), "{refused:#x}");
        }
    }

    #[test]
    fn options_are_widened_with_their_sign() {
        assert_eq!(widened(0x1ff), 0x1ff);
        #[cfg(target_pointer_width = "64")]
        assert_eq!(widened(0x8fff_ffff), 0xffff_ffff_8fff_ffff);
        assert_eq!(low_bits(widened(0xffff_ffff)), 0xffff_ffff);
    }
}
