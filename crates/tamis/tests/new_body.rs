//! New bodies that are in files: how they leave, and what happens where they cannot (A9, B10).

mod common;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::frames::*;
use common::{Act, Cx, Frame, Mta, Probe, Running, go, on_failure, patient, serve, serve_boxed, serve_probe};
use tamis::message::{Body, BodyOptions, BodyReader, BodyWriter, Budget, Replacement};
use tamis::proto::Misuse;
use tamis::{Actions, Context, Event, Filter, Needs, Reply, Stage, Verdict};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;

const LEN: usize = 3_000_000;

fn text() -> Vec<u8> {
    (0_u32..).flat_map(|line| format!("line {line}\r\n").into_bytes()).take(LEN).collect()
}

/// A body that is in a file of this folder.
async fn spooled() -> (Replacement, Budget, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut options = BodyOptions::default();
    options.folder = folder.path().to_owned();
    options.memory = 0;
    let budget = Budget::new(options);
    let body = Replacement::read(&budget.message(), &text()[..]).await.unwrap();
    assert!(body.body().is_spooled());
    (body, budget, folder)
}

fn needs() -> Needs {
    Needs::everything().require(Actions::REPLACE_BODY | Actions::ADD_HEADERS)
}

/// A filter that does something at one stage.
fn probe_at(stage: Stage, act: impl Fn(&mut Cx<'_>) -> Act + Send + Sync + 'static) -> Probe {
    let script = move |cx: &mut Cx<'_>, event: &Event| {
        if event.stage() == Some(stage) { act(cx) } else { go() }
    };
    Probe::new(needs(), script).0
}

/// An MTA with a message whose body is skipped, if that is what the filter says.
async fn at_end(server: &Running) -> Mta {
    let mut mta = server.mta().await;
    mta.go([connect(), helo("h")]).await;
    mta.go(&message("<>")[..5]).await;
    assert!(['c', 's'].contains(&mta.ask(body(b"old\r\n")).await.code));
    mta.write(end_of_message()).await;
    mta
}

/// Everything up to the verdict.
async fn answer(mta: &mut Mta) -> Vec<Frame> {
    let mut frames = vec![mta.reply().await];
    while matches!(frames.last().unwrap().code, 'b' | 'h' | 'p') {
        frames.push(mta.reply().await);
    }
    frames
}

fn new_body(frames: &[Frame]) -> Vec<u8> {
    frames.iter().filter(|frame| frame.code == 'b').flat_map(|frame| frame.payload.to_vec()).collect()
}

fn codes(frames: &[Frame]) -> String {
    frames.iter().map(|frame| frame.code).collect()
}

#[tokio::test]
async fn body_in_a_file_leaves_in_packets_behind_the_other_modifications_and_is_gone() {
    let (body, budget, _folder) = spooled().await;
    let probe = probe_at(Stage::EndOfMessage, move |cx| {
        cx.set_body(body.clone()).unwrap();
        cx.replace_body("does not count").unwrap();
        cx.add_header("X-New", "body").unwrap();
        Act::Say(Verdict::Accept)
    });
    for server in [serve_probe(patient(), &probe), serve_boxed(patient(), &probe)] {
        let mut mta = at_end(&server).await;
        let frames = answer(&mut mta).await;
        assert_eq!(codes(&frames), format!("h{}a", "b".repeat(LEN.div_ceil(65_535))));
        assert!(new_body(&frames) == text());
        mta.quit().await;
        server.drain().await;
    }
    assert!(budget.usage().spool > 0);
    drop(probe);
    common::until(|| budget.usage().spool == 0).await;
}

#[tokio::test]
async fn body_set_before_an_early_accept_leaves_at_the_end_of_message() {
    let (body, _budget, _folder) = spooled().await;
    let probe = probe_at(Stage::EndOfHeaders, move |cx| {
        cx.set_body(body.clone()).unwrap();
        Act::Say(Verdict::Accept)
    });
    let server = serve_probe(patient(), &probe);
    let mut mta = at_end(&server).await;
    let frames = answer(&mut mta).await;
    assert!(new_body(&frames) == text() && codes(&frames).ends_with('a'));
    mta.quit().await;
    server.drain().await;
}

#[tokio::test]
async fn empty_new_body_empties_the_message() {
    let probe = probe_at(Stage::EndOfMessage, |cx| {
        cx.set_body("").unwrap();
        go()
    });
    let server = serve_probe(patient(), &probe);
    let mut mta = at_end(&server).await;
    assert_eq!(codes(&answer(&mut mta).await), "bc");
    mta.quit().await;
    server.drain().await;
}

#[tokio::test]
async fn step_that_fails_sets_no_body() {
    let probe = probe_at(Stage::EndOfHeaders, |cx| {
        cx.set_body("of a step that fails").unwrap();
        Act::Fail("oops")
    });
    let server = serve_probe(on_failure(Verdict::Continue), &probe);
    let mut mta = at_end(&server).await;
    assert_eq!(codes(&answer(&mut mta).await), "c");
    mta.quit().await;
    server.drain().await;
}

