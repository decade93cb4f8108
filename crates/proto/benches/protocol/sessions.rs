//! Whole messages through the sessions of both roles, without any I/O.

use std::hint::black_box;
use std::time::Instant;

use bytes::Buf as _;
use criterion::{Criterion, Throughput};
use tamis_proto::{Event, FilterSession, MtaConfig, MtaEvent, MtaSession, Needs, Profile, Turn, Verdict};

use crate::message;

pub(crate) fn filter(criterion: &mut Criterion) {
    let wire = message::wire(&message::message());
    let mut group = criterion.benchmark_group("filter session");
    group.throughput(Throughput::Elements(1));
    for (name, needs) in
        [("message", message::answers_all()), ("no-reply message", message::answers_the_end())]
    {
        let mut session = FilterSession::default();
        feed(&mut session, &message::offer(), &needs);
        feed(&mut session, &message::wire(&message::greeting()), &needs);
        group.bench_function(name, |bencher| bencher.iter(|| feed(&mut session, &wire, &needs)));
    }
    group.finish();
}

/// Gives the session what an MTA sent, answers each event with continue, and takes the output as a socket would.
fn feed(session: &mut FilterSession, wire: &[u8], needs: &Needs) {
    let mut at = 0;
    loop {
        let (used, event) = session.next(black_box(&wire[at..])).expect("the wire is ours");
        at += used;
        match event {
            None => break,
            Some(Event::Negotiate(_)) => drop(session.negotiate(needs).expect("Postfix offers all")),
            Some(event) if event.stage().is_some() => {
                session.respond(Verdict::Continue).expect("every stage takes continue");
            }
            Some(_) => {}
        }
        write(session.output());
    }
    assert_eq!(at, wire.len(), "the whole message is used");
}

pub(crate) fn mta(criterion: &mut Criterion) {
    let (greeting, steps) = (message::greeting(), message::message());
    let mut group = criterion.benchmark_group("MTA session");
    group.throughput(Throughput::Elements(1));
    for (name, needs) in
        [("message", message::answers_all()), ("no-reply message", message::answers_the_end())]
    {
        // Virtual: no session looks at a clock of its own.
        let now = Instant::now();
        let mut session = MtaSession::new(MtaConfig::new(Profile::Postfix));
        session.negotiate(now).expect("it is the first thing that is said");
        write(session.output());
        let mut filter = FilterSession::default();
        feed_offer(&mut filter, &needs);
        let answer = take(filter.output());
        let (used, _) = session.next(&answer, now).expect("the answer is the other session's");
        assert_eq!(used, answer.len());
        send(&mut session, &greeting, now);
        group.bench_function(name, |bencher| bencher.iter(|| send(&mut session, &steps, now)));
    }
    group.finish();
}

fn feed_offer(filter: &mut FilterSession, needs: &Needs) {
    filter.next(&message::offer()).expect("the wire is ours");
    filter.negotiate(needs).expect("Postfix offers all");
}

/// Sends each step, and has the filter say continue where it is asked.
fn send(session: &mut MtaSession, steps: &[message::Step], now: Instant) {
    for (command, macros) in steps {
        let turn = session.send(black_box(command), macros.as_ref(), now).expect("steps are in order");
        write(session.output());
        if turn == Turn::Filter {
            let (used, event) = session.next(black_box(message::CONTINUE), now).expect("continue is legal");
            assert!(used == message::CONTINUE.len() && matches!(event, Some(MtaEvent::Verdict { .. })));
        }
    }
}

/// Takes what is to be written, as a socket would.
fn write(output: &mut tamis_proto::Output) {
    let len = output.remaining();
    black_box(output.chunk());
    output.advance(len);
}

fn take(output: &mut tamis_proto::Output) -> Vec<u8> {
    output.copy_to_bytes(output.remaining()).to_vec()
}
