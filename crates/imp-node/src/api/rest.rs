//! REST: the routes that the protos declare, in JSON, on top of the gRPC services.
//!
//! Statuses, bodies and limits are those of the gateway of the 2021 API: an unknown path is 404, a known one under another
//! verb 501, content types do not matter, a body is JSON or nothing at all. Answers that are files are not of that API.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{FromRequestParts, Request, State, WebSocketUpgrade};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http_body_util::BodyExt;
use tokio::time::timeout;
use tonic::metadata::MetadataValue;
use tonic::service::Routes;
use tracing::Instrument;
use uuid::Uuid;

use imp_api::client::{CURSOR_METADATA, IDEMPOTENCY_KEY};
use imp_api::error::{Code, StatusBody};
use imp_api::json;
use imp_api::rest::{Lookup, Route, routes};

use super::link::Peer;
use super::serve::Connection;
use super::{Edge, call, file, guard, health, stream, ws};

/// The name under which an answer and the log lines of its request can be put together.
const REQUEST_ID: &str = "x-request-id";
const X_REQUEST_ID: HeaderName = HeaderName::from_static(REQUEST_ID);
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// How long the body of a request may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of a body too large that are still read, so that a client that writes before it reads gets its answer.
const DRAIN_MAX_BYTES: usize = 64 * 1024 * 1024;

#[derive(Debug)]
struct Rest {
    edge: Edge,
    routes: Routes,
}

/// The whole HTTP side: REST, websocket, event stream, `/health`, `/ready` and what `more` brings, behind the guard.
///
/// `more` has no fallback of its own.
pub fn router(edge: &Edge, routes: Routes, more: Router) -> Router {
    let rest = Arc::new(Rest { edge: edge.clone(), routes });
    let state = edge.state.clone();
    let ready = move || async move { health::ready(*state.borrow()) };
    Router::new()
        .route("/health", get(|| async { health::health() }).fallback(|| async { wrong_method() }))
        .route("/ready", get(ready).fallback(|| async { wrong_method() }))
        .fallback(handle)
        .with_state(rest)
        .merge(more)
        .layer(from_fn_with_state(edge.clone(), guard::http_layer))
        .layer(from_fn(request_layer))
}

/// Gives a request its id, and an answer the headers that all answers have.
pub(super) async fn request_layer(mut request: Request, next: Next) -> Response {
    let id = Uuid::new_v4().to_string();
    let span = tracing::info_span!("request", id);
    let id = HeaderValue::from_str(&id).expect("a UUID is ASCII");
    request.headers_mut().insert(X_REQUEST_ID, id.clone());
    let mut response = next.run(request).instrument(span).await;
    let headers = response.headers_mut();
    headers.insert(X_REQUEST_ID, id);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// The answer that an error is.
pub(super) fn error(body: &StatusBody) -> Response {
    json_response(body.code.http_status(), body.to_json())
}

fn json_response(status: http::StatusCode, json: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], json).into_response()
}

async fn handle(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let answer = match routes().find(request.method(), request.uri().path()) {
        Lookup::NotFound => Err(StatusBody::new(Code::NotFound, "Not Found")),
        Lookup::WrongMethod => return wrong_method(),
        Lookup::Found(route) if route.server_streaming => rest.subscribe(route, request).await,
        Lookup::Found(route) => {
            rest.call(route, request).await.map_err(|body| if route.pays { of_payment(body) } else { body })
        }
    };
    answer.unwrap_or_else(|body| error(&body))
}

/// 501 and not 405, as the 2021 API had it.
fn wrong_method() -> Response {
    error(&StatusBody::new(Code::Unimplemented, "Method Not Allowed"))
}

