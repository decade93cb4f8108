//! Tests that run the program itself.

mod chain;
mod common;
mod limits;
mod others;
mod send;
mod serve;
mod sockets;
mod start;
