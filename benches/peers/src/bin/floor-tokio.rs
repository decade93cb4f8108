//! The floor on tokio: as the floor, with a task for each connection instead of a list of them.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::ready;

use tamis_peers::floor::{CONTINUE, Floor, Next, READ};
use tamis_peers::{Scenario, WAIT, arguments};
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::{UnixListener, UnixStream};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let (socket, scenario) = arguments();
    let listener = UnixListener::bind(socket)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            // A connection that breaks is one that is over.
            let _ = serve(stream, scenario).await;
        });
    }
}

thread_local! {
    /// What all connections read into, since none keeps anything there.
    static BUF: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

async fn serve(mut stream: UnixStream, scenario: Scenario) -> io::Result<()> {
    let mut floor = Floor::new(scenario);
    let mut answers = Vec::new();
    loop {
        let next = read(&mut stream, &mut floor, &mut answers).await?;
        if !answers.is_empty() {
            stream.write_all(&answers).await?;
            floor.reuse(&mut answers);
        }
        match next {
            Next::Read => {}
            Next::Wait => {
                tokio::time::sleep(WAIT).await;
                stream.write_all(&CONTINUE).await?;
            }
            Next::Close => return Ok(()),
        }
    }
}

/// Waits and reads in one: `poll_read` knows from a read that comes back short that there is nothing more yet.
async fn read(stream: &mut UnixStream, floor: &mut Floor, answers: &mut Vec<u8>) -> io::Result<Next> {
    poll_fn(|task| {
        BUF.with_borrow_mut(|buf| {
            let mut buf = ReadBuf::new(buf);
            ready!(Pin::new(&mut *stream).poll_read(task, &mut buf))?;
            let next = match buf.filled() {
                [] => Next::Close,
                bytes => floor.take(bytes, answers),
            };
            Ok(next).into()
        })
    })
    .await
}
