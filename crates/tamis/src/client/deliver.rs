//! A whole piece of mail, from connect to the end of message.

use bytes::Bytes;
use tamis_proto::command::{Connect, Envelope, Header};
use tamis_proto::edit::model::{Field, Message, Model, Path};
use tamis_proto::frame::MAX_PAYLOAD;
use tamis_proto::{Command, Profile, Stage, Verdict};
use tokio::time::Instant;

use super::macros::MacroSource;
use super::{Client, ClientError, Mail, Report, StepReport};

/// A piece of mail on its way through the stages.
struct Delivery<'c> {
    client: &'c mut Client,
    macros: MacroSource,
    report: Report,
    model: Model,
    start: Instant,
}

/// Whether the mail goes on to the next stage.
#[derive(PartialEq, Eq)]
enum Goes {
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
        let profile = self.config.profile;
        let mut original = Message::from_bytes(&mail.message);
        original.sender = mail.sender.clone();
        original.recipients.clone_from(&mail.recipients);
        original.headers.insert(0, own_received(profile, mail));
        let model =
            Model::new(profile, original.clone()).own_fields(1).leading_space(self.agreement.leading_space());
        let report = Report {
            agreement: self.agreement.clone(),
            steps: Vec::new(),
            edits: Vec::new(),
            refused: Vec::new(),
            verdict: Verdict::Continue,
            stage: Stage::Connect,
            original,
            delivered: None,
            elapsed: std::time::Duration::ZERO,
        };
        let macros = MacroSource::new(profile, mail);
        let mut delivery = Delivery { client: self, macros, report, model, start: Instant::now() };
        if let Some((stage, verdict)) = delivery.client.refused.clone() {
            // The MTA refuses all that comes over this connection (spec §3.2).
            (delivery.report.stage, delivery.report.verdict) = (stage, verdict);
        } else {
            delivery.run(mail).await?;
        }
        Ok(delivery.finish())
    }
}

impl Delivery<'_> {
    async fn run(&mut self, mail: &Mail) -> Result<(), ClientError> {
        if self.envelope(mail).await? == Goes::On {
            self.content().await?;
        } else if self.report.verdict.stops() && matches!(self.report.stage, Stage::Connect | Stage::Helo) {
            self.client.refused = Some((self.report.stage, self.report.verdict.clone()));
        }
        // Postfix says so after every message, Sendmail where one is open; the session knows.
        self.client.step(&Command::<Bytes>::Abort, None).await?;
        Ok(())
    }

    async fn envelope(&mut self, mail: &Mail) -> Result<Goes, ClientError> {
        if !self.client.introduced {
            self.client.introduced = true;
            let connect = self.connect(mail);
            if self.step(&Command::Connect(connect), address(mail)).await? == Goes::NoFurther {
                return Ok(Goes::NoFurther);
            }
            if let Some(name) = &mail.helo
                && self.step(&Command::Helo(name), name.clone()).await? == Goes::NoFurther
            {
                return Ok(Goes::NoFurther);
            }
        }
        if self.step(&Command::Mail(envelope(&mail.sender)), mail.sender.address.clone()).await?
            == Goes::NoFurther
        {
            return Ok(Goes::NoFurther);
        }
        let mut refused = 0;
        for recipient in &mail.recipients {
            self.macros.recipient(&recipient.address);
            let step = self.step(&Command::Rcpt(envelope(recipient)), recipient.address.clone()).await?;
            let verdict = self.last_verdict();
            if step == Goes::NoFurther {
                return Ok(Goes::NoFurther);
            }
            if verdict.stops() {
                refused += 1;
                self.report.verdict = verdict;
                self.refuse(recipient);
            } else {
                self.macros.queued();
            }
        }
        if refused == mail.recipients.len() {
            return Ok(Goes::NoFurther);
        }
        self.report.verdict = Verdict::Continue;
        self.step(&Command::<Bytes>::Data, Bytes::new()).await
    }

    async fn content(&mut self) -> Result<Goes, ClientError> {
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
        let final_word = match (&verdict, stage) {
            (Verdict::Reply(reply), Stage::Rcpt) => reply.code() == 421,
            // Both MTAs go on after a discard at connect and helo.
            (Verdict::Continue | Verdict::Skip, _)
            | (Verdict::Discard, Stage::Connect | Stage::Helo)
            | (Verdict::Reject | Verdict::Tempfail, Stage::Rcpt) => false,
            _ => true,
        };
        self.report.stage = stage;
        if final_word || stage == Stage::EndOfMessage {
            self.report.verdict = verdict;
            return Ok(Goes::NoFurther);
        }
        Ok(Goes::On)
    }

    fn last_verdict(&self) -> Verdict {
        self.report.steps.last().map_or(Verdict::Continue, |step| step.outcome.verdict())
    }

    /// Takes a refused recipient out of the message.
    fn refuse(&mut self, recipient: &Path) {
        let delete = tamis_proto::Edit::DeleteRecipient { address: recipient.address.clone() };
        let _ = self.model.apply(&delete);
    }

    fn finish(mut self) -> Report {
        self.report.elapsed = self.start.elapsed();
        if !self.report.verdict.stops() {
            self.report.delivered = Some(self.model.finish());
        }
        self.report
    }

    fn connect(&self, mail: &Mail) -> Connect<Vec<u8>> {
        let sendmail = self.client.config.profile == Profile::Sendmail;
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
}

fn envelope(path: &Path) -> Envelope<Vec<u8>> {
    Envelope::with_args(&[b"<", &path.address[..], b">"].concat(), &path.args)
}

fn address(mail: &Mail) -> Bytes {
    mail.client.map_or_else(Bytes::new, |client| Bytes::from(client.to_string()))
}

/// The trace field that the MTA puts on top; filters do not see it, but insert positions count it.
fn own_received(profile: Profile, mail: &Mail) -> Field {
    let helo = mail.helo.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    let client = mail.client.map_or_else(|| "unknown".to_owned(), |client| client.ip().to_string());
    let software = if profile == Profile::Postfix { "Postfix" } else { "8.17.1.9/8.17.1.9" };
    let value = format!(" from {helo} (unknown [{client}])\n\tby mta.example ({software}) with ESMTP");
    Field::new("Received", value)
}
