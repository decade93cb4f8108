//! Plays the script: the server with the filter at one end of a connection in memory, the client at the other.

use bytes::Bytes;
use tamis_proto::{Actions, Agreement, DataSize, MacroLists, Profile, Stage, Steps, Verdict};
use tokio::time::{Instant, timeout};

use super::RunError;
use super::mta::Mta;
use super::report::{Ending, Failure, MacroNotAskedFor, MessageReport, Report};
use super::script::{Act, Content, Part};
use crate::client::{self, Client, ClientError, Delivery, Goes, MacroSource, Mail};
use crate::filter::{Filter, Peer};
use crate::server::{Witness, serve_single};
use crate::stream::{Memory, Stream};

/// Runs the whole session.
pub(super) async fn run<F: Filter>(mta: &Mta, make: impl FnOnce(&Peer) -> F) -> Result<Report, RunError> {
    let script = mta.whole_script();
    let mut mails = Vec::new();
    for part in script.parts() {
        mails.push((part, mail(mta, part)?));
    }
    let (ours, theirs) = Memory::pair();
    let witness = Witness::new();
    let peer = Peer { id: 1, address: mta.peer.clone(), credentials: None };
    let filter = make(&peer);
    let served = serve_single(Stream::Memory(theirs), peer, filter, mta.options.clone(), witness.clone());
    let start = Instant::now();
    let mut play = Play { mta, given: Vec::new(), helo: None, agreement: None, parts: Vec::new() };
    let played = async {
        let session = play.session(&mails, Stream::Memory(ours));
        match mta.vanishes {
            None => session.await.map_err(|error| Ending::Lost(error.to_string())),
            Some(time) => match timeout(time, session).await {
                Ok(result) => result.map_err(|error| Ending::Lost(error.to_string())),
                Err(_) => Err(Ending::Vanished(time)),
            },
        }
    };
    let ((), result) = tokio::join!(Box::pin(served), Box::pin(played));
    let elapsed = start.elapsed();
    let seen = witness.seen();
    let ending = match (result, seen.end) {
        (Ok(()), None) => Ending::Quit,
        (Err(Ending::Vanished(time)), _) => Ending::Vanished(time),
        // The filter's side knows why it closed, the other only that it was.
        (_, Some(why)) | (Err(Ending::Lost(why)), None) => Ending::Lost(why),
        (Err(ending), None) => ending,
    };
    let failures: Vec<_> = seen.failures.into_iter().map(|(at, text)| Failure { at, text }).collect();
    let macros = play.macros_not_asked_for(witness.macros().names(), &failures);
    play.fail_the_rest(&mails, &ending);
    let Play { agreement, parts, .. } = play;
    Ok(Report { profile: mta.config.profile, agreement, parts, failures, macros, ending, elapsed })
}

/// The session as far as it was played.
struct Play<'m> {
    mta: &'m Mta,
    /// Macros that the test gave so far.
    given: Vec<(String, Bytes)>,
    helo: Option<Bytes>,
    agreement: Option<Agreement>,
    parts: Vec<MessageReport>,
}

