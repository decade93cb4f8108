//! What authors of filters are told at compile time.

/// The compiler's own words around ours change from version to version.
#[rustversion::attr(not(stable(1.95)), ignore = "pins what rustc 1.95 says")]
#[test]
fn mistakes_in_handlers_are_explained_by_the_compiler() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
