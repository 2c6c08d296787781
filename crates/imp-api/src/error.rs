//! Error codes, the HTTP status of each, and the one shape that errors have on every edge.
//!
//! The codes and their HTTP statuses are those of the 2021 API's gateway. Clients branch on the code and on
//! [`ErrorInfo::reason`], never on the message.

use std::collections::BTreeMap;
use std::fmt;

use http::StatusCode;
use prost::Message;
use prost_types::Any;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

/// The `domain` of every [`ErrorInfo`] that an IMP node makes.
pub const DOMAIN: &str = "imp";

const ERROR_INFO_URL: &str = "type.googleapis.com/google.rpc.ErrorInfo";

/// The seventeen status codes of gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "gRPC says what they mean")]
pub enum Code {
    Ok = 0,
    Canceled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

impl Code {
    /// Every code, each at the place of its number.
    pub const ALL: [Self; 17] = [
        Self::Ok,
        Self::Canceled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// The number in gRPC and in error bodies.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The code with a number; `Unknown` where gRPC has none.
    pub fn from_number(number: u32) -> Self {
        usize::try_from(number)
            .ok()
            .and_then(|number| Self::ALL.get(number))
            .copied()
            .unwrap_or(Self::Unknown)
    }

    /// The name in gRPC's own spelling, such as `INVALID_ARGUMENT`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Canceled => "CANCELLED",
            Self::Unknown => "UNKNOWN",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::DataLoss => "DATA_LOSS",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }

    /// The HTTP status under which REST answers with this code.
    pub const fn http_status(self) -> StatusCode {
        match self {
            Self::Ok => StatusCode::OK,
            Self::Canceled => StatusCode::REQUEST_TIMEOUT,
            Self::InvalidArgument | Self::FailedPrecondition | Self::OutOfRange => StatusCode::BAD_REQUEST,
            Self::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::AlreadyExists | Self::Aborted => StatusCode::CONFLICT,
            Self::PermissionDenied => StatusCode::FORBIDDEN,
            Self::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            Self::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Self::Unknown | Self::Internal | Self::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<tonic::Code> for Code {
    fn from(code: tonic::Code) -> Self {
        u32::try_from(code as i32).map_or(Self::Unknown, Self::from_number)
    }
}

impl From<Code> for tonic::Code {
    fn from(code: Code) -> Self {
        Self::from_i32(code.number().into())
    }
}

/// Why a call failed, for programs: `google.rpc.ErrorInfo`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(btree_map = "string, string", tag = "3")]
    metadata: BTreeMap<String, String>,
}

impl ErrorInfo {
    /// A cause in UPPER_SNAKE_CASE, such as `NO_ROUTE`, in the domain of the IMP node.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), domain: DOMAIN.to_owned(), metadata: BTreeMap::new() }
    }

    /// Adds a fact. There is no key `id`: clients of the 2021 API look for `"id"` in a body to tell that a message was
    /// sent, so a fact of that name is left out.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let key = key.into();
        debug_assert_ne!(key, "id", "say whose id it is");
        if key != "id" {
            self.metadata.insert(key, value.into());
        }
        self
    }

    /// The cause.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whose cause it is; the same word may mean something else in another domain.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// A fact.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }
}

/// An error as every edge shows it: `{"code":5,"message":"Not Found","details":[]}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusBody {
    /// What kind of error.
    pub code: Code,
    /// For people: what was wrong and what to do.
    pub message: String,
    /// For programs: why. The only kind of detail there is.
    pub info: Option<ErrorInfo>,
}

impl StatusBody {
    /// An error without details.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), info: None }
    }

    /// The JSON, in one line, without a newline.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("writing to memory cannot fail, and every key is text")
    }
}

impl fmt::Display for StatusBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() { self.code.fmt(f) } else { write!(f, "{} ({})", self.message, self.code) }
    }
}

impl Serialize for StatusBody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut body = serializer.serialize_map(Some(3))?;
        body.serialize_entry("code", &self.code.number())?;
        body.serialize_entry("message", &self.message)?;
        body.serialize_entry("details", &Details(self.info.as_ref()))?;
        body.end()
    }
}

struct Details<'a>(Option<&'a ErrorInfo>);

impl Serialize for Details<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.iter().count()))?;
        if let Some(info) = self.0 {
            list.serialize_element(&Detail(info))?;
        }
        list.end()
    }
}

