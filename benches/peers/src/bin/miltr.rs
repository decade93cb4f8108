//! miltr-server of crates.io, written after its examples.
#![forbid(unsafe_code)]

use std::io;

use async_trait::async_trait;
use miltr_common::ProtocolError;
use miltr_common::actions::{Action, Continue};
use miltr_common::commands::Body;
use miltr_common::modifications::ModificationResponse;
use miltr_common::modifications::body::ReplaceBody;
use miltr_common::modifications::headers::AddHeader;
use miltr_common::optneg::{Capability, OptNeg};
use miltr_server::{Error, Milter, Server};
use tamis_peers::{FOOTER, HEADER, LENGTH_HEADER, Scenario, WAIT, arguments};
use tokio::net::UnixListener;
use tokio_util::compat::TokioAsyncReadCompatExt as _;

/// Longer than any frame of an MTA.
const BUFFER: usize = 1 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let (socket, scenario) = arguments();
    if matches!(scenario, Scenario::NoReply | Scenario::Replace25Spool) {
        eprintln!("miltr cannot do {}", scenario.name());
        std::process::exit(2);
    }
    let listener = UnixListener::bind(socket)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let mut milter = Peer { scenario, pieces: Vec::new(), length: 0 };
            let mut server = Server::new(&mut milter, false, BUFFER);
            // A connection that breaks is one that is over.
            let _ = server.handle_connection(&mut stream.compat()).await;
        });
    }
}

struct Peer {
    scenario: Scenario,
    pieces: Vec<Body>,
    length: usize,
}

impl Peer {
    fn replaces(&self) -> bool {
        matches!(self.scenario, Scenario::Footer | Scenario::Replace25)
    }
}

#[async_trait]
impl Milter for Peer {
    type Error = &'static str;

    async fn option_negotiation(&mut self, theirs: OptNeg) -> Result<OptNeg, Error<Self::Error>> {
        let capabilities = match self.scenario {
            Scenario::Header | Scenario::Look => Capability::SMFIF_ADDHDRS,
            _ if self.replaces() => Capability::SMFIF_CHGBODY,
            _ => Capability::empty(),
        };
        let ours = OptNeg { capabilities, ..OptNeg::default() };
        Ok(ours.merge_compatible(&theirs).map_err(ProtocolError::CompatibilityError)?)
    }

    async fn body(&mut self, body: Body) -> Result<Action, Self::Error> {
        self.length += body.as_bytes().len();
        if self.replaces() {
            self.pieces.push(body);
        }
        Ok(Continue.into())
    }

    async fn end_of_body(&mut self) -> Result<ModificationResponse, Self::Error> {
        let mut response = ModificationResponse::builder();
        match self.scenario {
            Scenario::Wait50 => tokio::time::sleep(WAIT).await,
            Scenario::Header => {
                response.push(AddHeader::new(HEADER.0.as_bytes(), HEADER.1.as_bytes()));
            }
            Scenario::Look => {
                let length = self.length.to_string();
                response.push(AddHeader::new(LENGTH_HEADER.as_bytes(), length.as_bytes()));
            }
            _ if self.replaces() => {
                for piece in self.pieces.drain(..) {
                    response.push(ReplaceBody::new(piece.as_bytes()));
                }
                response.push(ReplaceBody::new(FOOTER.as_bytes()));
            }
            _ => {}
        }
        Ok(response.contin())
    }

    /// Comes after every message.
    async fn abort(&mut self) -> Result<(), Self::Error> {
        self.pieces.clear();
        self.length = 0;
        Ok(())
    }
}