impl Play<'_> {
    async fn session(&mut self, mails: &[(&Part, Mail)], stream: Stream) -> Result<(), ClientError> {
        let mut client = Client::negotiate(stream, self.mta.config).await?;
        self.agreement = Some(client.agreement().clone());
        for (part, mail) in mails {
            self.part(&mut client, part, mail).await?;
        }
        client.quit().await
    }

    async fn part(&mut self, client: &mut Client, part: &Part, mail: &Mail) -> Result<(), ClientError> {
        let profile = self.mta.config.profile;
        let mail = &Mail { helo: self.helo_of(part), ..mail.clone() };
        let report = client::Report::new(profile, client.agreement().clone(), mail);
        self.parts.push(MessageReport::new(profile, report, part));
        let report = &mut self.parts.last_mut().expect("it was just pushed").report;
        let mut macros = macros(self.mta, mail);
        self.given.iter().for_each(|(name, value)| macros.give(name, value.clone()));
        let mut delivery = Delivery::new(client, macros, report);
        delivery.brackets = self.mta.brackets;
        let mut goes = if delivery.may_begin() { Goes::On } else { Goes::NoFurther };
        let mut open = false;
        for act in &part.acts {
            match act {
                Act::Macro(name, value) => {
                    delivery.macros.give(name, value.clone());
                    self.given.push((name.clone(), value.clone()));
                }
                // A client can introduce itself whatever became of its message.
                Act::Helo(name) => {
                    self.helo = Some(name.clone());
                    if !delivery.may_begin() {
                        continue;
                    }
                    // Postfix tells of the HELO first and aborts then (spec §10.1).
                    if open && profile == Profile::Sendmail {
                        delivery.abort().await?;
                    }
                    goes = delivery.helo(name).await?;
                }
                _ if goes == Goes::NoFurther => {}
                Act::Connect => goes = delivery.connect(mail).await?,
                Act::Unknown(line) => goes = delivery.unknown(line).await?,
                Act::From => {
                    open = true;
                    goes = delivery.sender(&mail.sender).await?;
                }
                Act::To(number) => goes = delivery.recipient(&mail.recipients[*number]).await?,
                Act::Data => goes = delivery.data().await?,
                Act::Content => goes = delivery.content().await?,
            }
        }
        if delivery.may_begin() {
            delivery.abort().await?;
        }
        delivery.finish();
        if part.content.is_none() {
            report.delivered = None;
        }
        Ok(())
    }

    /// What the client calls itself when the message comes.
    fn helo_of(&self, part: &Part) -> Option<Bytes> {
        let said = part.acts.iter().take_while(|act| !matches!(act, Act::From)).filter_map(|act| match act {
            Act::Helo(name) => Some(name.clone()),
            _ => None,
        });
        said.last().or_else(|| self.helo.clone())
    }

    /// What an MTA does when a filter is lost: it refuses mail for now, by default.
    fn fail_the_rest(&mut self, mails: &[(&Part, Mail)], ending: &Ending) {
        if matches!(ending, Ending::Quit) {
            return;
        }
        let played = self.parts.len();
        // It may be over when the last message is through.
        if let Some(last) = self.parts.last_mut().filter(|last| !last.is_through()) {
            last.report.verdict = Verdict::Tempfail;
            last.report.delivered = None;
        }
        let stage = self.parts.last().map_or(Stage::Connect, |last| last.report.stage);
        for (part, mail) in mails.iter().skip(played) {
            let agreement = self.agreement.clone().unwrap_or_else(nothing_agreed);
            let mut report = client::Report::new(self.mta.config.profile, agreement, mail);
            (report.verdict, report.stage) = (Verdict::Tempfail, stage);
            self.parts.push(MessageReport::new(self.mta.config.profile, report, part));
        }
    }

    fn macros_not_asked_for(
        &self,
        missed: Vec<(Option<Stage>, Vec<u8>)>,
        failures: &[Failure],
    ) -> Vec<MacroNotAskedFor> {
        let Some(agreement) = &self.agreement else { return Vec::new() };
        let source = macros(self.mta, &Mail::new("", [""; 0], ""));
        let is_listed = |at: Option<Stage>, name: &str| {
            let until = |stage: &Stage| at.is_none_or(|at| *stage <= at);
            Stage::ALL
                .into_iter()
                .filter(until)
                .filter_map(|stage| source.names(stage, agreement))
                .flatten()
                .any(|listed| client::braced(&listed) == name)
        };
        missed
            .into_iter()
            .map(|(stage, name)| (stage, client::braced(&String::from_utf8_lossy(&name))))
            // The server looks for the queue id when it logs a failure.
            .filter(|(stage, name)| {
                name != "i" || !failures.iter().any(|failure| Some(failure.at) == stage.map(Stage::name))
            })
            .filter(|(stage, name)| !is_listed(*stage, name))
            .map(|(stage, name)| MacroNotAskedFor { name, stage })
            .collect()
    }
}

fn nothing_agreed() -> Agreement {
    Agreement {
        version: 0,
        actions: Actions::empty(),
        steps: Steps::empty(),
        data_size: DataSize::default(),
        macros: MacroLists::default(),
    }
}