impl Rest {
    /// An RPC with one answer.
    async fn call(&self, route: &'static Route, request: Request) -> Result<Response, StatusBody> {
        let (parts, body) = request.into_parts();
        let deadline = grpc_timeout(&parts.headers)?;
        let protobuf = match route.verb {
            http::Method::GET => json::decode_query(&route.input, parts.uri.query().unwrap_or_default()),
            _ => json::decode_request(&route.input, &read_body(body, self.edge.max_request_bytes).await?),
        };
        let protobuf = protobuf.and_then(|mut protobuf| {
            json::add_path_fields(&route.input, &mut protobuf, &route.path_fields(parts.uri.path()))?;
            Ok(protobuf)
        });
        let call = call::unary(self.routes.clone(), route, rpc_request(&parts, protobuf, deadline)?);
        let answer = match deadline {
            None => call.await,
            Some(deadline) => timeout(deadline, call).await.map_err(|_| deadline_exceeded())?,
        };
        let protobuf = answer.map_err(|status| StatusBody::from(&status))?;
        if route.is_file {
            return file::response(&protobuf);
        }
        Ok(json_response(
            http::StatusCode::OK,
            json::encode_response(&route.output, &protobuf).map_err(not_a_message)?,
        ))
    }

    /// An RPC with a stream of answers, as a websocket where the client asks for one.
    ///
    /// What goes wrong after a good handshake is told in a frame: a page's script never sees the status of a handshake.
    async fn subscribe(&self, route: &'static Route, request: Request) -> Result<Response, StatusBody> {
        let (mut parts, _body) = request.into_parts();
        if !wants_upgrade(&mut parts) {
            let opened = self.open(route, &parts).await?;
            return Ok(opened.mark(stream::response));
        }
        let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
            Ok(upgrade) => upgrade,
            Err(rejection) => return Ok(bad_handshake(rejection)),
        };
        let opened = self
            .open(route, &parts)
            .await
            .unwrap_or_else(|body| Opened { frames: stream::failed(body), cursor: None });
        let connection = parts.extensions.remove::<Connection>();
        let shutdown = self.edge.shutdown.clone();
        Ok(opened.mark(|frames| ws::accept(upgrade, frames, shutdown, connection)))
    }

    /// A new subscription, which stands when this returns.
    async fn open(&self, route: &'static Route, parts: &Parts) -> Result<Opened, StatusBody> {
        let protobuf = json::decode_query(&route.input, parts.uri.query().unwrap_or_default());
        let answer = call::server_streaming(self.routes.clone(), route, rpc_request(parts, protobuf, None)?)
            .await
            .map_err(|status| StatusBody::from(&status))?;
        let cursor = answer.metadata().get(CURSOR_METADATA).map(MetadataValue::as_encoded_bytes);
        let cursor = cursor.and_then(|cursor| HeaderValue::from_bytes(cursor).ok());
        Ok(Opened { frames: stream::frames(answer.into_inner(), route, &self.edge.shutdown), cursor })
    }
}

struct Opened {
    frames: stream::Frames,
    /// Where in the journal the subscription stands.
    cursor: Option<HeaderValue>,
}

impl Opened {
    /// The answer that `respond` makes of the frames, with the cursor in its header.
    fn mark(self, respond: impl FnOnce(stream::Frames) -> Response) -> Response {
        let mut response = respond(self.frames);
        if let Some(cursor) = self.cursor {
            response.headers_mut().insert(CURSOR_METADATA, cursor);
        }
        response
    }
}

/// The request of an RPC, with what its service may want to know of the caller.
fn rpc_request(
    parts: &Parts,
    protobuf: Result<Vec<u8>, json::JsonError>,
    deadline: Option<Duration>,
) -> Result<tonic::Request<Bytes>, StatusBody> {
    let protobuf = protobuf.map_err(|error| StatusBody::new(Code::InvalidArgument, error.to_string()))?;
    let mut request = tonic::Request::new(Bytes::from(protobuf));
    if let Some(peer) = parts.extensions.get::<Peer>() {
        request.extensions_mut().insert(*peer);
    }
    for name in [REQUEST_ID, IDEMPOTENCY_KEY] {
        // All of them: a service may refuse what is said twice and differently.
        for value in parts.headers.get_all(name) {
            if let Ok(value) = MetadataValue::try_from(value.as_bytes()) {
                request.metadata_mut().append(name, value);
            }
        }
    }
    if let Some(deadline) = deadline {
        request.set_timeout(deadline);
    }
    Ok(request)
}

