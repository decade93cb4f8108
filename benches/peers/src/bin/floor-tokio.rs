//! The floor on tokio: as the floor, with a task for each connection instead of a list of them.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::io::{self, ErrorKind};

use tamis_peers::floor::{CONTINUE, Floor, Next, READ};
use tamis_peers::{Scenario, WAIT, arguments};
use tokio::io::AsyncWriteExt as _;
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
        stream.readable().await?;
        let next = match read(&stream, &mut floor, &mut answers) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            read => read?,
        };
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

fn read(stream: &UnixStream, floor: &mut Floor, answers: &mut Vec<u8>) -> io::Result<Next> {
    BUF.with_borrow_mut(|buf| match stream.try_read(buf)? {
        0 => Ok(Next::Close),
        count => Ok(floor.take(&buf[..count], answers)),
    })
}
