//! Calls to the chain of a net that runs in another process.

use std::time::Duration;

use anyhow::{Context, bail};
use imp_devnet::devnet::ChainControl;
use serde_json::{Value, json};

/// How long a call may take; mining a thousand blocks is the longest.
const PATIENCE: Duration = Duration::from_secs(60);

/// Calls a method and gives its result.
pub(crate) async fn call(chain: &ChainControl, method: &str, params: Value) -> anyhow::Result<Value> {
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
    let request = client
        .post(format!("http://{}/", chain.rpc))
        .basic_auth(&chain.user, Some(&chain.password))
        .json(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}));
    let fault = || format!("the chain does not answer {method}");
    let answer = request.send().await.with_context(fault)?.error_for_status().with_context(fault)?;
    let mut answer: Value = answer.json().await.with_context(fault)?;
    if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
        bail!("the chain refuses {method}: {}", error["message"].as_str().unwrap_or("it does not say why"));
    }
    Ok(answer["result"].take())
}