/// A whole body of at most `limit` bytes.
async fn read_body(mut body: Body, limit: usize) -> Result<Bytes, StatusBody> {
    let announced = body.size_hint().exact();
    let read = async {
        let (mut kept, mut received) = (Vec::new(), 0_usize);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            received += data.len();
            if received <= limit {
                kept.extend_from_slice(&data);
            } else if received - limit > DRAIN_MAX_BYTES {
                break;
            }
        }
        Ok::<_, axum::Error>((kept, received))
    };
    let (kept, received) = match timeout(BODY_TIMEOUT, read).await {
        Ok(Ok(read)) => read,
        Ok(Err(error)) => {
            return Err(StatusBody::new(
                Code::InvalidArgument,
                format!("the request's body cannot be read: {error}"),
            ));
        }
        Err(_) => {
            let message = format!("the request's body did not arrive within {} s", BODY_TIMEOUT.as_secs());
            return Err(StatusBody::new(Code::Canceled, message));
        }
    };
    if received > limit {
        let size = announced.unwrap_or(received as u64);
        let message = format!("received message larger than max ({size} vs. {limit})");
        return Err(StatusBody::new(Code::ResourceExhausted, message));
    }
    Ok(kept.into())
}

/// The header `Grpc-Timeout`: digits and a unit, one of H, M, S, m, u, n, as in gRPC over HTTP/2.
fn grpc_timeout(headers: &HeaderMap) -> Result<Option<Duration>, StatusBody> {
    let Some(value) = headers.get(GRPC_TIMEOUT) else { return Ok(None) };
    let text = String::from_utf8_lossy(value.as_bytes());
    parse_timeout(&text).map(Some).ok_or_else(|| {
        StatusBody::new(
            Code::InvalidArgument,
            format!("invalid grpc-timeout: {text} (digits and one of H, M, S, m, u, n)"),
        )
    })
}

fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount.saturating_mul(3600)),
        "M" => Duration::from_secs(amount.saturating_mul(60)),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// Whether a websocket is asked for; the headers then say it in one word each, as the handshake's reader wants it. One
/// asked for in HTTP/1.0 counts for nothing (RFC 9110, section 7.8).
fn wants_upgrade(parts: &mut Parts) -> bool {
    let wanted =
        names(&parts.headers, &header::UPGRADE, "websocket") && parts.version >= http::Version::HTTP_11;
    if wanted {
        parts.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        if names(&parts.headers, &header::CONNECTION, "upgrade") {
            parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        }
    }
    wanted
}

/// Whether a header that is a list names something; its lines are one list (RFC 9110, section 5.3).
fn names(headers: &HeaderMap, list: &HeaderName, word: &str) -> bool {
    let lines = headers.get_all(list).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|name| name.trim().eq_ignore_ascii_case(word))
}

/// The answer to a handshake that is none. It names the version that is spoken (RFC 6455, section 4.4).
fn bad_handshake(fault: impl std::fmt::Display) -> Response {
    let body = StatusBody::new(Code::InvalidArgument, format!("this is no websocket handshake: {fault}"));
    let mut response = error(&body);
    response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}

fn deadline_exceeded() -> StatusBody {
    StatusBody::new(
        Code::DeadlineExceeded,
        "failed to answer within the time of Grpc-Timeout: the call may still be carried out",
    )
}

/// Clients of 2021 tell a call that sends nothing by the word "failed" in its answer, whoever found the fault.
fn of_payment(body: StatusBody) -> StatusBody {
    if body.message.contains("failed") || body.code == Code::Unimplemented {
        return body;
    }
    StatusBody { message: format!("{}; the call failed", body.message), ..body }
}

/// The service answered with bytes that are no such message, which only a fault of this program can do.
pub(super) fn not_a_message(error: impl std::fmt::Display) -> StatusBody {
    StatusBody::new(Code::Internal, format!("the answer cannot be written as JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_digits_and_a_unit() {
        for (text, expected) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("30S", Duration::from_secs(30)),
            ("5m", Duration::from_millis(5)),
            ("7u", Duration::from_micros(7)),
            ("9n", Duration::from_nanos(9)),
            ("0S", Duration::ZERO),
            ("18446744073709551615H", Duration::from_secs(u64::MAX)),
        ] {
            assert_eq!(parse_timeout(text), Some(expected), "{text}");
        }
        for text in ["zz", "", "S", "1", "-1S", "+1S", "1.5S", "1s", "1 S", "1é", "18446744073709551616S"] {
            assert_eq!(parse_timeout(text), None, "{text}");
        }
    }
}
