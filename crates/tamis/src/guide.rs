//! The pages of the guide, whose Rust blocks are documentation tests.

#[doc = include_str!("../../../docs/guide/src/README.md")]
struct About;
#[doc = include_str!("../../../docs/guide/src/first-filter.md")]
struct FirstFilter;
#[doc = include_str!("../../../docs/guide/src/styles.md")]
struct Styles;
#[doc = include_str!("../../../docs/guide/src/message.md")]
struct Message;
#[doc = include_str!("../../../docs/guide/src/verdicts.md")]
struct Verdicts;
#[doc = include_str!("../../../docs/guide/src/negotiation.md")]
struct Negotiation;
#[doc = include_str!("../../../docs/guide/src/chain.md")]
struct Chain;
#[doc = include_str!("../../../docs/guide/src/testing.md")]
struct Testing;
#[doc = include_str!("../../../docs/guide/src/deploying.md")]
struct Deploying;
#[doc = include_str!("../../../docs/guide/src/coming-from/libmilter.md")]
struct Libmilter;
#[doc = include_str!("../../../docs/guide/src/coming-from/pymilter.md")]
struct Pymilter;
#[doc = include_str!("../../../docs/guide/src/coming-from/purepythonmilter.md")]
struct Purepythonmilter;
#[doc = include_str!("../../../docs/guide/src/coming-from/kilter.md")]
struct Kilter;
#[doc = include_str!("../../../docs/guide/src/coming-from/go-milter.md")]
struct GoMilter;
