//! Stand-ins for the daemons that some milters ask: as much of their protocols as those milters speak.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use crate::play::patience;
use crate::script::quoted;

/// What the stand-ins were asked, in order.
type Asked = Arc<Mutex<Vec<String>>>;

/// Takes what was asked so far.
fn take(asked: &Asked) -> Vec<String> {
    std::mem::take(&mut *asked.lock().expect("nobody panics with it"))
}

/// Stands in for spamd: what holds `GTUBE` is spam. It adds fields to the header, as spamd does.
#[derive(Debug)]
pub struct Spamd(Asked);

impl Spamd {
    /// Listens on a unix socket, until the test ends.
    ///
    /// # Panics
    ///
    /// When it cannot.
    pub fn listen(socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).expect("the folder is ours");
        let asked = Asked::default();
        let shared = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                answer_spamc(stream, &shared).expect("spamc is there until it is answered");
            }
        });
        Self(asked)
    }

    /// Takes the requests so far.
    pub fn asked(&self) -> Vec<String> {
        take(&self.0)
    }
}

/// A request is a line, fields, an empty line and the message, up to the end of what spamc sends.
fn answer_spamc(mut stream: UnixStream, asked: &Asked) -> io::Result<()> {
    stream.set_read_timeout(Some(patience()))?;
    let mut request = Vec::new();
    stream.read_to_end(&mut request)?;
    asked.lock().expect("nobody panics with it").push(quoted(&request));
    let start = request.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |end| end + 4);
    let message = &request[start..];
    let is_spam = message.windows(5).any(|five| five == b"GTUBE");
    let (verdict, fields) = if is_spam {
        (
            "True ; 1000.0 / 5.0",
            "X-Spam-Flag: YES\r\nX-Spam-Level: *****\r\nX-Spam-Status: Yes, score=1000.0 required=5.0\r\n",
        )
    } else {
        ("False ; 0.1 / 5.0", "X-Spam-Status: No, score=0.1 required=5.0\r\n")
    };
    let length = fields.len() + message.len();
    write!(stream, "SPAMD/1.1 0 EX_OK\r\nContent-length: {length}\r\nSpam: {verdict}\r\n\r\n{fields}")?;
    stream.write_all(message)
}

/// Stands in for clamd: what holds `EICAR` is infected.
#[derive(Debug)]
pub struct Clamd {
    address: SocketAddr,
    asked: Asked,
    pinged: Pinged,
}

/// Whether somebody has asked if it is there, and was answered.
type Pinged = Arc<(Mutex<bool>, Condvar)>;

impl Clamd {
    /// Listens on a port of loopback, until the test ends.
    ///
    /// # Panics
    ///
    /// When it cannot.
    pub fn listen() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback can be listened on");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (asked, pinged) = (Asked::default(), Pinged::default());
        let shared = (Arc::clone(&asked), Arc::clone(&pinged));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (asked, pinged) = shared.clone();
                // The milter keeps connections, and drops them when it wants to.
                thread::spawn(move || drop(answer_clamav(stream, &asked, &pinged)));
            }
        });
        Self { address, asked, pinged }
    }

    /// Waits until the milter knows that it is there.
    ///
    /// # Panics
    ///
    /// When the milter does not ask.
    pub fn wait_until_known(&self) {
        let pinged = self.pinged.0.lock().expect("nobody panics with it");
        let waited = self.pinged.1.wait_timeout_while(pinged, patience(), |pinged| !*pinged);
        assert!(*waited.expect("nobody panics with it").0, "clamav-milter asks nobody");
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes what was scanned so far.
    pub fn asked(&self) -> Vec<String> {
        take(&self.asked)
    }
}

/// Commands end with a line end; what is scanned comes in pieces with their lengths, the last of which is 0.
fn answer_clamav(mut stream: TcpStream, asked: &Asked, pinged: &Pinged) -> io::Result<()> {
    loop {
        let mut command = Vec::new();
        loop {
            let [byte] = read(&mut stream)?;
            if byte == b'\n' {
                break;
            }
            command.push(byte);
        }
        match &command[..] {
            b"nPING" => {
                stream.write_all(b"PONG\n")?;
                // It closes the connection when it has read that.
                stream.read_to_end(&mut Vec::new())?;
                *pinged.0.lock().expect("nobody panics with it") = true;
                pinged.1.notify_all();
                return Ok(());
            }
            b"nINSTREAM" => {
                let mut scanned = Vec::new();
                loop {
                    let length =
                        usize::try_from(u32::from_be_bytes(read(&mut stream)?)).expect("32 bits fit");
                    if length == 0 {
                        break;
                    }
                    let start = scanned.len();
                    scanned.resize(start + length, 0);
                    stream.read_exact(&mut scanned[start..])?;
                }
                asked.lock().expect("nobody panics with it").push(quoted(&scanned));
                let infected = scanned.windows(5).any(|five| five == b"EICAR");
                stream.write_all(if infected {
                    b"stream: Eicar-Test-Signature FOUND\n"
                } else {
                    b"stream: OK\n"
                })?;
            }
            other => panic!("clamd is asked for {}", quoted(other)),
        }
    }
}

fn read<const N: usize>(stream: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}
