//! A whole piece of mail, from connect to the end of message.

use std::time::Duration;

use bytes::Bytes;
use tamis_proto::command::{Connect, Envelope, Header};
use tamis_proto::edit::model::{Field, Message, Model, Path};
use tamis_proto::frame::MAX_PAYLOAD;
use tamis_proto::{Agreement, Command, Profile, Stage, Verdict};
use tokio::time::Instant;

use super::macros::MacroSource;
use super::{Client, ClientError, Mail, Report, StepReport};

/// Fields that Sendmail's usual configuration has a template for, below its `Received`: they count for insertions.
const SENDMAIL_TEMPLATES: [&str; 7] =
    ["Resent-Date", "Date", "Resent-From", "From", "Full-Name", "Resent-Message-Id", "Message-Id"];

/// A piece of mail on its way through the stages.
pub(crate) struct Delivery<'c> {
    client: &'c mut Client,
    pub(crate) macros: MacroSource,
    report: &'c mut Report,
    model: Model,
    refused: usize,
    /// Whether the SMTP client writes paths in angle brackets, which an MTA shows as they are (spec §2.5).
    pub(crate) brackets: bool,
    start: Instant,
}

/// Whether the mail goes on to the next stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goes {
    On,
    NoFurther,
}

impl Client {
    /// Shows a piece of mail to the filter, stage by stage as an MTA does, and applies what it asks for.
    ///
    /// The first mail of a connection begins with connect and helo, a later one with its sender.
    ///
    /// # Errors
    ///
    /// When the filter breaks the protocol, goes away or is too slow. What it said before is lost then.
    pub async fn send(&mut self, mail: &Mail) -> Result<Report, ClientError> {
        let macros = MacroSource::new(self.config.profile, mail);
        let introduced = std::mem::replace(&mut self.introduced, true);
        let mut report = Report::new(self.config.profile, self.agreement.clone(), mail);
        let mut delivery = Delivery::new(self, macros, &mut report);
        if delivery.may_begin() {
            delivery.envelope(mail, introduced).await?;
            delivery.abort().await?;
        }
        delivery.finish();
        Ok(report)
    }
}

impl Report {
    /// What is known of a piece of mail before the filter has seen it.
    pub(crate) fn new(profile: Profile, agreement: Agreement, mail: &Mail) -> Self {
        let mut original = Message::from_bytes(&mail.message);
        original.sender = mail.sender.clone();
        original.recipients.clone_from(&mail.recipients);
        original.headers.insert(0, own_received(profile, mail));
        Self {
            agreement,
            steps: Vec::new(),
            edits: Vec::new(),
            refused: Vec::new(),
            verdict: Verdict::Continue,
            stage: Stage::Connect,
            original,
            delivered: None,
            elapsed: Duration::ZERO,
        }
    }
}

impl<'c> Delivery<'c> {
    pub(crate) fn new(client: &'c mut Client, macros: MacroSource, report: &'c mut Report) -> Self {
        let model = Model::new(client.config.profile, report.original.clone())
            .own_fields(1)
            .blank_defaults(SENDMAIL_TEMPLATES)
            .leading_space(client.agreement.leading_space());
        Self { client, macros, report, model, refused: 0, brackets: true, start: Instant::now() }
    }

    /// Whether the MTA takes mail over this connection: after a refusal of the client or of everything it takes none
    /// (spec §3.2), and that is the verdict.
    pub(crate) fn may_begin(&mut self) -> bool {
        let Some((stage, verdict)) = self.client.refused.clone() else { return true };
        (self.report.stage, self.report.verdict) = (stage, verdict);
        false
    }

    /// Postfix says so after every message, Sendmail where one is open; the session knows.
    pub(crate) async fn abort(&mut self) -> Result<(), ClientError> {
        self.client.step(&Command::<Bytes>::Abort, None).await?;
        Ok(())
    }

