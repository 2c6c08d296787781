//! Messages for nodes that are away, and calls that are repeated, over the typed client.

use imp_api::client::{Client, ClientError};
use imp_api::error::Code;
use imp_api::proto::imp::messaging::v1::{
    GetMessageRequest, GetMessageResponse, ListMessagesRequest, RetryMessageRequest,
};
use imp_api::proto::messaging::SendMessageRequest;
use imp_devnet::devnet::Options;

use crate::lab::{Lab, PATIENCE, options, wait_for};

fn message(pubkey: &str, msg: &str, key: Option<&str>, keep_secs: Option<i64>) -> SendMessageRequest {
    SendMessageRequest {
        msg: msg.to_owned(),
        pubkey: pubkey.to_owned(),
        keep_secs,
        idempotency_key: key.map(str::to_owned),
        ..SendMessageRequest::default()
    }
}

async fn get(client: &Client, id: &str) -> GetMessageResponse {
    client.get_message(GetMessageRequest { id: id.to_owned() }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_for_a_node_that_is_stopped_arrive_once_and_in_order_when_it_is_back() {
    let lab = Lab::with(|dir| Options { restart: false, ..options(dir, 2) }).await;
    let alice = lab.net.client("alice").await.unwrap();
    let bob = lab.node("bob").pubkey;
    lab.net.kill("bob").await.unwrap();

    let mut ids = Vec::new();
    for text in ["first", "second", "third"] {
        let sent = alice.send_message(message(&bob, text, Some(text), Some(3600))).await.unwrap();
        assert_eq!(sent.state.as_deref(), Some("queued"));
        ids.push(sent.id);
    }
    let waiting = get(&alice, &ids[0]).await;
    assert_eq!((waiting.state.as_str(), waiting.parts_settled), ("queued", 0));
    assert!(waiting.keep_until_ms.is_some_and(|until| until > waiting.accepted_ms));

    // The sender's next run knows of them too.
    lab.net.kill("alice").await.unwrap();
    lab.net.start_node("alice").await.unwrap();
    let alice = wait_for("alice to answer", || async { lab.net.client("alice").await.ok() }).await;
    lab.net.start_node("bob").await.unwrap();
    lab.net.wait_usable(PATIENCE).await.unwrap();
    let arrived = lab.api("bob").journal_until("third").await;
    // The net's own greeting comes first.
    let arrived: Vec<(String, String)> =
        arrived.into_iter().skip(1).map(|event| (event.data, event.id)).collect();
    let texts = ["first", "second", "third"].map(str::to_owned);
    assert_eq!(arrived, texts.into_iter().zip(ids.clone()).collect::<Vec<_>>());

    for id in &ids {
        wait_for("the message to be settled", || async {
            let message = get(&alice, id).await;
            (message.state == "settled").then_some(())
        })
        .await;
    }
    let again = alice.send_message(message(&bob, "first", Some("first"), Some(3600))).await.unwrap();
    assert_eq!((again.id.as_str(), again.state.as_deref()), (ids[0].as_str(), Some("settled")));
    let settled = ListMessagesRequest { state: "settled".to_owned(), ..ListMessagesRequest::default() };
    let listed = alice.list_messages(settled).await.unwrap().messages;
    assert_eq!(listed.iter().rev().skip(1).map(|message| message.id.clone()).collect::<Vec<_>>(), ids);
    lab.net.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_repeated_though_its_recipient_has_gone() {
    let lab = Lab::with(|dir| Options { restart: false, ..options(dir, 2) }).await;
    let alice = lab.net.client("alice").await.unwrap();
    let bob = lab.node("bob").pubkey;
    let call = message(&bob, "once", Some("k"), None);
    let sent = alice.send_message(call.clone()).await.unwrap();
    lab.net.kill("bob").await.unwrap();
    let repeated = alice.send_message(call.clone()).await.unwrap();
    assert_eq!((repeated.id, repeated.state), (sent.id.clone(), None), "nothing is sent: it is settled");
    let retry = RetryMessageRequest { id: sent.id.clone() };
    assert_eq!(alice.retry_message(retry).await.unwrap().id, sent.id);
    let refused =
        alice.send_message(SendMessageRequest { msg: "other".to_owned(), ..call }).await.unwrap_err();
    let ClientError::Refused(refused) = refused else { panic!("{refused}") };
    assert_eq!(refused.code, Code::AlreadyExists);
    assert!(refused.message.contains("failed"), "{}", refused.message);
    lab.net.start_node("bob").await.unwrap();
    lab.net.wait_usable(PATIENCE).await.unwrap();
    let journal = lab.api("bob").journal_until("once").await;
    assert_eq!(journal.iter().filter(|event| event.id == sent.id).count(), 1, "{journal:?}");
    lab.net.stop().await;
}
