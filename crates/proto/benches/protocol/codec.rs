//! Frames and commands, in and out.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use tamis_proto::frame::MAX_PAYLOAD;
use tamis_proto::{Command, Frame, Reply, Rules};

use crate::message;

pub(crate) fn frames(criterion: &mut Criterion) {
    let wire = message::wire(&message::message());
    let mut group = criterion.benchmark_group("frames of a message");
    group.throughput(Throughput::Bytes(wire.len() as u64));
    group.bench_function("parse", |bencher| {
        bencher.iter(|| {
            each_frame(&wire, |frame| {
                black_box(frame);
            });
        });
    });
    group.bench_function("parse and decode", |bencher| {
        bencher.iter(|| {
            each_frame(&wire, |frame| {
                let _ = black_box(Command::decode(frame, Rules::default()).expect("the wire is ours"));
            });
        });
    });
    group.finish();
}

pub(crate) fn commands(criterion: &mut Criterion) {
    let steps = message::message();
    let size = message::wire(&steps).len();
    let mut group = criterion.benchmark_group("commands of a message");
    group.throughput(Throughput::Bytes(size as u64));
    group.bench_function("encode", |bencher| {
        let mut out = Vec::with_capacity(size);
        bencher.iter(|| {
            out.clear();
            for (command, _) in &steps {
                black_box(command).encode(&mut out);
            }
            black_box(out.len())
        });
    });
    group.finish();
}

pub(crate) fn replies(criterion: &mut Criterion) {
    let replies = message::CONTINUE.repeat(23);
    let mut group = criterion.benchmark_group("replies to a message");
    group.throughput(Throughput::Elements(23));
    group.bench_function("parse and decode", |bencher| {
        bencher.iter(|| {
            each_frame(&replies, |frame| {
                let _ = black_box(Reply::decode(frame).expect("the wire is ours"));
            });
        });
    });
    group.finish();
}

fn each_frame<'b>(mut wire: &'b [u8], mut take: impl FnMut(Frame<'b>)) {
    while let Some((used, frame)) = Frame::parse(black_box(wire), MAX_PAYLOAD).expect("the wire is ours") {
        take(frame);
        wire = &wire[used..];
    }
}