    async fn envelope(&mut self, mail: &Mail, introduced: bool) -> Result<Goes, ClientError> {
        if !introduced {
            if self.connect(mail).await? == Goes::NoFurther {
                return Ok(Goes::NoFurther);
            }
            if let Some(name) = &mail.helo
                && self.helo(name).await? == Goes::NoFurther
            {
                return Ok(Goes::NoFurther);
            }
        }
        if self.sender(&mail.sender).await? == Goes::NoFurther {
            return Ok(Goes::NoFurther);
        }
        for recipient in &mail.recipients {
            if self.recipient(recipient).await? == Goes::NoFurther {
                return Ok(Goes::NoFurther);
            }
        }
        self.content().await
    }

    pub(crate) async fn connect(&mut self, mail: &Mail) -> Result<Goes, ClientError> {
        let connect = connect(self.client.config.profile, mail);
        let about = mail.client.map_or_else(Bytes::new, |client| Bytes::from(client.to_string()));
        self.step(&Command::Connect(connect), about).await
    }

    pub(crate) async fn helo(&mut self, name: &Bytes) -> Result<Goes, ClientError> {
        self.step(&Command::Helo(name), name.clone()).await
    }

    pub(crate) async fn sender(&mut self, sender: &Path) -> Result<Goes, ClientError> {
        self.step(&Command::Mail(self.envelope_of(sender)), sender.address.clone()).await
    }

    pub(crate) async fn recipient(&mut self, recipient: &Path) -> Result<Goes, ClientError> {
        self.macros.recipient(&recipient.address);
        let goes = self.step(&Command::Rcpt(self.envelope_of(recipient)), recipient.address.clone()).await?;
        let verdict = self.last_verdict();
        if goes == Goes::On && verdict.stops() {
            self.refused += 1;
            self.report.verdict = verdict;
            self.refuse(recipient);
        } else {
            self.macros.queued();
        }
        Ok(goes)
    }

    /// The rest of the message, from DATA on.
    pub(crate) async fn content(&mut self) -> Result<Goes, ClientError> {
        match self.data().await? {
            Goes::On => self.text().await,
            Goes::NoFurther => Ok(Goes::NoFurther),
        }
    }

    /// DATA, which the MTA refuses by itself if all recipients were refused.
    pub(crate) async fn data(&mut self) -> Result<Goes, ClientError> {
        if self.refused > 0 && self.refused == self.report.original.recipients.len() {
            return Ok(Goes::NoFurther);
        }
        self.report.verdict = Verdict::Continue;
        self.step(&Command::<Bytes>::Data, Bytes::new()).await
    }

    /// A command that the MTA does not know.
    #[cfg(feature = "testing")]
    pub(crate) async fn unknown(&mut self, line: &Bytes) -> Result<Goes, ClientError> {
        // Postfix 3.7 has cut the line into words (spec §2.7).
        let end = match self.client.config.profile {
            Profile::Postfix => line.iter().position(u8::is_ascii_whitespace),
            Profile::Sendmail => None,
        };
        let shown = line.slice(..end.unwrap_or(line.len()));
        self.step(&Command::Unknown(shown), line.clone()).await
    }

    async fn text(&mut self) -> Result<Goes, ClientError> {
        let fields: Vec<Field> = self.model.shown().cloned().collect();
        for field in fields {
            let header = Header { name: field.name.clone(), value: field.value, implied_space: false };
            if self.step(&Command::Header(header), field.name).await? == Goes::NoFurther {
                return Ok(Goes::NoFurther);
            }
        }
        if self.step(&Command::<Bytes>::EndOfHeaders, Bytes::new()).await? == Goes::NoFurther {
            return Ok(Goes::NoFurther);
        }
        let mut body = Bytes::from(self.model.body().to_vec());
        while !body.is_empty() {
            let piece = body.split_to(body.len().min(MAX_PAYLOAD));
            let about = Bytes::from(format!("{} bytes", piece.len()));
            if self.step(&Command::Body(piece), about).await? == Goes::NoFurther {
                return Ok(Goes::NoFurther);
            }
        }
        self.step(&Command::EndOfMessage(Bytes::new()), Bytes::new()).await
    }

