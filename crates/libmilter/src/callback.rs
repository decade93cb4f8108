//! From an event to the program's callback.
//!
//! Texts are given as pointers into the receive buffer, where each has its NUL; the program may change them in place.

use std::ffi::c_char;

use tamis_proto::command::{Client, Envelope};
use tamis_proto::{Event, Offer, Stage};

use crate::descr::{Ctx, Filter, Status};
use crate::sys::SocketAddress;

/// An event, its texts as places in the receive buffer.
pub(crate) enum Call {
    Negotiate(Offer),
    Connect {
        host: usize,
        address: Option<SocketAddress>,
    },
    Helo(usize),
    /// The address and its parameters are in [`Arguments`].
    Mail,
    Rcpt,
    Data,
    Header {
        name: usize,
        value: usize,
    },
    EndOfHeaders,
    Body {
        at: usize,
        length: usize,
    },
    EndOfMessage,
    Unknown(usize),
    Abort,
    Close,
}

/// The strings of one command, kept by the thread so that nothing is allocated for most.
#[derive(Default)]
pub(crate) struct Arguments {
    places: Vec<usize>,
    pointers: Vec<*mut c_char>,
}

impl Call {
    /// Reads where an event's texts are in `buf`, in which they were found.
    pub(crate) fn new(event: &Event<&[u8]>, buf: &[u8], arguments: &mut Arguments) -> Self {
        let base = buf.as_ptr().addr();
        let at = |text: &[u8]| text.as_ptr().addr() - base;
        let mut strings = |envelope: &Envelope<&[u8]>| {
            arguments.places.clear();
            arguments.places.push(at(envelope.address));
            arguments.places.extend(envelope.args().map(at));
        };
        match event {
            Event::Negotiate(offer) => Self::Negotiate(*offer),
            Event::Connect(connect) => {
                let address = match connect.client() {
                    Client::Inet(address) => Some(SocketAddress::inet(address)),
                    Client::Unix(path) => Some(SocketAddress::unix(path)),
                    Client::Unknown => None,
                };
                Self::Connect { host: at(connect.host), address }
            }
            Event::Helo(name) => Self::Helo(at(name)),
            Event::Mail(sender) => {
                strings(sender);
                Self::Mail
            }
            Event::Rcpt(recipient) => {
                strings(recipient);
                Self::Rcpt
            }
            Event::Data => Self::Data,
            Event::Header(header) => Self::Header { name: at(header.name), value: at(header.value) },
            Event::EndOfHeaders => Self::EndOfHeaders,
            Event::Body(piece) => Self::Body { at: at(piece), length: piece.len() },
            Event::EndOfMessage => Self::EndOfMessage,
            Event::Unknown(line) => Self::Unknown(at(line)),
            Event::Abort => Self::Abort,
            Event::Close => Self::Close,
        }
    }

    /// The stage that is answered.
    pub(crate) const fn stage(&self) -> Option<Stage> {
        Some(match self {
            Self::Connect { .. } => Stage::Connect,
            Self::Helo(_) => Stage::Helo,
            Self::Mail => Stage::Mail,
            Self::Rcpt => Stage::Rcpt,
            Self::Data => Stage::Data,
            Self::Header { .. } => Stage::Header,
            Self::EndOfHeaders => Stage::EndOfHeaders,
            Self::Body { .. } => Stage::Body,
            Self::EndOfMessage => Stage::EndOfMessage,
            Self::Unknown(_) => Stage::Unknown,
            Self::Negotiate(_) | Self::Abort | Self::Close => return None,
        })
    }

    /// The callback's name, for messages.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Negotiate(_) => "xxfi_negotiate",
            Self::Connect { .. } => "xxfi_connect",
            Self::Helo(_) => "xxfi_helo",
            Self::Mail => "xxfi_envfrom",
            Self::Rcpt => "xxfi_envrcpt",
            Self::Data => "xxfi_data",
            Self::Header { .. } => "xxfi_header",
            Self::EndOfHeaders => "xxfi_eoh",
            Self::Body { .. } => "xxfi_body",
            Self::EndOfMessage => "xxfi_eom",
            Self::Unknown(_) => "xxfi_unknown",
            Self::Abort => "xxfi_abort",
            Self::Close => "xxfi_close",
        }
    }

    /// Calls the program, if it has a callback for the event. The negotiation is not for this.
    pub(crate) fn run(
        self,
        filter: &Filter,
        ctx: Ctx,
        buf: &mut [u8],
        arguments: &mut Arguments,
    ) -> Option<Status> {
        let base: *mut u8 = buf.as_mut_ptr();
        // Places are within the buffer, so wrapping never happens.
        let text = |at: usize| base.wrapping_add(at).cast::<c_char>();
        match self {
            // SAFETY, here and below: the program registered the callback with this type; texts are in a buffer of
            // this thread that nothing else touches until it returns, and the decoder saw the NUL of each.
            Self::Connect { host, mut address } => filter.connect.map(|call| {
                let address = address.as_mut().map_or(std::ptr::null_mut(), SocketAddress::raw_mut);
                // SAFETY: above; the address is null or an object of its family.
                unsafe { call(ctx, text(host), address) }
            }),
            // SAFETY: above.
            Self::Helo(name) => filter.helo.map(|call| unsafe { call(ctx, text(name)) }),
            // SAFETY: above; the array ends with a null pointer.
            Self::Mail => filter.envfrom.map(|call| unsafe { call(ctx, arguments.array(base)) }),
            // SAFETY: above.
            Self::Rcpt => filter.envrcpt.map(|call| unsafe { call(ctx, arguments.array(base)) }),
            // SAFETY: above.
            Self::Data => filter.data.map(|call| unsafe { call(ctx) }),
            Self::Header { name, value } => {
                // SAFETY: above.
                filter.header.map(|call| unsafe { call(ctx, text(name), text(value)) })
            }
            // SAFETY: above.
            Self::EndOfHeaders => filter.eoh.map(|call| unsafe { call(ctx) }),
            Self::Body { at, length } => {
                // SAFETY: above; that many bytes are there.
                filter.body.map(|call| unsafe { call(ctx, base.wrapping_add(at), length) })
            }
            // SAFETY: above.
            Self::EndOfMessage => filter.eom.map(|call| unsafe { call(ctx) }),
            // SAFETY: above.
            Self::Unknown(line) => filter.unknown.map(|call| unsafe { call(ctx, text(line)) }),
            // SAFETY: above.
            Self::Abort => filter.abort.map(|call| unsafe { call(ctx) }),
            // SAFETY: above.
            Self::Close => filter.close.map(|call| unsafe { call(ctx) }),
            Self::Negotiate(_) => None,
        }
    }
}

impl Arguments {
    /// The strings as `argv` has them.
    fn array(&mut self, base: *mut u8) -> *mut *mut c_char {
        self.pointers.clear();
        self.pointers.extend(self.places.iter().map(|at| base.wrapping_add(*at).cast::<c_char>()));
        self.pointers.push(std::ptr::null_mut());
        self.pointers.as_mut_ptr()
    }
}
