//! The floor: one thread, epoll, one read for each burst and one write for each answer.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use tamis_peers::floor::{CONTINUE, Floor, Next, READ};
use tamis_peers::{Scenario, WAIT, arguments};

fn main() -> io::Result<()> {
    let (socket, scenario) = arguments();
    let listener = UnixListener::bind(socket)?;
    listener.set_nonblocking(true)?;
    let mut server = Server::new(scenario)?;
    epoll::add(&server.epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut events = Vec::with_capacity(1024);
    loop {
        let timeout = server.answer_waiting();
        match epoll::wait(&server.epoll, spare_capacity(&mut events), timeout.as_ref()) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in events.drain(..) {
            match event.data.u64() {
                LISTENER => server.accept(&listener)?,
                key => server.serve(usize::try_from(key).expect("keys are numbers of files"), event.flags),
            }
        }
    }
}

/// What events of the listener are known by; those of connections by their file's number.
const LISTENER: u64 = u64::MAX;

struct Server {
    scenario: Scenario,
    epoll: OwnedFd,
    connections: Vec<Option<Connection>>,
    /// Who is to be answered, and when.
    waiting: VecDeque<(Instant, usize)>,
    buf: Vec<u8>,
    answers: Vec<u8>,
}

struct Connection {
    stream: UnixStream,
    floor: Floor,
    /// Answers that found no room in the socket, and how much of them was written.
    unwritten: Vec<u8>,
    written: usize,
}

impl Server {
    fn new(scenario: Scenario) -> io::Result<Self> {
        Ok(Self {
            scenario,
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            connections: Vec::new(),
            waiting: VecDeque::new(),
            buf: vec![0; READ],
            answers: Vec::new(),
        })
    }

    fn accept(&mut self, listener: &UnixListener) -> io::Result<()> {
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            let key = usize::try_from(stream.as_raw_fd()).expect("open files have positive numbers");
            epoll::add(&self.epoll, &stream, EventData::new_u64(key as u64), EventFlags::IN)?;
            if self.connections.len() <= key {
                self.connections.resize_with(key + 1, || None);
            }
            let floor = Floor::new(self.scenario);
            self.connections[key] = Some(Connection { stream, floor, unwritten: Vec::new(), written: 0 });
        }
    }

    /// Serves a connection that can be read or written; one that breaks is dropped.
    fn serve(&mut self, key: usize, ready: EventFlags) {
        let Some(connection) = &mut self.connections[key] else { return };
        let done = if ready.contains(EventFlags::OUT) {
            connection.write_on(&self.epoll)
        } else {
            connection.read(&self.epoll, &mut self.buf, &mut self.answers)
        };
        match done {
            Ok(Next::Read) => {}
            Ok(Next::Wait) => self.waiting.push_back((Instant::now() + WAIT, key)),
            Ok(Next::Close) | Err(_) => self.connections[key] = None,
        }
    }

    /// Answers those who have waited long enough; returns how long the next one has to wait.
    fn answer_waiting(&mut self) -> Option<Timespec> {
        while let Some(&(until, key)) = self.waiting.front() {
            let left = until.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                return Some(Timespec::try_from(left).expect("waits are short"));
            }
            self.waiting.pop_front();
            if let Some(connection) = &mut self.connections[key]
                && connection.stream.write_all(&CONTINUE).is_err()
            {
                self.connections[key] = None;
            }
        }
        None
    }
}

impl Connection {
    fn read(&mut self, epoll: &OwnedFd, buf: &mut [u8], answers: &mut Vec<u8>) -> io::Result<Next> {
        loop {
            let count = self.stream.read(buf)?;
            if count == 0 {
                return Ok(Next::Close);
            }
            answers.clear();
            let next = self.floor.take(&buf[..count], answers);
            if !answers.is_empty() {
                let written = self.stream.write(answers)?;
                if written < answers.len() {
                    self.unwritten = std::mem::take(answers);
                    self.written = written;
                    self.wake_for(epoll, EventFlags::OUT)?;
                    return Ok(next);
                }
            }
            // A read that fills less than the buffer got all there was.
            if next != Next::Read || count < buf.len() {
                return Ok(next);
            }
        }
    }

    fn write_on(&mut self, epoll: &OwnedFd) -> io::Result<Next> {
        self.written += self.stream.write(&self.unwritten[self.written..])?;
        if self.written == self.unwritten.len() {
            self.floor.reuse(&mut self.unwritten);
            self.wake_for(epoll, EventFlags::IN)?;
        }
        Ok(Next::Read)
    }

    fn wake_for(&self, epoll: &OwnedFd, flags: EventFlags) -> io::Result<()> {
        let key = u64::try_from(self.stream.as_raw_fd()).expect("open files have positive numbers");
        Ok(epoll::modify(epoll, &self.stream, EventData::new_u64(key), flags)?)
    }
}
