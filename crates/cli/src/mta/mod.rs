//! What the MTA of this machine is configured to do with milters.

mod postfix;
mod sendmail;

pub(crate) use postfix::Postfix;
pub(crate) use sendmail::Sendmail;