fn macros(mta: &Mta, mail: &Mail) -> MacroSource {
    let mut macros = MacroSource::new(mta.config.profile, mail);
    mta.configured.iter().for_each(|(stage, name)| macros.configure(*stage, name));
    macros
}

fn mail(mta: &Mta, part: &Part) -> Result<Mail, RunError> {
    let message = match &part.content {
        None => Bytes::new(),
        Some(Content::Bytes(bytes)) => bytes.clone(),
        Some(Content::File(path)) => {
            std::fs::read(path).map_err(|source| RunError::File { path: path.clone(), source })?.into()
        }
    };
    Ok(Mail {
        client_name: mta.client_name.clone(),
        client: mta.client,
        helo: None,
        sender: part.sender.clone().unwrap_or_default(),
        recipients: part.recipients.clone(),
        macros: Vec::new(),
        message,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::{Buf, BytesMut};
    use tamis_proto::{Fault, Frame, Needs};

    use super::*;

    const CONTINUE: &[u8] = b"\0\0\0\x01c";
    const ADD_HEADER: &[u8] = b"\0\0\0\x05hX\x001\0";

    /// A filter that has no library to keep it from anything: adds a header field at some command.
    async fn add_header_at(stream: Stream, letter: u8) {
        let mut session = tamis_proto::FilterSession::default();
        let (mut buf, mut offered) = (BytesMut::new(), false);
        loop {
            buf.reserve(1000);
            if stream.read(&mut buf).await.unwrap() == 0 {
                return;
            }
            while let Some((used, frame)) = Frame::parse(&buf, 1000).unwrap() {
                let code = frame.code;
                let mut out = Vec::new();
                if !offered {
                    offered = true;
                    session.next(&buf).unwrap();
                    let needs = Needs::everything().require(Actions::ADD_HEADERS);
                    session.negotiate(&needs).unwrap();
                    out = crate::wire::contents(session.output());
                } else if code == letter {
                    out.extend_from_slice(ADD_HEADER);
                    out.extend_from_slice(CONTINUE);
                } else if !matches!(code, b'D' | b'A' | b'Q') {
                    out.extend_from_slice(CONTINUE);
                }
                buf.advance(used);
                if stream.write(&mut &out[..], Duration::from_secs(1)).await.is_err() {
                    return;
                }
            }
        }
    }

    /// What comes of it.
    async fn adding_at(letter: u8) -> (Result<(), ClientError>, Vec<MessageReport>) {
        let mta = Mta::postfix().message("A: b\n\nhello\n");
        let script = mta.whole_script();
        let mails: Vec<_> = script.parts().iter().map(|part| (part, mail(&mta, part).unwrap())).collect();
        let (ours, theirs) = Memory::pair();
        let mut play = Play { mta: &mta, given: Vec::new(), helo: None, agreement: None, parts: Vec::new() };
        let filter = add_header_at(Stream::Memory(theirs), letter);
        let (result, ()) = tokio::join!(play.session(&mails, Stream::Memory(ours)), filter);
        (result, play.parts)
    }

    #[tokio::test(start_paused = true)]
    async fn modification_at_any_stage_but_the_end_of_message_ends_the_session() {
        for (letter, stage) in [
            (b'C', Stage::Connect),
            (b'H', Stage::Helo),
            (b'M', Stage::Mail),
            (b'R', Stage::Rcpt),
            (b'T', Stage::Data),
            (b'L', Stage::Header),
            (b'N', Stage::EndOfHeaders),
            (b'B', Stage::Body),
        ] {
            let (result, parts) = adding_at(letter).await;
            let Err(ClientError::Protocol(error)) = result else { panic!("{result:?} at {stage}") };
            assert_eq!(error.fault, Fault::OutOfOrder);
            assert_eq!((parts[0].stage(), parts[0].edits().len()), (stage, 0));
        }
        let (result, parts) = adding_at(b'E').await;
        result.unwrap();
        assert_eq!(parts[0].message().unwrap().header("X").as_deref(), Some("1"));
    }
}