    /// Sends one step, notes what comes back and tells whether the mail goes on.
    async fn step<B: AsRef<[u8]>>(
        &mut self,
        command: &Command<B>,
        about: Bytes,
    ) -> Result<Goes, ClientError> {
        let stage = command.kind().stage().expect("steps of a delivery have a stage");
        let macros = self.macros.packet(stage, &self.client.agreement);
        let begin = Instant::now();
        self.report.stage = stage;
        let answer = self.client.step(command, macros.as_ref()).await?;
        let verdict = answer.outcome.verdict();
        self.report.steps.push(StepReport {
            stage,
            about,
            outcome: answer.outcome,
            progress: answer.progress,
            elapsed: begin.elapsed(),
        });
        for edit in answer.edits {
            match self.model.apply(&edit) {
                Ok(applied) => self.report.edits.push((edit, applied)),
                Err(refused) => self.report.refused.push((edit, refused.to_string())),
            }
        }
        self.report.refused.extend(answer.refused.into_iter().map(|(edit, why)| (edit, why.to_string())));
        let closes = matches!(&verdict, Verdict::Reply(reply) if reply.code() == 421);
        let client_stage = matches!(stage, Stage::Connect | Stage::Helo);
        if closes || client_stage && verdict.stops() && verdict != Verdict::Discard {
            self.client.refused = Some((stage, verdict.clone()));
        }
        let final_word = match (&verdict, stage) {
            _ if closes => true,
            (Verdict::Continue | Verdict::Skip, _)
            // Both MTAs go on after a discard at connect and helo.
            | (Verdict::Discard, Stage::Connect | Stage::Helo)
            | (Verdict::Reject | Verdict::Tempfail | Verdict::Reply(_), Stage::Rcpt)
            // A refusal is of that command alone.
            | (_, Stage::Unknown) => false,
            _ => true,
        };
        if final_word || stage == Stage::EndOfMessage {
            self.report.verdict = verdict;
            return Ok(Goes::NoFurther);
        }
        Ok(Goes::On)
    }

    fn envelope_of(&self, path: &Path) -> Envelope<Vec<u8>> {
        let (open, close) = if self.brackets { ("<", ">") } else { ("", "") };
        Envelope::with_args(&[open.as_bytes(), &path.address, close.as_bytes()].concat(), &path.args)
    }

    fn last_verdict(&self) -> Verdict {
        self.report.steps.last().map_or(Verdict::Continue, |step| step.outcome.verdict())
    }

    /// Takes a refused recipient out of the message.
    fn refuse(&mut self, recipient: &Path) {
        let delete = tamis_proto::Edit::DeleteRecipient { address: recipient.address.clone() };
        let _ = self.model.apply(&delete);
    }

    pub(crate) fn finish(self) {
        self.report.elapsed = self.start.elapsed();
        if !self.report.verdict.stops() {
            self.report.delivered = Some(self.model.finish());
        }
    }
}

fn connect(profile: Profile, mail: &Mail) -> Connect<Vec<u8>> {
    let sendmail = profile == Profile::Sendmail;
    let Some(client) = mail.client else {
        return Connect::unknown(mail.client_name.as_deref().unwrap_or(b"localhost"));
    };
    let name = match &mail.client_name {
        Some(name) => name.to_vec(),
        None if sendmail && client.is_ipv6() => {
            [b"[", Connect::inet("", client, true).address(), b"]"].concat()
        }
        None => format!("[{}]", client.ip()).into_bytes(),
    };
    Connect::inet(name, client, sendmail)
}

/// The trace field that the MTA puts on top; filters do not see it, but insert positions count it.
fn own_received(profile: Profile, mail: &Mail) -> Field {
    let helo = mail.helo.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    let client = mail.client.map_or_else(|| "unknown".to_owned(), |client| client.ip().to_string());
    let software = if profile == Profile::Postfix { "Postfix" } else { "8.17.1.9/8.17.1.9" };
    let value = format!(" from {helo} (unknown [{client}])\n\tby mta.example ({software}) with ESMTP");
    Field::new("Received", value)
}
