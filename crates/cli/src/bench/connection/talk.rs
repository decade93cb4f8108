//! What is said next on a connection, and what came back.

use std::io::{self, IoSlice};
use std::time::Instant;

use tamis::proto::{MtaEvent, Script};
use tamis::{Stage, Verdict};

use super::{Connection, Failure, State, Went};
use crate::bench::world::World;

/// Slices in one write.
const SLICES: usize = 64;

impl Connection {
    /// Goes on with the script until it is the filter's turn, or the end.
    pub(super) fn go_on(&mut self, world: &mut World) -> Result<Went, Failure> {
        let plan = self.plan.clone().expect("only those who negotiated have a script");
        let script = if self.state == State::Opening { &plan.opening } else { &plan.message };
        loop {
            if !self.write(script, world)? || self.session.waits_for().is_some() {
                return Ok(Went::Waiting);
            }
            if self.at == script.len() {
                debug_assert_eq!(self.state, State::Opening, "a message ends with an answer");
                self.state = State::Ready;
                return Ok(Went::Opened);
            }
            if world.check.is_some() {
                self.check_quiet(world)?;
            }
            let (_, range) = self.session.play(script, &mut self.at, world.now)?;
            self.unsent = range;
        }
    }

    /// Writes what waits; false if it does not fit yet.
    fn write(&mut self, script: &Script, world: &mut World) -> Result<bool, Failure> {
        let Some(socket) = &mut self.socket else { return Ok(false) };
        while !self.unsent.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = script.slices(&self.unsent, &mut slices);
            match socket.write(&slices[..count]) {
                Ok(written) => {
                    self.unsent.start += written as u64;
                    self.moved = world.now;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.want_to_write(true, world)?;
                    return Ok(false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if self.wants_to_write {
            self.want_to_write(false, world)?;
            self.session.written(world.now);
        }
        Ok(true)
    }

    /// Reads what the filter says. One read is enough unless it fills the buffer: the reactor tells of more.
    pub(super) fn receive(&mut self, world: &mut World) -> Result<Went, Failure> {
        while let Some(read) = self.read(world)? {
            if read.bytes == 0 {
                if self.state == State::Leaving {
                    self.close(world);
                    return Ok(Went::Left);
                }
                self.session.eof(self.input.bytes())?;
                return Err(Failure::closed());
            }
            if self.state == State::Leaving {
                return Err(Failure::speaks_after_quit(self.input.bytes()));
            }
            let went = self.understand(world)?;
            if !(matches!(went, Went::Waiting) && read.more) {
                self.input.give_back_if_empty(&mut world.spare);
                return Ok(went);
            }
        }
        self.input.give_back_if_empty(&mut world.spare);
        Ok(Went::Waiting)
    }

    /// Makes sure that the filter said nothing while it was not asked.
    fn check_quiet(&mut self, world: &mut World) -> Result<(), Failure> {
        if let Some(read) = self.read(world)? {
            if read.bytes == 0 {
                self.session.eof(self.input.bytes())?;
            }
            self.session.next(self.input.bytes(), world.now)?;
        }
        self.input.give_back_if_empty(&mut world.spare);
        Ok(())
    }

    /// Reads once, if there is something to read or the end.
    fn read(&mut self, world: &mut World) -> Result<Option<Read>, Failure> {
        let Some(socket) = &mut self.socket else { return Ok(None) };
        let room = self.input.room(self.session.payload_limit(), &mut world.spare);
        let size = room.len();
        loop {
            match socket.read(room) {
                Ok(bytes) => {
                    self.input.filled(bytes);
                    return Ok(Some(Read { bytes, more: bytes == size }));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes what was read as replies. Whatever follows a verdict was not asked for, which is an error.
    fn understand(&mut self, world: &mut World) -> Result<Went, Failure> {
        let mut said = None;
        let mut agreed = None;
        loop {
            let (used, event) = self.session.next(self.input.bytes(), world.now)?;
            match event {
                None => break,
                Some(MtaEvent::Negotiated { agreement, .. }) => agreed = Some(agreement),
                Some(MtaEvent::Edit(edit)) => {
                    world.tally.edit(edit.name());
                    if let Some(check) = &mut world.check {
                        check.edit(&mut self.course, edit).map_err(Failure::too_much)?;
                    }
                }
                Some(MtaEvent::RefusedEdit(edit, why)) => {
                    world.tally.error("refused-edit", || format!("{} is not done: {why}", edit.name()));
                }
                Some(MtaEvent::Progress) => world.tally.progress += 1,
                Some(MtaEvent::Verdict { stage, verdict, mended }) => {
                    if mended {
                        world
                            .tally
                            .error("bad-reply", || format!("the text of a reply at {stage} is none of SMTP"));
                    }
                    said = Some((stage, verdict));
                }
            }
            self.input.consume(used);
        }
        if let Some(agreement) = agreed {
            self.plan = Some(world.plan(&self.session, agreement)?);
            self.state = State::Opening;
            return self.go_on(world);
        }
        match said {
            Some((stage, verdict)) => self.judge(stage, &verdict, world),
            None => Ok(Went::Waiting),
        }
    }

    /// Goes on after a verdict, as an MTA would.
    fn judge(&mut self, stage: Stage, verdict: &Verdict, world: &mut World) -> Result<Went, Failure> {
        if self.state == State::Opening {
            return if self.session.sits_out() {
                Err(Failure::sits_out(stage, verdict))
            } else {
                self.go_on(world)
            };
        }
        if let Some(check) = &mut world.check {
            check.verdict(&mut self.course, stage, verdict);
        }
        let over = match (verdict, stage) {
            (_, Stage::EndOfMessage) => true,
            (Verdict::Continue | Verdict::Skip, _) => false,
            (Verdict::Reject | Verdict::Tempfail | Verdict::Reply(_), Stage::Rcpt)
                if !self.session.sits_out() =>
            {
                self.refused += 1;
                world.tally.refused_recipients += 1;
                self.refused == world.shape.recipients
            }
            _ => true,
        };
        if !over {
            return self.go_on(world);
        }
        self.state = State::Ready;
        self.carried += 1;
        if let Some(check) = &mut world.check {
            check.finish(&mut self.course);
        }
        let now = Instant::now();
        world.tally.message(verdict, now.saturating_duration_since(self.begun));
        world.stint.finish(now);
        Ok(Went::Finished)
    }
}

/// What came of a read.
struct Read {
    bytes: usize,
    /// It filled the buffer, so that there may be more.
    more: bool,
}
