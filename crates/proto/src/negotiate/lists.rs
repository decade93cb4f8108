//! Macro lists: which macros a filter wants at each stage (spec §4.8).

use crate::codec::{Put, Reader};
use crate::error::Fault;
use crate::stage::Stage;

/// The stages for which a filter can name macros, numbered as on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MacroStage {
    /// At connect.
    #[doc(alias = "SMFIM_CONNECT")]
    Connect = 0,
    /// At helo.
    #[doc(alias = "SMFIM_HELO")]
    Helo = 1,
    /// At mail.
    #[doc(alias = "SMFIM_ENVFROM")]
    Mail = 2,
    /// At rcpt.
    #[doc(alias = "SMFIM_ENVRCPT")]
    Rcpt = 3,
    /// At data.
    #[doc(alias = "SMFIM_DATA")]
    Data = 4,
    /// At end of message.
    #[doc(alias = "SMFIM_EOM")]
    EndOfMessage = 5,
    /// At end of headers.
    #[doc(alias = "SMFIM_EOH")]
    EndOfHeaders = 6,
}

impl MacroStage {
    /// All of them in wire order.
    pub const ALL: [Self; 7] = [
        Self::Connect,
        Self::Helo,
        Self::Mail,
        Self::Rcpt,
        Self::Data,
        Self::EndOfMessage,
        Self::EndOfHeaders,
    ];

    /// The stage of the session whose macros are meant.
    pub const fn stage(self) -> Stage {
        match self {
            Self::Connect => Stage::Connect,
            Self::Helo => Stage::Helo,
            Self::Mail => Stage::Mail,
            Self::Rcpt => Stage::Rcpt,
            Self::Data => Stage::Data,
            Self::EndOfMessage => Stage::EndOfMessage,
            Self::EndOfHeaders => Stage::EndOfHeaders,
        }
    }
}

/// Macro names wanted per stage; a stage without a list gets what the MTA is configured to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[doc(alias = "SMFIR_SETSYMLIST")]
pub struct MacroLists([Option<Vec<String>>; 7]);

/// Sendmail cuts a longer list.
pub(crate) const MAX_NAMES: usize = 50;

impl MacroLists {
    /// Adds names at a stage, keeping the first of duplicates. An empty list asks for none at all.
    ///
    /// Names are written as the MTA's configuration has them: `i`, `{mail_addr}`. A longer name without
    /// braces gets them.
    pub fn want<N: AsRef<str>>(&mut self, stage: MacroStage, names: impl IntoIterator<Item = N>) {
        let list = self.0[stage as usize].get_or_insert_default();
        for name in names {
            let name = name.as_ref();
            let name =
                if name.len() > 1 && !name.starts_with('{') { format!("{{{name}}}") } else { name.into() };
            if !list.contains(&name) {
                list.push(name);
            }
        }
    }

    /// The names wanted at a stage, if it has a list.
    pub fn get(&self, stage: MacroStage) -> Option<&[String]> {
        self.0[stage as usize].as_deref()
    }

    /// Whether no stage has a list.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// The first name that cannot be sent, or the stage with more names than Sendmail takes.
    pub(crate) fn check(&self) -> Result<(), String> {
        for stage in MacroStage::ALL {
            let Some(list) = self.get(stage) else { continue };
            if list.len() > MAX_NAMES {
                return Err(format!(
                    "{} macros wanted at {}, at most {MAX_NAMES} can be",
                    list.len(),
                    stage.stage()
                ));
            }
            let bad =
                |name: &&String| name.is_empty() || name.bytes().any(|b| b <= b' ' || b == b',' || b > b'~');
            if let Some(name) = list.iter().find(bad) {
                return Err(format!("{name:?} wanted at {} is not a macro name", stage.stage()));
            }
        }
        Ok(())
    }

