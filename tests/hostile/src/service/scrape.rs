//! What monitoring asks the daemon for meanwhile.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, Result, ensure};

use crate::PATIENCE;

/// Asks for everything that is served, and looks whether it is.
pub(super) fn all(address: &str) -> Result<()> {
    let address = address.parse().with_context(|| format!("{address:?} is no address"))?;
    for (path, has) in [("/metrics", "# EOF"), ("/healthz", ""), ("/readyz", "")] {
        let answer = get(address, path).with_context(|| format!("{path} is not served"))?;
        ensure!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(has), "{path} is answered {answer:?}");
    }
    Ok(())
}

fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
