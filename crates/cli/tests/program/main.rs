//! Tests that run the program itself.

mod admin;
mod bench;
mod bench_hostile;
mod chain;
mod common;
mod config;
mod daemon;
mod limits;
mod others;
mod plain;
mod send;
mod serve;
mod sockets;
mod start;
