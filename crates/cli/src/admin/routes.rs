//! Which path answers what.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::listen::Door;
use super::metrics;
use super::record::{Problem, Reloaded};
use super::ring::{MAX_SHOWN, Wanted};
use super::search::Search;
use super::state::State;

/// Asks the daemon to read its configuration again.
pub(crate) type ReloadSender = mpsc::Sender<Asked>;

/// Who asked, and is told what was found in the configuration; as an error if the old one stays.
pub(crate) type Asked = oneshot::Sender<Result<String, String>>;

/// What a request is answered with.
pub(super) type Page = Full<Bytes>;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// Records that are shown if no number is said.
const SHOWN: usize = 10;

/// Answers a request.
pub(super) async fn answer(
    door: Door,
    method: &Method,
    uri: &Uri,
    state: &Arc<State>,
    reload: &ReloadSender,
) -> Response<Page> {
    let read = method == Method::GET || method == Method::HEAD;
    match (door, uri.path()) {
        (_, "/metrics" | "/healthz" | "/readyz") if !read => wrong_method("GET, HEAD"),
        (_, "/metrics") => page(StatusCode::OK, metrics::CONTENT_TYPE, metrics::page(state)),
        (_, "/healthz") => page(StatusCode::OK, TEXT, "ok\n"),
        (_, "/readyz") => match state.readiness() {
            Ok(()) => page(StatusCode::OK, TEXT, "ready\n"),
            Err(why) => page(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
        },
        (Door::Admin, "/reload") if method == Method::POST => self::reload(reload).await,
        (Door::Admin, "/reload") => wrong_method("POST"),
        (Door::Admin, path) if path == "/records" || path.starts_with("/records/") => {
            if read {
                records(path, uri.query(), state)
            } else {
                wrong_method("GET, HEAD")
            }
        }
        _ => problem(StatusCode::NOT_FOUND, "there is no such page"),
    }
}

fn records(path: &str, query: Option<&str>, state: &State) -> Response<Page> {
    let id: Cow<'_, [u8]>;
    let selection: Selection;
    let wanted = match path.strip_prefix("/records/") {
        Some(encoded) => {
            id = percent_decode_str(encoded).into();
            Wanted::QueueId(&id)
        }
        None => match Selection::read(query.unwrap_or_default()) {
            Ok(read) => {
                selection = read;
                match &selection {
                    Selection::Number(number) => Wanted::Number(*number),
                    Selection::Last(most, search) => Wanted::Last(*most, search),
                }
            }
            Err(error) => return problem(StatusCode::BAD_REQUEST, &error),
        },
    };
    let records = state.find(wanted);
    // With what is kept, so that who asks can see why it is not among it.
    let missing = records.records.is_empty() && !matches!(wanted, Wanted::Last(..));
    json(if missing { StatusCode::NOT_FOUND } else { StatusCode::OK }, &records)
}

/// What a query asks for.
enum Selection {
    Last(usize, Search),
    Number(u64),
}

impl Selection {
    /// Reads `number=N`, or `limit=N` and parts of a search.
    fn read(query: &str) -> Result<Self, String> {
        let number = |name: &str, text: &str| match text.parse::<u64>() {
            Ok(number) => Ok(number),
            Err(_) => Err(format!("{name} is a whole number")),
        };
        let (mut most, mut search, mut wanted) = (SHOWN, Search::default(), None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
            let text = percent_decode_str(text).decode_utf8_lossy();
            match name {
                "limit" => most = usize::try_from(number(name, &text)?).unwrap_or(MAX_SHOWN).min(MAX_SHOWN),
                "number" => wanted = Some(number(name, &text)?),
                name if search.set(name, &text) => {}
                _ => {
                    let parts = Search::PARTS.join(", ");
                    return Err(format!("a query is number=N, or limit=N with any of {parts}"));
                }
            }
        }
        Ok(wanted.map_or(Self::Last(most, search), Self::Number))
    }
}

async fn reload(sender: &ReloadSender) -> Response<Page> {
    let (answer, answered) = oneshot::channel();
    let asked = sender.send(answer).await.is_ok();
    match answered.await {
        Ok(Ok(findings)) => json(StatusCode::OK, &Reloaded { reloaded: true, findings }),
        Ok(Err(findings)) => json(StatusCode::UNPROCESSABLE_ENTITY, &Reloaded { reloaded: false, findings }),
        Err(_) if asked => problem(StatusCode::SERVICE_UNAVAILABLE, "the daemon ended while it reloaded"),
        Err(_) => problem(StatusCode::SERVICE_UNAVAILABLE, "the daemon is about to end, and reloads no more"),
    }
}

fn wrong_method(allowed: &'static str) -> Response<Page> {
    let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, &format!("this page is for {allowed}"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn problem(status: StatusCode, error: &str) -> Response<Page> {
    json(status, &Problem { error: error.to_owned() })
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Page> {
    let mut text = serde_json::to_vec(value).expect("these are structs with names and texts");
    text.push(b'\n');
    page(status, JSON, text)
}

fn page(status: StatusCode, kind: &'static str, content: impl Into<Bytes>) -> Response<Page> {
    let mut response = Response::new(Full::new(content.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
