//! The MTA's role against filters that misbehave.

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::within;
use tamis::SocketSpec;
use tamis::client::{Client, ClientError, Mail};
use tamis::proto::command::Connect;
use tamis::proto::{Command, Fault, MtaConfig, Profile, Timeouts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// The answer of a filter that wants everything and may do everything.
const AGREE: &[u8] = b"\0\0\0\x0dO\0\0\0\x06\0\0\x01\xff\0\0\0\0";
const CONTINUE: &[u8] = b"\0\0\0\x01c";
const PROGRESS: &[u8] = b"\0\0\0\x01p";
const BODY: &[u8] = b"\0\0\0\x02bx";

struct Hostile {
    spec: SocketSpec,
    task: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A filter that handles its one connection in its own way.
fn filter<D: Future<Output = ()> + Send + 'static>(
    handle: impl FnOnce(UnixStream) -> D + Send + 'static,
) -> Hostile {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let task = tokio::spawn(async move { handle(listener.accept().await.unwrap().0).await });
    Hostile { spec: SocketSpec::Unix(path), task, _folder: folder }
}

/// Reads a frame; its letter, or `None` at the end.
async fn frame(stream: &mut UnixStream) -> Option<u8> {
    let length = stream.read_u32().await.ok()?;
    let mut frame = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut frame).await.ok()?;
    Some(frame[0])
}

/// Agrees, answers everything with continue up to some letter, and says something else to that.
fn until(letter: u8, say: impl Into<Vec<u8>>) -> Hostile {
    let say = say.into();
    filter(move |mut stream| async move {
        while let Some(got) = frame(&mut stream).await {
            let answer = match got {
                b'O' => AGREE,
                got if got == letter => &say,
                b'D' | b'A' | b'Q' => continue,
                _ => CONTINUE,
            };
            if stream.write_all(answer).await.is_err() {
                return;
            }
        }
    })
}

fn config() -> MtaConfig {
    MtaConfig::new(Profile::Postfix)
}

fn hasty() -> MtaConfig {
    config().with_timeouts(Timeouts::all(Duration::from_millis(100)))
}

async fn refused(hostile: &Hostile, config: MtaConfig) -> ClientError {
    within(Client::connect(&hostile.spec, config)).await.expect_err("the filter should be refused")
}

async fn failed(hostile: &Hostile, config: MtaConfig) -> ClientError {
    let mut client = within(Client::connect(&hostile.spec, config)).await.unwrap();
    let mail = Mail::new("from@example.com", ["to@example.com"], "A: b\r\n\r\nHi!\r\n");
    within(client.send(&mail)).await.expect_err("the mail should fail")
}

#[track_caller]
fn fault(error: &ClientError) -> Fault {
    match error {
        ClientError::Protocol(error) => error.fault,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn nobody_there_is_said_with_the_address() {
    let folder = tempfile::tempdir().unwrap();
    let spec = SocketSpec::Unix(folder.path().join("nobody.sock"));
    let error = Client::connect(&spec, config()).await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }));
    assert!(error.to_string().starts_with(&format!("cannot connect to {spec}: ")), "{error}");
}

#[tokio::test]
async fn filter_that_closes_at_once() {
    let hostile = filter(|stream| async { drop(stream) });
    let error = refused(&hostile, config()).await;
    // Depending on who is faster, the offer does not even get out.
    assert!(
        matches!(&error, ClientError::Protocol(error) if error.fault == Fault::EndTooEarly)
            || matches!(error, ClientError::Io(_)),
        "{error}"
    );
}

#[tokio::test]
async fn filter_that_closes_inside_a_frame() {
    let hostile = filter(|mut stream| async move {
        frame(&mut stream).await;
        stream.write_all(&AGREE[..7]).await.unwrap();
    });
    assert_eq!(fault(&refused(&hostile, config()).await), Fault::EndInFrame);
}

#[tokio::test]
async fn filter_that_answers_the_offer_with_nonsense() {
    type Expected = fn(Fault) -> bool;
    let cases: [(&[u8], Expected); 6] = [
        (b"\xff\0\0\0\0", |fault| matches!(fault, Fault::FrameTooLong { .. })),
        (b"\0\0\0\0", |fault| fault == Fault::EmptyFrame),
        (b"\0\0\0\x01c", |fault| fault == Fault::OutOfOrder),
        (b"\0\0\0\x05O\0\0\0\x06", |fault| fault == Fault::Truncated),
        (b"\0\0\0\x0dO\0\0\0\x63\0\0\0\0\0\0\0\0", |fault| fault == Fault::BadVersion(0x63)),
        (b"\0\0\0\x0dO\0\0\0\x06\xff\0\0\0\0\0\0\0", |fault| matches!(fault, Fault::ExcessActions(_))),
    ];
    for (answer, expected) in cases {
        let hostile = filter(move |mut stream| async move {
            frame(&mut stream).await;
            stream.write_all(answer).await.unwrap();
            frame(&mut stream).await;
        });
        let fault = fault(&refused(&hostile, config()).await);
        assert!(expected(fault), "{fault} for {answer:?}");
    }
}