struct Detail<'a>(&'a ErrorInfo);

impl Serialize for Detail<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut detail = serializer.serialize_map(Some(4))?;
        detail.serialize_entry("@type", ERROR_INFO_URL)?;
        detail.serialize_entry("reason", &self.0.reason)?;
        detail.serialize_entry("domain", &self.0.domain)?;
        detail.serialize_entry("metadata", &self.0.metadata)?;
        detail.end()
    }
}

/// `google.rpc.Status`, which gRPC carries in the trailer `grpc-status-details-bin`.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

impl From<StatusBody> for tonic::Status {
    fn from(body: StatusBody) -> Self {
        let code = tonic::Code::from(body.code);
        let Some(info) = body.info else { return Self::new(code, body.message) };
        let detail = Any { type_url: ERROR_INFO_URL.to_owned(), value: info.encode_to_vec() };
        let status = RpcStatus {
            code: i32::from(body.code.number()),
            message: body.message.clone(),
            details: vec![detail],
        };
        Self::with_details(code, body.message, status.encode_to_vec().into())
    }
}

impl From<&tonic::Status> for StatusBody {
    /// Details of other kinds, and bytes that are none, are left out: what went wrong must be told in any case.
    fn from(status: &tonic::Status) -> Self {
        let details = RpcStatus::decode(status.details()).map(|status| status.details).unwrap_or_default();
        let info = details.iter().find(|detail| detail.type_url == ERROR_INFO_URL);
        let mut info = info.and_then(|detail| ErrorInfo::decode(detail.value.as_slice()).ok());
        if let Some(info) = &mut info {
            info.metadata.remove("id");
        }
        Self { code: status.code().into(), message: status.message().to_owned(), info }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_table_is_that_of_the_2021_gateway() {
        let statuses = Code::ALL.map(|code| code.http_status().as_u16());
        let expected = [200, 408, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];
        assert_eq!(statuses, expected);
    }

    #[test]
    fn codes_keep_their_numbers_and_are_tonics() {
        for (number, code) in (0_u32..).zip(Code::ALL) {
            assert_eq!(u32::from(code.number()), number);
            assert_eq!(Code::from_number(number), code);
            assert_eq!(Code::from(tonic::Code::from(code)), code);
        }
        assert_eq!(Code::from_number(17), Code::Unknown);
        assert_eq!(Code::from_number(u32::MAX), Code::Unknown);
    }

    #[test]
    fn an_error_without_details_has_an_empty_list() {
        let body = StatusBody::new(Code::NotFound, "Not Found").to_json();
        assert_eq!(body, r#"{"code":5,"message":"Not Found","details":[]}"#);
    }

    #[test]
    fn details_are_written_by_their_type() {
        let info = ErrorInfo::new("NO_ROUTE").with("messageId", "m").with("a", "\"");
        let body = StatusBody { info: Some(info), ..StatusBody::new(Code::Unavailable, "send failed") };
        assert_eq!(
            body.to_json(),
            concat!(
                r#"{"code":14,"message":"send failed","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","#,
                r#""reason":"NO_ROUTE","domain":"imp","metadata":{"a":"\"","messageId":"m"}}]}"#
            )
        );
    }

    #[test]
    fn an_error_survives_grpc() {
        let plain = StatusBody::new(Code::InvalidArgument, "pubkey is empty");
        assert_eq!(StatusBody::from(&tonic::Status::from(plain.clone())), plain);
        let detailed = StatusBody { info: Some(ErrorInfo::new("X").with("k", "v")), ..plain };
        assert_eq!(StatusBody::from(&tonic::Status::from(detailed.clone())), detailed);
    }

    #[test]
    fn foreign_details_do_not_hide_the_error_and_bring_no_id() {
        let garbage = tonic::Status::with_details(tonic::Code::Internal, "broke", vec![0xff; 9].into());
        assert_eq!(StatusBody::from(&garbage), StatusBody::new(Code::Internal, "broke"));
        let mut info = ErrorInfo::new("X");
        info.metadata.insert("id".into(), "7".into());
        let status =
            tonic::Status::from(StatusBody { info: Some(info), ..StatusBody::new(Code::Internal, "broke") });
        assert!(!StatusBody::from(&status).to_json().contains("\"id\""));
    }
}
