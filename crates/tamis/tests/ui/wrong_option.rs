//! Options that do not exist, or not like that.

struct A;
#[tamis::filter(require(add_header))]
impl A {}

struct B;
#[tamis::filter(leading_spaces)]
impl B {}

struct C;
#[tamis::filter(macros(header = ["i"]))]
impl C {}

struct D;
#[tamis::filter(data_size = "1g")]
impl D {}

struct E;
#[tamis::filter(if_missing = reject)]
impl E {}

struct F;
#[tamis::filter(skip)]
impl F {}

struct G;
#[tamis::filter(leading_space, leading_space)]
impl G {}

struct H;
#[tamis::filter(rejected_recipients = true)]
impl H {}

struct I;
#[tamis::filter(require)]
impl I {}

struct J;
#[tamis::filter(allow(chgbody))]
impl J {}

fn main() {}
