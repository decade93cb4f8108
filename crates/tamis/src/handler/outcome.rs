//! What handlers may return.

use tamis_proto::{Needs, SmtpReply, Verdict};

use crate::filter::{BoxError, Reply};

/// What the handler of a stage returns. Its type says whether the stage is ever answered.
///
/// | returned | negotiated as | said |
/// | --- | --- | --- |
/// | nothing | no-reply | go on |
/// | [`Verdict`] | answered | the verdict |
/// | [`SmtpReply`] | answered | a refusal with this reply |
/// | `Result` of one of these | as the type inside | an error means the [failure policy](crate::Options::on_failure) |
///
/// A type of one's own can be an outcome too:
///
/// ```
/// use tamis::{Reply, Verdict, handler::Outcome};
///
/// enum Opinion { Good, Bad(&'static str) }
///
/// impl Outcome for Opinion {
///     const REPLIES: bool = true;
///
///     fn into_reply(self) -> Reply {
///         Ok(match self {
///             Self::Good => Verdict::Continue,
///             Self::Bad(why) => Verdict::reject("5.7.1", why),
///         })
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what a handler can return",
    label = "neither nothing nor a verdict",
    note = "a handler returns nothing (it is then never answered), `tamis::Verdict`, or a `Result` of one of these; where this is a future, write `async fn`"
)]
pub trait Outcome {
    /// Whether the stage is answered; negotiated as no-reply if not.
    const REPLIES: bool;

    /// What the filter says. Must be [`Verdict::Continue`] where nothing is to be answered.
    ///
    /// # Errors
    ///
    /// An error means the verdict of the [failure policy](crate::Options::on_failure).
    fn into_reply(self) -> Reply;
}

impl Outcome for () {
    const REPLIES: bool = false;

    fn into_reply(self) -> Reply {
        Ok(Verdict::Continue)
    }
}

impl Outcome for Verdict {
    const REPLIES: bool = true;

    fn into_reply(self) -> Reply {
        Ok(self)
    }
}

impl Outcome for SmtpReply {
    const REPLIES: bool = true;

    fn into_reply(self) -> Reply {
        Ok(self.into())
    }
}

impl<T: Outcome, E: Into<BoxError>> Outcome for Result<T, E> {
    const REPLIES: bool = T::REPLIES;

    fn into_reply(self) -> Reply {
        self.map_err(Into::into)?.into_reply()
    }
}

/// What the handlers of abort and close return: nothing, or `Result<(), E>`. An error is logged.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what the handlers of abort and close can return",
    label = "nobody waits for an answer here",
    note = "they return nothing, or `Result<(), E>` to have an error logged; where this is a future, write `async fn`"
)]
pub trait Silent {
    /// [`Verdict::Continue`], or the error.
    ///
    /// # Errors
    ///
    /// An error is logged.
    fn into_reply(self) -> Reply;
}

impl Silent for () {
    fn into_reply(self) -> Reply {
        Ok(Verdict::Continue)
    }
}

impl<T: Silent, E: Into<BoxError>> Silent for Result<T, E> {
    fn into_reply(self) -> Reply {
        self.map_err(Into::into)?.into_reply()
    }
}

/// What the handler `negotiate` returns: [`Needs`], or `Result<Needs, E>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what `negotiate` can return",
    label = "not the needs of a filter",
    note = "it returns `tamis::Needs` or `Result<tamis::Needs, E>`; where this is a future, write `async fn`"
)]
pub trait Negotiated {
    /// What the filter needs after a look at the offer.
    ///
    /// # Errors
    ///
    /// An error closes the connection without an answer.
    fn into_needs(self) -> Result<Needs, BoxError>;
}

impl Negotiated for Needs {
    fn into_needs(self) -> Result<Needs, BoxError> {
        Ok(self)
    }
}

impl<T: Negotiated, E: Into<BoxError>> Negotiated for Result<T, E> {
    fn into_needs(self) -> Result<Needs, BoxError> {
        self.map_err(Into::into)?.into_needs()
    }
}
