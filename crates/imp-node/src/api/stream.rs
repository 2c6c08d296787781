//! Answers of a streaming RPC as frames, and the plain HTTP stream of them: one JSON object per line.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use http::header;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use imp_api::error::StatusBody;
use imp_api::json;
use imp_api::rest::Route;

use super::rest::not_a_message;

/// Frames to send: `{"result":..}` each, or the error that ends them.
pub(super) type Frames = BoxStream<'static, Result<String, StatusBody>>;

/// The frames of an RPC's answers. They end with the answers, with the first error, or when the node stops.
pub(super) fn frames(
    answers: impl Stream<Item = Result<Bytes, Status>> + Send + 'static,
    route: &'static Route,
    shutdown: &CancellationToken,
) -> Frames {
    answers
        .map(|answer| {
            let protobuf = answer.map_err(|status| StatusBody::from(&status))?;
            let json = json::encode_response(&route.output, &protobuf).map_err(not_a_message)?;
            Ok(format!(r#"{{"result":{json}}}"#))
        })
        .take_until(shutdown.clone().cancelled_owned())
        .boxed()
}

/// The frames of a subscription that did not come about.
pub(super) fn failed(body: StatusBody) -> Frames {
    stream::once(async { Err(body) }).boxed()
}

/// The frame that tells an error.
pub(super) fn error_frame(body: &StatusBody) -> String {
    format!(r#"{{"error":{}}}"#, body.to_json())
}

/// The HTTP stream. Its headers go out at once, so that the caller knows that the subscription stands.
pub(super) fn response(frames: Frames) -> Response {
    let lines = frames.map(|frame| {
        Ok::<_, std::convert::Infallible>(match frame {
            Ok(frame) => frame + "\n",
            Err(body) => error_frame(&body),
        })
    });
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(lines)).into_response()
}
