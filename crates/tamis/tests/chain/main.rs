//! Chains: several filters on one connection, driven by the test driver and by a raw MTA.

#![allow(unreachable_pub)] // one binary, with parts

#[path = "../common/mod.rs"]
mod common;
mod conditions;
mod conflicts;
mod copies;
mod dispatch;
mod equivalence;
mod failures;
mod kinds;
mod negotiation;
mod records;
mod support;
mod verdicts;
