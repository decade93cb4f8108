//! The option bits of the negotiation (spec §4.3, §4.4). Nothing else knows bit values.

use bitflags::bitflags;

use crate::stage::Stage;

bitflags! {
    /// Modifications that an MTA can perform and a filter may ask for. Unknown bits are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Actions: u32 {
        /// Add and insert header fields.
        #[doc(alias = "SMFIF_ADDHDRS")]
        const ADD_HEADERS = 0x001;
        /// Replace the body.
        #[doc(alias = "SMFIF_CHGBODY")]
        #[doc(alias = "SMFIF_MODBODY")]
        const REPLACE_BODY = 0x002;
        /// Add recipients.
        #[doc(alias = "SMFIF_ADDRCPT")]
        const ADD_RECIPIENTS = 0x004;
        /// Remove recipients.
        #[doc(alias = "SMFIF_DELRCPT")]
        const DELETE_RECIPIENTS = 0x008;
        /// Change and delete header fields.
        #[doc(alias = "SMFIF_CHGHDRS")]
        const CHANGE_HEADERS = 0x010;
        /// Hold the message.
        #[doc(alias = "SMFIF_QUARANTINE")]
        const QUARANTINE = 0x020;
        /// Change the envelope sender.
        #[doc(alias = "SMFIF_CHGFROM")]
        const CHANGE_SENDER = 0x040;
        /// Add recipients with ESMTP parameters.
        #[doc(alias = "SMFIF_ADDRCPT_PAR")]
        const ADD_RECIPIENTS_WITH_ARGS = 0x080;
        /// Name the macros wanted at each stage.
        #[doc(alias = "SMFIF_SETSYMLIST")]
        const MACRO_LISTS = 0x100;

        const _ = !0;
    }
}

bitflags! {
    /// Which events are sent and which of them are answered. Unknown bits are kept.
    ///
    /// In an MTA's offer a bit means "I understand this", in a filter's answer "do this".
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Steps: u32 {
        /// Do not send connect.
        #[doc(alias = "SMFIP_NOCONNECT")]
        const NO_CONNECT = 0x0000_0001;
        /// Do not send helo.
        #[doc(alias = "SMFIP_NOHELO")]
        const NO_HELO = 0x0000_0002;
        /// Do not send mail.
        #[doc(alias = "SMFIP_NOMAIL")]
        const NO_MAIL = 0x0000_0004;
        /// Do not send rcpt.
        #[doc(alias = "SMFIP_NORCPT")]
        const NO_RCPT = 0x0000_0008;
        /// Do not send the body.
        #[doc(alias = "SMFIP_NOBODY")]
        const NO_BODY = 0x0000_0010;
        /// Do not send header fields.
        #[doc(alias = "SMFIP_NOHDRS")]
        const NO_HEADER = 0x0000_0020;
        /// Do not send the end of headers.
        #[doc(alias = "SMFIP_NOEOH")]
        const NO_END_OF_HEADERS = 0x0000_0040;
        /// Header fields are not answered.
        #[doc(alias = "SMFIP_NR_HDR")]
        #[doc(alias = "SMFIP_NOHREPL")]
        const NO_REPLY_HEADER = 0x0000_0080;
        /// Do not send unknown commands.
        #[doc(alias = "SMFIP_NOUNKNOWN")]
        const NO_UNKNOWN = 0x0000_0100;
        /// Do not send data.
        #[doc(alias = "SMFIP_NODATA")]
        const NO_DATA = 0x0000_0200;
        /// The filter may answer skip.
        #[doc(alias = "SMFIP_SKIP")]
        const SKIP = 0x0000_0400;
        /// Also send recipients that the MTA rejects.
        #[doc(alias = "SMFIP_RCPT_REJ")]
        const REJECTED_RECIPIENTS = 0x0000_0800;
        /// Connect is not answered.
        #[doc(alias = "SMFIP_NR_CONN")]
        const NO_REPLY_CONNECT = 0x0000_1000;
        /// Helo is not answered.
        #[doc(alias = "SMFIP_NR_HELO")]
        const NO_REPLY_HELO = 0x0000_2000;
        /// Mail is not answered.
        #[doc(alias = "SMFIP_NR_MAIL")]
        const NO_REPLY_MAIL = 0x0000_4000;
        /// Rcpt is not answered.
        #[doc(alias = "SMFIP_NR_RCPT")]
        const NO_REPLY_RCPT = 0x0000_8000;
        /// Data is not answered.
        #[doc(alias = "SMFIP_NR_DATA")]
        const NO_REPLY_DATA = 0x0001_0000;
        /// Unknown commands are not answered.
        #[doc(alias = "SMFIP_NR_UNKN")]
        const NO_REPLY_UNKNOWN = 0x0002_0000;
        /// The end of headers is not answered.
        #[doc(alias = "SMFIP_NR_EOH")]
        const NO_REPLY_END_OF_HEADERS = 0x0004_0000;
        /// The body is not answered.
        #[doc(alias = "SMFIP_NR_BODY")]
        const NO_REPLY_BODY = 0x0008_0000;
        /// Header values keep the space after the colon, in both directions.
        #[doc(alias = "SMFIP_HDR_LEADSPC")]
        const LEADING_SPACE = 0x0010_0000;
        /// Payloads up to 262,143 bytes.
        #[doc(alias = "SMFIP_MDS_256K")]
        const PAYLOAD_256K = 0x1000_0000;
        /// Payloads up to 1,048,575 bytes.
        #[doc(alias = "SMFIP_MDS_1M")]
        const PAYLOAD_1M = 0x2000_0000;

        const _ = !0;
    }
}

