//! [`Facts`]: what an MTA tells beside its commands, by macros (spec §2.14, §8).

mod fact;

use std::net::IpAddr;

use tamis_proto::{MacroTable, Needs};

use super::Rejection;
use super::envelope::verified;

pub use fact::Fact;

/// What the MTA tells about a message and its client by macros, each under its own name.
///
/// An MTA sends a macro if it is configured to or asked to, and if it has a value: "not asked for" and "has no value"
/// look the same, and no filter should depend on one. What both MTAs send without being asked is called *by default*
/// below; for the rest, [`ask`](Self::ask).
///
/// Texts are `None` where they are not UTF-8, too; [`get`](Self::get) has the bytes of any macro. What is visible
/// when is libmilter's rule: the macros of a stage stay until the next command of that stage or of an earlier one.
///
/// # Examples
///
/// ```
/// use tamis::message::Facts;
/// use tamis::proto::MacroTable;
///
/// fn log_line(facts: Facts<'_>) -> String {
///     let id = facts.queue_id().unwrap_or("-");
///     match facts.auth_user() {
///         Some(user) => format!("{id}: from {user}, tls={}", facts.is_tls()),
///         None => format!("{id}: from outside"),
///     }
/// }
///
/// assert_eq!(log_line(Facts::new(&MacroTable::default())), "-: from outside");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    macros: &'a MacroTable,
}

impl<'a> Facts<'a> {
    /// Looks at the macros of a session.
    pub const fn new(macros: &'a MacroTable) -> Self {
        Self { macros }
    }

    /// Looks up any macro; `j` and `{j}` are the same, and longer names need no braces either.
    #[doc(alias = "smfi_getsymval")]
    pub fn get(self, name: impl AsRef<[u8]>) -> Option<&'a [u8]> {
        self.macros.get(name)
    }

    /// Adds to a filter's needs the macros that tell these facts, at the stages where both MTAs know them.
    ///
    /// A list that a filter asks for takes the place of what the MTA sends at that stage by default: ask for all facts
    /// of a stage that you use, or for none.
    ///
    /// ```
    /// use tamis::message::{Fact, Facts};
    /// use tamis::proto::{MacroStage, Needs};
    ///
    /// let needs = Facts::ask(Needs::new(), [Fact::AuthUser, Fact::ClientPtr]);
    /// let by_hand = Needs::new().macros(MacroStage::Mail, ["{auth_authen}"]).macros(MacroStage::Connect, ["{client_ptr}"]);
    /// assert_eq!(needs, by_hand);
    /// ```
    #[doc(alias = "smfi_setsymlist")]
    #[must_use]
    pub fn ask(needs: Needs, facts: impl IntoIterator<Item = Fact>) -> Needs {
        facts.into_iter().fold(needs, |needs, fact| {
            fact.stages().iter().fold(needs, |needs, stage| needs.macros(*stage, [fact.macro_name()]))
        })
    }

    fn text(self, fact: Fact) -> Option<&'a str> {
        std::str::from_utf8(self.get(fact.macro_name())?).ok()
    }

    fn number<T: std::str::FromStr>(self, fact: Fact) -> Option<T> {
        self.text(fact)?.parse().ok()
    }

    fn has(self, fact: Fact) -> bool {
        self.get(fact.macro_name()).is_some_and(|value| !value.is_empty())
    }
}

/// The MTA.
impl<'a> Facts<'a> {
    /// The MTA's name for the message in its queue and log: `i`.
    ///
    /// By default: Sendmail from MAIL on; Postfix once it has accepted a recipient, so neither at MAIL nor at the first
    /// RCPT. Mail that did not come by SMTP has it from MAIL on.
    pub fn queue_id(self) -> Option<&'a str> {
        self.text(Fact::QueueId)
    }

    /// The MTA's host name: `j`. By default from connect on.
    pub fn mta_name(self) -> Option<&'a str> {
        self.text(Fact::MtaName)
    }

    /// The MTA's version, such as `Postfix 3.7.11` or `8.17.1.9` of Sendmail: `v`. By default from connect on by
    /// Postfix; Sendmail has to be asked.
    pub fn mta_version(self) -> Option<&'a str> {
        self.text(Fact::MtaVersion)
    }

    /// The listener that took the client: `{daemon_name}`. By default from connect on; Postfix says its host name
    /// unless `milter_macro_daemon_name` is set.
    pub fn daemon_name(self) -> Option<&'a str> {
        self.text(Fact::DaemonName)
    }

    /// The address that the listener has: `{daemon_addr}`. By default from connect on by Postfix, since 3.2; Sendmail
    /// has to be asked.
    pub fn daemon_addr(self) -> Option<IpAddr> {
        ip(self.text(Fact::DaemonAddr)?)
    }

    /// The port that the listener has: `{daemon_port}`. Both have to be asked.
    pub fn daemon_port(self) -> Option<u16> {
        self.number(Fact::DaemonPort)
    }

    /// The name of the local interface: `{if_name}`. By default from connect on by Sendmail; Postfix has none.
    pub fn interface_name(self) -> Option<&'a str> {
        self.text(Fact::InterfaceName)
    }

    /// The address of the local interface: `{if_addr}`. By default from connect on by Sendmail, except for the loopback
    /// interface; Postfix has none, look at [`daemon_addr`](Self::daemon_addr).
    pub fn interface_addr(self) -> Option<IpAddr> {
        ip(self.text(Fact::InterfaceAddr)?)
    }
}