#[tokio::test]
async fn refused_message_has_no_new_body_nor_has_the_next() {
    let (body, _budget, _folder) = spooled().await;
    let first = AtomicBool::new(true);
    let probe = probe_at(Stage::EndOfMessage, move |cx| {
        if first.swap(false, Ordering::Relaxed) {
            cx.set_body(body.clone()).unwrap();
            return Act::Say(Verdict::Reject);
        }
        go()
    });
    let server = serve_probe(patient(), &probe);
    let mut mta = at_end(&server).await;
    assert_eq!(codes(&answer(&mut mta).await), "r");
    mta.go(&message("<>")).await;
    mta.quit().await;
    server.drain().await;
}

#[tokio::test]
async fn body_without_its_action_fails_at_the_call() {
    let (probe, _notes) = Probe::new(Needs::everything(), |cx, event| {
        let refused = match event.stage() {
            Some(stage) if stage.in_message() => Misuse::DisabledAction(Actions::REPLACE_BODY),
            _ => Misuse::NotAtEndOfMessage,
        };
        assert_eq!(cx.set_body("new"), Err(refused));
        go()
    });
    let server = serve_probe(on_failure(Verdict::Tempfail), &probe);
    let mut mta = at_end(&server).await;
    assert_eq!(codes(&answer(&mut mta).await), "c");
    mta.quit().await;
    server.drain().await;
}

/// Makes a new body in two halves, the second when it is let.
struct Halves(Arc<Semaphore>, Budget);

impl Filter for Halves {
    type Message = ();

    fn needs(&self) -> Needs {
        Needs::new().answer([Stage::EndOfMessage]).require(Actions::REPLACE_BODY)
    }

    async fn on(&mut self, cx: &mut Context<'_, ()>, event: Event) -> Reply {
        if event == Event::EndOfMessage {
            let (allowance, old) = (self.1.message(), Body::from(text()));
            let slowly = async |mut from: BodyReader, to: &mut BodyWriter| {
                tokio::io::copy(&mut (&mut from).take(LEN as u64 / 2), to).await?;
                self.0.acquire().await?.forget();
                tokio::io::copy(&mut from, to).await?;
                Ok(())
            };
            cx.set_body(Replacement::transform(&allowance, &old, slowly).await?)?;
        }
        Ok(Verdict::Continue)
    }
}

#[tokio::test]
async fn progress_is_shown_while_a_body_is_made_and_not_a_packet_of_it() {
    let (_body, budget, _folder) = spooled().await;
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let mut options = patient();
    options.progress_every = Duration::from_millis(5);
    let server = serve(options, move |_| Halves(held.clone(), budget.clone()));
    let mut mta = server.mta().await;
    mta.go([connect(), mail("<>")]).await;
    mta.write(end_of_message()).await;
    assert_eq!(mta.codes(5).await, "ppppp");
    gate.add_permits(1);
    let frames = answer(&mut mta).await;
    let behind = codes(&frames).trim_start_matches('p').to_owned();
    assert_eq!(
        behind,
        format!("{}c", "b".repeat(LEN.div_ceil(65_535))),
        "progress between packets, or a packet too early"
    );
    assert!(new_body(&frames) == text());
    mta.quit().await;
    server.drain().await;
}

/// Cuts the only file of this process in a folder where no file has a name.
fn cut(folder: &Path, len: u64) {
    let open = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    let in_folder = |path: &PathBuf| fs::read_link(path).is_ok_and(|link| link.starts_with(folder));
    let [path] = &open.filter(in_folder).collect::<Vec<_>>()[..] else { panic!("one file is open") };
    File::options().write(true).open(path).unwrap().set_len(len).unwrap();
}

#[tokio::test]
async fn body_that_cannot_be_read_to_its_end_refuses_the_message_whatever_the_policy() {
    for (policy, code) in [(Verdict::Accept, 't'), (Verdict::Continue, 't'), (Verdict::Reject, 'r')] {
        let (body, _budget, folder) = spooled().await;
        cut(folder.path(), 200_000);
        let probe = probe_at(Stage::EndOfMessage, move |cx| {
            cx.set_body(body.clone()).unwrap();
            go()
        });
        let server = serve_probe(on_failure(policy), &probe);
        let mut mta = at_end(&server).await;
        // Three packets are whole; what is there of the fourth may have left when it turns out to be cut.
        let said = codes(&answer(&mut mta).await);
        assert!([format!("bbb{code}"), format!("bbbb{code}")].contains(&said), "{said}");
        // The connection is as good as before.
        mta.go(&message("<>")[..6]).await;
        mta.quit().await;
        server.drain().await;
    }
}
