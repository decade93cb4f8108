//! What an MTA tells a filter about a piece of mail.

use std::net::SocketAddr;

use bytes::Bytes;
use tamis_proto::Stage;
use tamis_proto::edit::model::Path;

/// A client, an envelope and a message, to be shown to a filter.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The client's verified name; its address in brackets by default.
    pub client_name: Option<Bytes>,
    /// The client's address and port; `None` for mail that did not come over a socket.
    pub client: Option<SocketAddr>,
    /// What the client says in HELO or EHLO; nothing is said for `None`.
    pub helo: Option<Bytes>,
    /// The sender with ESMTP parameters; the empty address is the null sender.
    pub sender: Path,
    /// The recipients with ESMTP parameters.
    pub recipients: Vec<Path>,
    /// Macros beyond, or instead of, those an MTA makes of the rest.
    pub macros: Vec<Macro>,
    /// The message as it came: any bytes.
    pub message: Bytes,
}

/// A macro with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Macro {
    /// The stage it is sent at; `None` for where MTAs send a macro of its name, else at connect.
    pub stage: Option<Stage>,
    /// The name as MTAs write it: `i`, `{auth_authen}`.
    pub name: String,
    /// The value; any bytes but NUL.
    pub value: Bytes,
}

impl Mail {
    /// Mail from a client at 192.0.2.1 that says `client.example`.
    pub fn new(
        sender: impl AsRef<[u8]>,
        recipients: impl IntoIterator<Item = impl AsRef<[u8]>>,
        message: impl Into<Bytes>,
    ) -> Self {
        Self {
            client_name: None,
            client: Some(SocketAddr::from(([192, 0, 2, 1], 49_152))),
            helo: Some(Bytes::from_static(b"client.example")),
            sender: Path::new(sender),
            recipients: recipients.into_iter().map(Path::new).collect(),
            macros: Vec::new(),
            message: message.into(),
        }
    }
}