#[tokio::test]
async fn filter_that_never_answers_times_out() {
    let silent = filter(|mut stream| async move { while frame(&mut stream).await.is_some() {} });
    let begin = Instant::now();
    assert_eq!(fault(&refused(&silent, hasty()).await), Fault::TimedOut);
    assert!(begin.elapsed() >= Duration::from_millis(100));
    for letter in *b"CMLE" {
        assert_eq!(fault(&failed(&until(letter, ""), hasty()).await), Fault::TimedOut);
    }
}

#[tokio::test]
async fn progress_for_ever_has_an_end() {
    let hostile = filter(|mut stream| async move {
        while let Some(got) = frame(&mut stream).await {
            match got {
                b'O' => stream.write_all(AGREE).await.unwrap(),
                b'D' | b'A' => {}
                b'E' => {
                    while stream.write_all(PROGRESS).await.is_ok() {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
                _ => stream.write_all(CONTINUE).await.unwrap(),
            }
        }
    });
    let mut timeouts = Timeouts::new();
    // Each of them is in time.
    timeouts.content = Duration::from_secs(8);
    timeouts.end_of_message = Duration::from_millis(200);
    let begin = Instant::now();
    assert_eq!(fault(&failed(&hostile, config().with_timeouts(timeouts)).await), Fault::TimedOut);
    assert!(begin.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn replies_where_they_do_not_belong() {
    let add: &[u8] = b"\0\0\0\x05hX\x001\0";
    let cases: [(u8, Vec<u8>, Fault); 6] = [
        (b'M', PROGRESS.to_vec(), Fault::OutOfOrder),
        (b'M', add.to_vec(), Fault::OutOfOrder),
        (b'R', b"\0\0\0\x01Z".to_vec(), Fault::UnknownCode),
        (b'L', b"\0\0\0\x01s".to_vec(), Fault::OutOfOrder),
        (b'E', b"\0\0\0\x014".to_vec(), Fault::OutOfOrder),
        (b'E', [BODY, add, BODY, CONTINUE].concat(), Fault::ScatteredBody),
    ];
    for (letter, say, expected) in cases {
        let error = failed(&until(letter, say.clone()), config()).await;
        assert_eq!(fault(&error), expected, "{say:?} to {:?}", char::from(letter));
    }
}

#[tokio::test]
async fn bytes_behind_an_answer_are_not_the_next_answer() {
    // Both in one packet, so that the second one is read with the first.
    let hostile = until(b'C', [CONTINUE, b"\0\0\0\x01a"].concat());
    let error = failed(&hostile, config()).await;
    assert_eq!(fault(&error), Fault::Unsolicited);
}

#[tokio::test]
async fn bytes_that_came_unasked_are_not_the_next_answer() {
    let (said, heard) = tokio::sync::oneshot::channel();
    let hostile = filter(|mut stream| async move {
        frame(&mut stream).await;
        stream.write_all(AGREE).await.unwrap();
        frame(&mut stream).await;
        stream.write_all(CONTINUE).await.unwrap();
        // Until the client has taken that one.
        tokio::time::sleep(Duration::from_millis(20)).await;
        stream.write_all(b"\0\0\0\x01a").await.unwrap();
        said.send(()).unwrap();
        frame(&mut stream).await;
    });
    let mut client = Client::connect(&hostile.spec, config()).await.unwrap();
    client.step(&Command::Connect(Connect::unknown("h")), None).await.unwrap();
    heard.await.unwrap();
    let error = client.step(&Command::Helo("h"), None).await.unwrap_err();
    assert_eq!(fault(&error), Fault::Unsolicited);
}

#[tokio::test]
async fn end_of_stream_between_steps_is_noticed_at_the_next() {
    let (said, heard) = tokio::sync::oneshot::channel();
    let hostile = filter(|mut stream| async move {
        frame(&mut stream).await;
        stream.write_all(AGREE).await.unwrap();
        frame(&mut stream).await;
        stream.write_all(CONTINUE).await.unwrap();
        drop(stream);
        said.send(()).unwrap();
    });
    let mut client = Client::connect(&hostile.spec, config()).await.unwrap();
    client.step(&Command::Connect(Connect::unknown("h")), None).await.unwrap();
    heard.await.unwrap();
    let error = client.step(&Command::<Bytes>::Unknown("X".into()), None).await.unwrap_err();
    assert_eq!(fault(&error), Fault::EndTooEarly);
}

#[tokio::test]
async fn flood_of_replaced_body_has_an_end() {
    let flood = [b"\0\0\xff\xffb".as_slice(), &vec![b'x'; 0xfffe]].concat().repeat(40);
    let error = failed(&until(b'E', flood), config().with_body_limit(1 << 20)).await;
    assert_eq!(fault(&error), Fault::BodyTooLong { limit: 1 << 20 });
}