/// The client.
impl<'a> Facts<'a> {
    /// Name and address of the client as the MTA writes them, `host [192.0.2.1]`; Sendmail adds the user of an ident
    /// reply and `(may be forged)`: `_`. By default from connect on.
    pub fn client_description(self) -> Option<&'a str> {
        self.text(Fact::ClientDescription)
    }

    /// The verified host name of the client: `{client_name}`, for which both have to be asked, or the name in `_`. None
    /// where the MTA could not verify one.
    pub fn client_name(self) -> Option<&'a str> {
        if let Some(name) = self.text(Fact::ClientName) {
            return verified(name);
        }
        let description = self.client_description().filter(|text| !text.ends_with("(may be forged)"))?;
        let host = description.split_once(" [")?.0;
        verified(host.rsplit_once('@').map_or(host, |(_, host)| host))
    }

    /// The address of the client: `{client_addr}`, for which both have to be asked, or the address in `_`.
    pub fn client_addr(self) -> Option<IpAddr> {
        if let Some(address) = self.text(Fact::ClientAddr) {
            return ip(address);
        }
        let (_, behind) = self.client_description()?.rsplit_once('[')?;
        ip(behind.split_once(']')?.0)
    }

    /// The client's port: `{client_port}`. Both have to be asked.
    pub fn client_port(self) -> Option<u16> {
        self.number(Fact::ClientPort).filter(|port| *port != 0)
    }

    /// The name that the DNS gives for the client's address, which may claim anything: `{client_ptr}`. Both have to be
    /// asked.
    pub fn client_ptr(self) -> Option<&'a str> {
        verified(self.text(Fact::ClientPtr)?)
    }

    /// How the name of the client was verified, `OK`, `FAIL`, `FORGED` or `TEMP`: `{client_resolve}`. Both have to be
    /// asked.
    pub fn client_resolve(self) -> Option<&'a str> {
        self.text(Fact::ClientResolve)
    }

    /// How many connections the client has now: `{client_connections}`. Both have to be asked.
    pub fn client_connections(self) -> Option<u32> {
        self.number(Fact::ClientConnections)
    }
}

/// TLS between client and MTA.
impl<'a> Facts<'a> {
    /// Whether the client speaks TLS: there is a [`tls_version`](Self::tls_version) or a [`cipher`](Self::cipher).
    pub fn is_tls(self) -> bool {
        self.has(Fact::TlsVersion) || self.has(Fact::Cipher)
    }

    /// The version of TLS, such as `TLSv1.3`: `{tls_version}`. By default from the HELO inside of TLS on.
    pub fn tls_version(self) -> Option<&'a str> {
        self.text(Fact::TlsVersion)
    }

    /// The cipher suite: `{cipher}`. By default from the HELO inside of TLS on.
    pub fn cipher(self) -> Option<&'a str> {
        self.text(Fact::Cipher)
    }

    /// The strength of the cipher in bits: `{cipher_bits}`. By default from the HELO inside of TLS on.
    pub fn cipher_bits(self) -> Option<u32> {
        self.number(Fact::CipherBits)
    }

    /// The subject of the client's certificate: `{cert_subject}`. By default from the HELO inside of TLS on; Postfix
    /// says the common name alone, and only of a certificate that it trusts.
    pub fn cert_subject(self) -> Option<&'a str> {
        self.text(Fact::CertSubject)
    }

    /// The issuer of the client's certificate: `{cert_issuer}`. As [`cert_subject`](Self::cert_subject).
    pub fn cert_issuer(self) -> Option<&'a str> {
        self.text(Fact::CertIssuer)
    }

    /// The name that the client asked for in TLS: `{tls_sni}`. Postfix has to be asked, since 3.12; Sendmail has none.
    pub fn tls_sni(self) -> Option<&'a str> {
        self.text(Fact::TlsSni)
    }

    /// What became of the verification of the client's certificate, such as `OK` or `NO`: `{verify}`. Sendmail has to
    /// be asked; Postfix has none.
    pub fn tls_verify(self) -> Option<&'a str> {
        self.text(Fact::TlsVerify)
    }
}