impl Actions {
    /// What an MTA of version 1 can do; also meant by an offer of no actions at all.
    #[doc(alias = "SMFI_V1_ACTS")]
    pub const VERSION_1: Self = Self::from_bits_retain(0x0f);
    /// What an MTA of version 2 can do.
    #[doc(alias = "SMFI_V2_ACTS")]
    pub const VERSION_2: Self = Self::from_bits_retain(0x3f);
    /// Everything the protocol knows.
    #[doc(alias = "SMFI_CURR_ACTS")]
    pub const CURRENT: Self = Self::from_bits_retain(0x1ff);
}

impl Steps {
    /// What an MTA of version 1 understands; also meant by an offer of no steps at all.
    #[doc(alias = "SMFI_V1_PROT")]
    pub const VERSION_1: Self = Self::from_bits_retain(0x3f);
    /// What an MTA of version 2 understands.
    #[doc(alias = "SMFI_V2_PROT")]
    pub const VERSION_2: Self = Self::from_bits_retain(0x7f);
    /// What an MTA of version 3 understands.
    pub const VERSION_3: Self = Self::from_bits_retain(0x17f);
    /// What an MTA of version 4 understands.
    pub const VERSION_4: Self = Self::from_bits_retain(0x37f);
    /// Everything but the larger packet sizes.
    #[doc(alias = "SMFI_CURR_PROT")]
    pub const CURRENT: Self = Self::from_bits_retain(0x1f_ffff);
    /// Both larger packet sizes.
    pub const PAYLOAD_SIZES: Self = Self::PAYLOAD_256K.union(Self::PAYLOAD_1M);
    /// Bits that are between a library and an MTA, whatever the filter is.
    #[doc(alias = "SMFI_INTERNAL")]
    pub const INTERNAL: Self = Self::from_bits_retain(0x7000_0000);
    /// Every "do not send" bit.
    pub const NO_STAGES: Self = Self::from_bits_retain(0x37f);
    /// Every "is not answered" bit.
    pub const NO_REPLIES: Self = Self::from_bits_retain(0xf_f080);

