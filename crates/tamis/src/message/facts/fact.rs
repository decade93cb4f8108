//! Which macro tells a fact, and where to ask for it (spec §8.2).

use tamis_proto::MacroStage;

use self::MacroStage::{Connect, Data, EndOfMessage, Helo, Mail, Rcpt};

macro_rules! facts {
    ($($fact:ident $method:ident $name:literal $stages:expr;)*) => {
        /// A fact that an MTA tells by a macro, for [`Facts::ask`](super::Facts::ask).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Fact {
            $(
                #[doc = concat!("[`Facts::", stringify!($method), "`](super::Facts::", stringify!($method), "): `", $name, "`.")]
                #[doc(alias = $name)]
                $fact,
            )*
        }

        impl Fact {
            /// Every fact that has a name here.
            pub const ALL: &[Self] = &[$(Self::$fact),*];

            /// The macro, as the configuration of an MTA has it.
            pub const fn macro_name(self) -> &'static str {
                match self {
                    $(Self::$fact => $name,)*
                }
            }

            /// The stages at which to ask for the macro, so that each MTA that has it sends it as soon as it is known.
            pub const fn stages(self) -> &'static [MacroStage] {
                match self {
                    $(Self::$fact => &$stages,)*
                }
            }
        }
    };
}

facts! {
    // Postfix has it at the second recipient for the first time, or after DATA if there is only one.
    QueueId queue_id "i" [Mail, Rcpt, Data];
    MtaName mta_name "j" [Connect];
    MtaVersion mta_version "v" [Connect];
    DaemonName daemon_name "{daemon_name}" [Connect];
    DaemonAddr daemon_addr "{daemon_addr}" [Connect];
    DaemonPort daemon_port "{daemon_port}" [Connect];
    InterfaceName interface_name "{if_name}" [Connect];
    InterfaceAddr interface_addr "{if_addr}" [Connect];
    ClientDescription client_description "_" [Connect];
    ClientName client_name "{client_name}" [Connect];
    ClientAddr client_addr "{client_addr}" [Connect];
    ClientPort client_port "{client_port}" [Connect];
    ClientPtr client_ptr "{client_ptr}" [Connect];
    ClientResolve client_resolve "{client_resolve}" [Connect];
    ClientConnections client_connections "{client_connections}" [Connect];
    // There is another HELO after STARTTLS.
    TlsVersion tls_version "{tls_version}" [Helo];
    Cipher cipher "{cipher}" [Helo];
    CipherBits cipher_bits "{cipher_bits}" [Helo];
    CertSubject cert_subject "{cert_subject}" [Helo];
    CertIssuer cert_issuer "{cert_issuer}" [Helo];
    TlsSni tls_sni "{tls_sni}" [Helo];
    TlsVerify tls_verify "{verify}" [Helo];
    AuthUser auth_user "{auth_authen}" [Mail];
    AuthType auth_type "{auth_type}" [Mail];
    AuthAuthor auth_author "{auth_author}" [Mail];
    AuthSsf auth_ssf "{auth_ssf}" [Mail];
    MailAddr mail_addr "{mail_addr}" [Mail];
    MailHost mail_host "{mail_host}" [Mail];
    MailMailer mail_mailer "{mail_mailer}" [Mail];
    RcptAddr rcpt_addr "{rcpt_addr}" [Rcpt];
    RcptHost rcpt_host "{rcpt_host}" [Rcpt];
    RcptMailer rcpt_mailer "{rcpt_mailer}" [Rcpt];
    MessageId message_id "{msg_id}" [EndOfMessage];
    MessageSize message_size "{msg_size}" [EndOfMessage];
    RecipientCount recipient_count "{nrcpts}" [EndOfMessage];
}
