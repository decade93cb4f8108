//! Tests that run the program itself.

mod admin;
mod bench;
mod bench_hostile;
mod chain;
mod common;
mod config;
mod daemon;
mod journal;
mod limits;
mod machine;
mod others;
mod plain;
mod send;
mod serve;
mod shown;
mod sockets;
mod start;
mod user;