    /// The lists as on the wire.
    ///
    /// Sendmail looks at an end-of-message list only if there is one for the end of headers too, and with the
    /// latter alone it sends no macros at end of message (spec §4.8): where one of the two is given, the other
    /// goes out with what both MTAs send by default, if `pair_end_lists` says so.
    pub(crate) fn encode(&self, pair_end_lists: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let both = pair_end_lists
            && (self.get(MacroStage::EndOfMessage).is_some() || self.get(MacroStage::EndOfHeaders).is_some());
        for stage in MacroStage::ALL {
            let default = match stage {
                MacroStage::EndOfMessage if both => Some("i {msg_id}"),
                MacroStage::EndOfHeaders if both => Some("i"),
                _ => None,
            };
            let list = self.get(stage).map(|names| names.join(" "));
            if let Some(list) = list.as_deref().or(default) {
                out.u32(stage as u32);
                out.cstr(list.as_bytes());
            }
        }
        out
    }

    /// Reads lists as on the wire, at most `limit` names at a stage: strictly, but a stage that does not exist is
    /// passed over and counted.
    pub(crate) fn decode(bytes: &[u8], limit: usize) -> Result<(Self, usize), Fault> {
        let mut reader = Reader(bytes);
        let mut lists = Self::default();
        let mut counts = [0; 7];
        let mut unknown = 0;
        while !reader.is_empty() {
            let number = reader.u32().map_err(|_| Fault::BadMacroList)?;
            let names = reader.cstr().map_err(|_| Fault::BadMacroList)?;
            let Some(stage) = MacroStage::ALL.into_iter().find(|stage| *stage as u32 == number) else {
                unknown += 1;
                continue;
            };
            let names = names.split(|b| matches!(b, b' ' | b',' | b'\t')).filter(|name| !name.is_empty());
            // Also for a stage that comes again, so that the work is bounded whatever the packet holds.
            counts[stage as usize] += names.clone().count();
            if counts[stage as usize] > limit {
                return Err(Fault::BadMacroList);
            }
            lists.want(stage, names.map(String::from_utf8_lossy));
        }
        Ok((lists, unknown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_end_of_message_and_end_of_headers_go_out_together() {
        let mut lists = MacroLists::default();
        lists.want(MacroStage::EndOfMessage, ["i", "msg_id", "i"]);
        assert_eq!(lists.encode(true), b"\0\0\0\x05i {msg_id}\0\0\0\0\x06i\0");
        let mut lists = MacroLists::default();
        lists.want(MacroStage::EndOfHeaders, ["i"]);
        assert_eq!(lists.encode(true), b"\0\0\0\x05i {msg_id}\0\0\0\0\x06i\0");
        let mut lists = MacroLists::default();
        lists.want(MacroStage::Helo, [""; 0]);
        assert_eq!(lists.encode(true), b"\0\0\0\x01\0");
    }

    #[test]
    fn decoding_is_strict_about_the_tail_and_lenient_about_stages() {
        let (lists, unknown) = MacroLists::decode(b"\0\0\0\x02i {mail_addr}, j\0\0\0\0\x09x\0", 3).unwrap();
        assert_eq!(lists.get(MacroStage::Mail).unwrap(), ["i", "{mail_addr}", "j"]);
        assert_eq!(unknown, 1);
        for bad in [&b"\0\0\0\x02i"[..], b"\0\0\0\x02i\0\0", b"\0\0\0\x02a b\0\0\0\0\x02c d\0"] {
            assert_eq!(MacroLists::decode(bad, 3), Err(Fault::BadMacroList), "{bad:?}");
        }
    }

    #[test]
    fn up_to_fifty_macros_can_be_wanted_at_a_stage() {
        let mut lists = MacroLists::default();
        lists.want(MacroStage::Mail, (0..50).map(|n| format!("m{n}")));
        assert_eq!(lists.check(), Ok(()));
        lists.want(MacroStage::Mail, ["i"]);
        assert!(lists.check().unwrap_err().contains("51 macros wanted at mail"));
        let mut lists = MacroLists::default();
        lists.want(MacroStage::Mail, ["a b"]);
        assert!(lists.check().is_err());
    }
}
