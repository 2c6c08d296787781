//! A node's REST interface and its event stream, as programs use them.

use std::time::Duration;

use imp_devnet::devnet::NodeInfo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::lab::PATIENCE;

/// Longer than a node takes to answer a call that has no outcome.
const CALL_PATIENCE: Duration = Duration::from_secs(90);

/// The interface of one node.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    http: reqwest::Client,
    base: String,
    pub(crate) pubkey: String,
}

/// An event as it stands in the stream.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) reply_to_id: String,
    pub(crate) from_pubkey: String,
    pub(crate) data: String,
    pub(crate) service_type: String,
    pub(crate) amount: String,
}

/// A subscription.
pub(crate) struct Stream {
    response: reqwest::Response,
    buffer: Vec<u8>,
}

impl Api {
    pub(crate) fn new(node: &NodeInfo) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(CALL_PATIENCE).build().unwrap();
        Self { http, base: format!("http://{}", node.http), pubkey: node.pubkey.clone() }
    }

    /// Whether the node says that it can pay.
    pub(crate) async fn is_ready(&self) -> bool {
        let ready = self.http.get(format!("{}/ready", self.base)).send().await;
        ready.is_ok_and(|response| response.status().is_success())
    }

    /// Sends a text; gives the id of the answer, or the text of the error.
    pub(crate) async fn send(&self, to: &str, msg: &str) -> Result<String, String> {
        self.post(json!({"pubkey": to, "msg": msg})).await
    }

    pub(crate) async fn reply(&self, to: &str, msg: &str, to_id: &str) -> Result<String, String> {
        self.post(json!({"pubkey": to, "msg": msg, "reply_to_id": to_id, "amount": "7"})).await
    }

    async fn post(&self, body: Value) -> Result<String, String> {
        let request = self.http.post(format!("{}/v1/message/send", self.base)).json(&body);
        let response = request.send().await.map_err(|error| format!("no answer: {error:?}"))?;
        let (status, body) = (response.status(), response.json::<Value>().await);
        let body = body.map_err(|error| format!("half an answer: {error:?}"))?;
        match body["id"].as_str() {
            Some(id) if status.is_success() => Ok(id.to_owned()),
            _ => Err(format!("{status}: {body}")),
        }
    }

    /// The events after a cursor, 0 for all, and those that are still to come.
    pub(crate) async fn events_after(&self, cursor: i64) -> Stream {
        self.subscribe(&format!("?after={cursor}")).await
    }

    /// The events from now on.
    pub(crate) async fn events(&self) -> Stream {
        self.subscribe("").await
    }

    async fn subscribe(&self, query: &str) -> Stream {
        let response = self.http.get(format!("{}/v1/subscribe{query}", self.base)).send().await.unwrap();
        assert!(response.status().is_success(), "{}", response.status());
        Stream { response, buffer: Vec::new() }
    }

    /// All that the node's journal holds up to the event with this text.
    pub(crate) async fn journal_until(&self, text: &str) -> Vec<Event> {
        let mut stream = self.events_after(0).await;
        let mut events = Vec::new();
        loop {
            events.push(stream.next().await);
            if events.last().is_some_and(|event| event.data == text) {
                return events;
            }
        }
    }
}

impl Stream {
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let mut frame: Value = serde_json::from_slice(&line).unwrap();
                return serde_json::from_value(frame["result"].take())
                    .unwrap_or_else(|_| panic!("no event: {frame}"));
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await.expect("an event in time").unwrap();
            self.buffer.extend_from_slice(&chunk.expect("the stream goes on"));
        }
    }
}
