//! Answers that are files: over REST their bytes are the body.

use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderValue};
use imp_api::error::{Code, StatusBody};
use imp_api::proto::imp::vpn::v1::File;
use prost::Message;

/// What a file may do where a browser shows it: nothing. A picture may bring its own style.
const CONTENT_SECURITY_POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox");

/// The answer that a file is, from its protobuf bytes.
///
/// It is stored nowhere on its way: files may hold private keys.
pub(super) fn response(protobuf: &[u8]) -> Result<Response, StatusBody> {
    let file = File::decode(protobuf).map_err(super::rest::not_a_message)?;
    let kind = HeaderValue::from_str(&file.content_type).map_err(super::rest::not_a_message)?;
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_DISPOSITION, disposition(&file)?),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    ];
    Ok((headers, file.data).into_response())
}

/// Pictures are to be looked at, all else is to be kept (RFC 6266).
fn disposition(file: &File) -> Result<HeaderValue, StatusBody> {
    let how = if file.content_type.starts_with("image/") { "inline" } else { "attachment" };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if file.name.is_empty() || !file.name.bytes().all(is_plain) {
        return Err(StatusBody::new(
            Code::Internal,
            "the answer is a file with a name that no file can have",
        ));
    }
    let value = format!("{how}; filename=\"{}\"", file.name);
    HeaderValue::from_str(&value).map_err(super::rest::not_a_message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content_type: &str, name: &str) -> Vec<u8> {
        File { content_type: content_type.into(), name: name.into(), data: vec![0, 255] }.encode_to_vec()
    }

    #[test]
    fn pictures_are_shown_and_texts_are_kept() {
        for (kind, name, expected) in [
            ("image/png", "imp-a_b.png", "inline; filename=\"imp-a_b.png\""),
            ("text/plain; charset=utf-8", "imp-a.conf", "attachment; filename=\"imp-a.conf\""),
        ] {
            let answer = response(&file(kind, name)).unwrap();
            assert_eq!(answer.headers()["content-type"], kind);
            assert_eq!(answer.headers()["content-disposition"], expected);
            assert_eq!(answer.headers()["cache-control"], "no-store");
        }
    }

    #[test]
    fn what_would_change_the_head_of_an_answer_is_no_file() {
        let faults = [("text/plain", ""), ("text/plain", "a\"b"), ("text/plain", "../a"), ("a\r\nb: c", "a")];
        for (kind, name) in faults {
            assert_eq!(response(&file(kind, name)).unwrap_err().code, Code::Internal, "{kind} {name}");
        }
        assert_eq!(response(b"\xff").unwrap_err().code, Code::Internal);
    }
}