/// SMTP authentication.
impl<'a> Facts<'a> {
    /// Whether the client logged in: there is an [`auth_user`](Self::auth_user), whatever its encoding, or an
    /// [`auth_type`](Self::auth_type).
    pub fn is_authenticated(self) -> bool {
        self.has(Fact::AuthUser) || self.has(Fact::AuthType)
    }

    /// The user that the client logged in as: `{auth_authen}`. By default at MAIL and after.
    ///
    /// To tell whether it logged in at all, [`is_authenticated`](Self::is_authenticated) also knows users whose names
    /// are not UTF-8.
    pub fn auth_user(self) -> Option<&'a str> {
        self.text(Fact::AuthUser)
    }

    /// How the client logged in, such as `PLAIN`: `{auth_type}`. By default at MAIL and after.
    pub fn auth_type(self) -> Option<&'a str> {
        self.text(Fact::AuthType)
    }

    /// What the client said with `AUTH=` at MAIL, which it may make up unless the MTA checks it: `{auth_author}`. By
    /// default at MAIL and after.
    pub fn auth_author(self) -> Option<&'a str> {
        self.text(Fact::AuthAuthor)
    }

    /// The strength of the security layer that came with the login, in bits: `{auth_ssf}`. By default at MAIL and after
    /// by Sendmail; Postfix has none.
    pub fn auth_ssf(self) -> Option<u32> {
        self.number(Fact::AuthSsf)
    }
}

/// What the MTA made of the envelope, and of the message.
impl<'a> Facts<'a> {
    /// The sender's address as the MTA understood it, without brackets, empty for `<>`: `{mail_addr}`. By default at
    /// MAIL and after.
    pub fn mail_addr(self) -> Option<&'a str> {
        self.text(Fact::MailAddr)
    }

    /// The host that mail to the sender would go to: `{mail_host}`. By default at MAIL and after. Sendmail has a dot at
    /// the end of domains; Postfix may have a port.
    pub fn mail_host(self) -> Option<&'a str> {
        self.text(Fact::MailHost)
    }

    /// The way that mail to the sender would take, `esmtp` or `local` in Sendmail, the name of a transport in Postfix:
    /// `{mail_mailer}`. By default at MAIL and after.
    pub fn mail_mailer(self) -> Option<&'a str> {
        self.text(Fact::MailMailer)
    }

    /// The last recipient's address as the MTA understood it, without brackets: `{rcpt_addr}`. By default at RCPT and
    /// after. Of a recipient that the MTA rejects it is the reason; see [`rejection`](Self::rejection).
    pub fn rcpt_addr(self) -> Option<&'a str> {
        self.text(Fact::RcptAddr)
    }

    /// The host that mail to the last recipient goes to: `{rcpt_host}`. By default at RCPT and after. As
    /// [`mail_host`](Self::mail_host); of a recipient that the MTA rejects, the enhanced status code.
    pub fn rcpt_host(self) -> Option<&'a str> {
        self.text(Fact::RcptHost)
    }

    /// The way that mail to the last recipient takes: `{rcpt_mailer}`. By default at RCPT and after. As
    /// [`mail_mailer`](Self::mail_mailer); of a recipient that the MTA rejects, `error`.
    pub fn rcpt_mailer(self) -> Option<&'a str> {
        self.text(Fact::RcptMailer)
    }

    /// Why the MTA rejects the last recipient, if it does, as `{rcpt_mailer}`, `{rcpt_host}` and `{rcpt_addr}` say. By
    /// default at RCPT, if the filter asked for rejected recipients.
    ///
    /// After RCPT it can be about a recipient that this filter never saw: Sendmail sends the macros of those that it
    /// does not tell of.
    pub fn rejection(self) -> Option<Rejection> {
        (self.rcpt_mailer()? == "error").then(|| {
            let copy = |fact: Fact| self.get(fact.macro_name()).unwrap_or_default().to_vec().into();
            Rejection { status: copy(Fact::RcptHost), text: copy(Fact::RcptAddr) }
        })
    }

    /// The Message-Id, made by the MTA if the message has none: `{msg_id}`. By default at end of message by Sendmail;
    /// Postfix has none.
    pub fn message_id(self) -> Option<&'a str> {
        self.text(Fact::MessageId)
    }

    /// How many bytes the message has: `{msg_size}`. Sendmail has to be asked; Postfix has none.
    pub fn message_size(self) -> Option<u64> {
        self.number(Fact::MessageSize)
    }

    /// How many recipients the MTA has accepted: `{nrcpts}`. Sendmail has to be asked; Postfix has none.
    pub fn recipient_count(self) -> Option<u32> {
        self.number(Fact::RecipientCount)
    }
}

/// An address; Sendmail writes `IPv6:` before one of IPv6.
fn ip(text: &str) -> Option<IpAddr> {
    let bare = match text.split_at_checked(5) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("ipv6:") => rest,
        _ => text,
    };
    bare.parse().ok()
}

#[cfg(test)]
mod tests;
