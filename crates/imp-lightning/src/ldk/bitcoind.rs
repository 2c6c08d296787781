//! Calls to a bitcoind, beside those that the library makes.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Why a call has no result.
#[derive(Debug)]
pub(super) enum CallFault {
    /// It does not answer, or not as a bitcoind.
    Away(String),
    /// It does not accept user or password.
    Refused,
    /// It answers with an error.
    Rpc { code: i64, message: String },
}

#[derive(Deserialize)]
struct Answer<R> {
    result: Option<R>,
    error: Option<RpcError>,
}

#[derive(Deserialize)]
struct RpcError {
    code: i64,
    message: String,
}

/// Where a bitcoind is and who calls it.
#[derive(Clone, Copy)]
pub(super) struct Bitcoind<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) user: &'a str,
    pub(super) password: &'a str,
}

impl Bitcoind<'_> {
    pub(super) async fn call<R: DeserializeOwned>(
        &self,
        method: &str,
        params: Value,
    ) -> Result<R, CallFault> {
        let call = serde_json::json!({"jsonrpc": "1.0", "id": "imp", "method": method, "params": params});
        let url = format!("http://{}:{}/", self.host, self.port);
        // Like ldk-node, straight to the host: a proxy of the environment is none for RPCs.
        let client = reqwest::Client::builder().no_proxy().build().map_err(|fault| away(&fault))?;
        let request = client.post(url).basic_auth(self.user, Some(self.password)).json(&call);
        let answer = request.send().await.map_err(|fault| away(&fault))?;
        let status = answer.status();
        if status == reqwest::StatusCode::UNAUTHORIZED || status == reqwest::StatusCode::FORBIDDEN {
            return Err(CallFault::Refused);
        }
        let body = answer.bytes().await.map_err(|fault| away(&fault))?;
        match serde_json::from_slice::<Answer<R>>(&body) {
            Ok(Answer { result: Some(result), .. }) => Ok(result),
            Ok(Answer { error: Some(RpcError { code, message }), .. }) => {
                Err(CallFault::Rpc { code, message })
            }
            _ => {
                Err(CallFault::Away(format!("it does not answer like a bitcoind (HTTP {})", status.as_u16())))
            }
        }
    }
}

/// The innermost cause of a failed request, which is the one that says something; the URL is told beside it.
pub(super) fn cause(fault: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = fault;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn away(fault: &reqwest::Error) -> CallFault {
    CallFault::Away(cause(fault))
}
