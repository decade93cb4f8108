//! Tests that run the program itself.

mod chain;
mod bench;
mod bench_hostile;
mod common;
mod limits;
mod others;
mod plain;
mod send;
mod serve;
mod sockets;
mod start;
