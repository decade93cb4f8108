//! What is said of the attribute.

/// Makes a filter of the handlers in an `impl` block.
///
/// A handler is a method with the name of what it handles, `fn` or `async fn`. Which of them are there, and what they
/// return, is all that is needed to negotiate with an MTA: a stage without a handler is switched off, one whose handler
/// returns nothing is never answered, and one whose handler returns a [`Verdict`](crate::Verdict) is answered with
/// that. The attribute implements [`Filter`](crate::Filter) with it; the methods remain, and can be called in tests.
///
/// ```
/// use tamis::handler::Field;
/// use tamis::message::{Sender, Text};
/// use tamis::proto::Misuse;
/// use tamis::{BoxError, Context, Verdict};
///
/// /// One for each connection of the MTA.
/// #[derive(Default)]
/// struct Greeter {
///     helo: Text,
/// }
///
/// /// One for each message.
/// #[derive(Default)]
/// struct Mail {
///     fields: usize,
/// }
///
/// #[tamis::filter(require(add_headers), macros(mail = ["auth_authen"]))]
/// impl Greeter {
///     type Message = Mail;
///
///     // Returns nothing, so the MTA does not wait for an answer.
///     fn helo(&mut self, name: &Text) {
///         self.helo = name.clone();
///     }
///
///     // An error becomes the verdict of the failure policy: `451` unless the server's options say otherwise.
///     async fn mail(&mut self, cx: &mut Context<'_, Mail>, sender: &Sender) -> Result<Verdict, BoxError> {
///         let known = cx.macro_value("auth_authen").is_some() || is_listed(sender).await?;
///         Ok(if known { Verdict::Continue } else { Verdict::reject("5.7.1", "who are you?") })
///     }
///
///     fn header(&mut self, field: &Field, cx: &mut Context<'_, Mail>) {
///         cx.message.fields += usize::from(!field.value().is_empty());
///     }
///
///     fn end_of_message(&mut self, cx: &mut Context<'_, Mail>) -> Result<Verdict, Misuse> {
///         cx.add_header("X-Greeting", format!("hello {}, {} fields", self.helo, cx.message.fields))?;
///         Ok(Verdict::Continue)
///     }
/// }
///
/// async fn is_listed(sender: &Sender) -> Result<bool, BoxError> {
///     Ok(sender.domain() == Some("example.com"))
/// }
///
/// # async fn serve() -> Result<(), BoxError> {
/// let listeners = tamis::bind(&["inet:8899@127.0.0.1".parse()?])?;
/// tamis::serve(listeners, |_peer| Greeter::default(), tamis::Shutdown::new()).await?;
/// # Ok(())
/// # }
/// // A handler is a method like any other.
/// let mut filter = Greeter::default();
/// filter.helo(&Text::from("mx.example.com"));
/// assert_eq!(filter.helo, "mx.example.com");
/// ```
///
/// # Handlers
///
/// | handler | when | given |
/// | --- | --- | --- |
/// | `negotiate` | the MTA says what it can | [`&Offer`](crate::Offer), [`Needs`](crate::Needs) |
/// | `connect` | a client connected | [`&Client`](crate::message::Client) |
/// | `helo` | HELO or EHLO; again after STARTTLS | [`&Text`](crate::message::Text) |
/// | `mail` | the sender: a message begins | [`&Sender`](crate::message::Sender) |
/// | `rcpt` | a recipient | [`&Recipient`](crate::message::Recipient) |
/// | `data` | DATA | |
/// | `header` | a header field | [`&Field`](crate::handler::Field) |
/// | `end_of_headers` | the empty line behind the header | |
/// | `body` | a piece of the body, at most 65,535 bytes | `&[u8]` or `&Bytes` |
/// | `end_of_message` | the whole message was seen | |
/// | `unknown` | an SMTP command that the MTA does not know | [`&Text`](crate::message::Text) |
/// | `abort` | the message ends without a verdict | |
/// | `close` | the connection of the MTA ends; once | |
///
/// All but `negotiate` are also given the [`&mut Context`](crate::Context): modifications, macros and the state of
/// the message. Arguments can be in any order, and those that are not wanted are left out. The first is `&mut self` or
/// `&self` (in an `async fn` the latter needs a filter that is `Sync`).
///
/// An `async fn` may wait, and is given up with its connection; an MTA is kept waiting properly meanwhile. A plain `fn`
/// costs no more than its call.
///
/// The block has nothing but handlers, constants and `type Message`, so that a slip in a name is an error. Other
/// functions go into another `impl` block.
///
/// # What handlers return
///
/// Nothing, a [`Verdict`](crate::Verdict), an [`SmtpReply`](crate::SmtpReply), a type with an [`Outcome`](crate::handler::Outcome) of its own,
/// or a `Result` of one of these with any error that converts into [`BoxError`](crate::BoxError). The handler of the
/// end of message is answered even if it returns nothing: with continue. `abort` and `close` return nothing or
/// `Result<(), E>`, and `negotiate` returns [`Needs`](crate::Needs) or `Result<Needs, E>`, starting from what it is
/// given: what the handlers and the attribute say.
///
/// # State
///
/// `self` lives as long as the connection of the MTA. `type Message`, which is `()` where it is not given, is the
/// state of a message: made by `Default` at MAIL, and dropped when the message ends in whatever way.
///
/// # Options
///
/// What cannot be seen in the handlers stands in parentheses:
///
/// - `require(…)`: actions that the filter cannot do without, by the names of [`Actions`](crate::Actions) in lower case:
///   `add_headers`, `replace_body`, `add_recipients`, `delete_recipients`, `change_headers`, `quarantine`,
///   `change_sender`, `add_recipients_with_args`. A modification that was not declared is an error at its call.
/// - `allow(…)`: actions that are used where the MTA has them; [`Context::actions`](crate::Context::actions) tells.
/// - `collect(…)`: what is kept of each message to be looked at and edited as a whole, seen by handlers or not:
///   `envelope`, `headers`, `body`; see [`Context::headers_mut`](crate::Context::headers_mut) and its neighbours.
/// - `if_missing = tempfail`: where the MTA lacks what is required, refuse mail for now instead of closing the
///   connection (`close`).
/// - `macros(mail = ["auth_authen", "i"], …)`: macros wanted at `connect`, `helo`, `mail`, `rcpt`, `data`,
///   `end_of_headers` or `end_of_message`, instead of those that the MTA is configured to send.
/// - `rejected_recipients`: also see recipients that the MTA rejects itself.
/// - `leading_space`: header values keep the space after the colon, in both directions.
/// - `skip = false`: do not ask for [`Verdict::Skip`](crate::Verdict::Skip).
/// - `data_size = "256k"` or `"1m"`: larger packets, if the MTA can.
/// - `crate = path`: where the crate `tamis` is, if not at `::tamis`.
///
/// They are the methods of [`Needs`](crate::Needs), which says more about each.
#[doc(alias = "smfiDesc")]
#[doc(alias = "smfi_register")]
pub use tamis_macros::filter;
