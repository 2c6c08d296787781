//! Messages between nodes that run well.

use std::collections::HashMap;

use futures_util::future::join_all;

use crate::lab::Lab;

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_talk_and_answer() {
    let lab = Lab::start(2).await;
    let (alice, bob) = (lab.api("alice"), lab.api("bob"));
    let (mut to_alice, mut to_bob) = (alice.events().await, bob.events().await);

    let question = alice.send(&bob.pubkey, "how are you? 你好").await.unwrap();
    let event = to_bob.next().await;
    assert_eq!((event.id.as_str(), event.data.as_str()), (question.as_str(), "how are you? 你好"));
    assert_eq!((event.from_pubkey.as_str(), event.service_type.as_str()), (alice.pubkey.as_str(), "message"));
    assert_eq!((event.reply_to_id.as_str(), event.amount.as_str()), ("", "1"));

    let answer = bob.reply(&event.from_pubkey, "well", &event.id).await.unwrap();
    let event = to_alice.next().await;
    assert_eq!((event.id, event.reply_to_id, event.data), (answer, question, "well".to_owned()));
    assert_eq!((event.from_pubkey, event.amount), (bob.pubkey, "7".to_owned()));
    lab.net.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_calls_at_once_all_arrive_once() {
    let lab = Lab::start(2).await;
    let (alice, bob) = (lab.api("alice"), lab.api("bob"));
    let texts: Vec<String> = (0..200).map(|number| format!("number {number}")).collect();
    let sent = join_all(texts.iter().map(|text| alice.send(&bob.pubkey, text))).await;
    alice.send(&bob.pubkey, "the end").await.unwrap();

    let mut arrived: HashMap<String, Vec<String>> = HashMap::new();
    for event in bob.journal_until("the end").await {
        arrived.entry(event.data).or_default().push(event.id);
    }
    for (text, sent) in texts.iter().zip(sent) {
        assert_eq!(arrived.get(text), Some(&vec![sent.unwrap()]), "{text}");
    }
    lab.net.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ends_of_a_line_talk_over_the_node_between_them() {
    let lab = Lab::start(3).await;
    let (alice, bob, carol) = (lab.api("alice"), lab.api("bob"), lab.api("carol"));
    let mut to_carol = carol.events().await;

    let short = alice.send(&carol.pubkey, "over bob").await.unwrap();
    let event = to_carol.next().await;
    assert_eq!(
        (event.id, event.data, event.from_pubkey),
        (short, "over bob".to_owned(), alice.pubkey.clone())
    );

    // No two parts of it are alike.
    let long: String = (0..30_000).map(|number| format!("{number:09} ")).collect();
    assert_eq!(long.len(), 300_000);
    let id = alice.send(&carol.pubkey, &long).await.unwrap();
    let event = to_carol.next().await;
    assert_eq!(event.id, id);
    assert!(event.data == long, "{} bytes came out, not the same", event.data.len());

    bob.send(&bob.pubkey, "to myself").await.unwrap();
    let of_others: Vec<_> = bob.journal_until("to myself").await;
    assert!(
        of_others.iter().all(|event| event.from_pubkey == bob.pubkey),
        "bob only passes on: {of_others:?}"
    );
    lab.net.stop().await;
}