    /// The bit that keeps `stage` from being sent; empty for the end of message, which is always sent.
    pub const fn no_send(stage: Stage) -> Self {
        match stage {
            Stage::Connect => Self::NO_CONNECT,
            Stage::Helo => Self::NO_HELO,
            Stage::Mail => Self::NO_MAIL,
            Stage::Rcpt => Self::NO_RCPT,
            Stage::Data => Self::NO_DATA,
            Stage::Header => Self::NO_HEADER,
            Stage::EndOfHeaders => Self::NO_END_OF_HEADERS,
            Stage::Body => Self::NO_BODY,
            Stage::EndOfMessage => Self::empty(),
            Stage::Unknown => Self::NO_UNKNOWN,
        }
    }

    /// The bit that leaves `stage` unanswered; empty for the end of message, which is always answered.
    pub const fn no_reply(stage: Stage) -> Self {
        match stage {
            Stage::Connect => Self::NO_REPLY_CONNECT,
            Stage::Helo => Self::NO_REPLY_HELO,
            Stage::Mail => Self::NO_REPLY_MAIL,
            Stage::Rcpt => Self::NO_REPLY_RCPT,
            Stage::Data => Self::NO_REPLY_DATA,
            Stage::Header => Self::NO_REPLY_HEADER,
            Stage::EndOfHeaders => Self::NO_REPLY_END_OF_HEADERS,
            Stage::Body => Self::NO_REPLY_BODY,
            Stage::EndOfMessage => Self::empty(),
            Stage::Unknown => Self::NO_REPLY_UNKNOWN,
        }
    }

    /// Whether `stage` is sent under these agreed steps.
    pub const fn sends(self, stage: Stage) -> bool {
        let bit = Self::no_send(stage);
        bit.is_empty() || !self.contains(bit)
    }

    /// Whether `stage` is answered under these agreed steps.
    pub const fn answers(self, stage: Stage) -> bool {
        let bit = Self::no_reply(stage);
        bit.is_empty() || !self.contains(bit)
    }
}

impl std::fmt::Display for Actions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        names(f, self.iter_names().map(|(name, _)| name), self.bits() & !Self::CURRENT.bits())
    }
}

impl std::fmt::Display for Steps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = Self::CURRENT | Self::PAYLOAD_SIZES;
        names(f, self.iter_names().map(|(name, _)| name), self.bits() & !known.bits())
    }
}

/// Writes flag names the way the documentation spells them, unknown bits as a number.
fn names(
    f: &mut std::fmt::Formatter<'_>,
    names: impl Iterator<Item = &'static str>,
    unknown: u32,
) -> std::fmt::Result {
    let mut separator = "";
    for name in names {
        write!(f, "{separator}{}", name.to_ascii_lowercase().replace('_', "-"))?;
        separator = "|";
    }
    match (unknown, separator) {
        (0, "") => f.write_str("none"),
        (0, _) => Ok(()),
        _ => write!(f, "{separator}{unknown:#x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_those_of_the_specification() {
        let named = Actions::all().iter_names().fold(Actions::empty(), |all, (_, bit)| all | bit);
        assert_eq!(named, Actions::CURRENT);
        let stages = Stage::ALL.into_iter().fold(Steps::empty(), |all, stage| all | Steps::no_send(stage));
        assert_eq!(stages, Steps::NO_STAGES);
        let replies = Stage::ALL.into_iter().fold(Steps::empty(), |all, stage| all | Steps::no_reply(stage));
        assert_eq!(replies, Steps::NO_REPLIES);
        assert_eq!(
            stages | replies | Steps::SKIP | Steps::REJECTED_RECIPIENTS | Steps::LEADING_SPACE,
            Steps::CURRENT
        );
    }

    #[test]
    fn flags_print_their_names() {
        assert_eq!(Actions::empty().to_string(), "none");
        assert_eq!((Actions::ADD_HEADERS | Actions::QUARANTINE).to_string(), "add-headers|quarantine");
        assert_eq!(Steps::from_bits_retain(0x4000_0400).to_string(), "skip|0x40000000");
    }
}
