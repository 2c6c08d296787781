//! Signatures of texts, which other nodes' tools can check, and which are never those of an envelope.

use imp_api::error::Code;
use imp_core::id::{MessageId, NodeId};
use imp_core::record::{RecordTable, Service};
use imp_core::wire::envelope::{Binding, CarrierBinding, Header};
use imp_lightning::fake::FakeOptions;
use imp_node::error::Error;
use ldk_node::lightning::util::message_signing::recover_pk;
use proptest::prelude::*;

use crate::lab::{TestNode, network};

async fn sign(node: &TestNode, msg: &str) -> Result<String, Error> {
    let msg = msg.to_owned();
    node.call(|services| async move { services.signing.sign(&msg).await }).await
}

async fn verify(node: &TestNode, msg: &str, signature: &str, signer: Option<&str>) -> Result<bool, Error> {
    let (msg, signature, signer) = (msg.to_owned(), signature.to_owned(), signer.map(str::to_owned));
    node.call(|services| async move { services.signing.verify(&msg, &signature, signer.as_deref()).await })
        .await
}

#[tokio::test]
async fn a_signature_is_zbase32_that_ldk_recovers_the_key_from() {
    let network = network(FakeOptions::default());
    let alice = TestNode::start(&network, "alice").await;
    for text in ["x", "a text", "ümläut ✓ \0\n", &"long ".repeat(10_000)] {
        let signature = sign(&alice, text).await.unwrap();
        assert_eq!(signature.len(), 104);
        assert!(signature.bytes().all(|byte| b"ybndrfg8ejkmcpqxot1uwisza345h769".contains(&byte)));
        let key = recover_pk(text.as_bytes(), &signature).unwrap();
        assert_eq!(NodeId::from_bytes(key.serialize()).unwrap(), alice.id);
    }
    let error = sign(&alice, "").await.unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        (Code::InvalidArgument, "msg: is empty: there is nothing to sign")
    );
}

#[tokio::test]
async fn a_signature_is_checked_against_the_key_that_is_named_or_the_nodes_that_are_known() {
    let network = network(FakeOptions { connect_all: false, ..FakeOptions::default() });
    let (alice, stranger) =
        (TestNode::start(&network, "alice").await, TestNode::start(&network, "stranger").await);
    let own = sign(&alice, "text").await.unwrap();
    let foreign = sign(&stranger, "text").await.unwrap();
    assert_eq!(verify(&alice, "text", &own, None).await, Ok(true));
    assert_eq!(verify(&alice, "text.", &own, None).await, Ok(false));
    assert_eq!(verify(&alice, "text", &foreign, None).await, Ok(false), "nobody that it knows");
    let (alice_key, stranger_key) = (alice.id.to_string(), stranger.id.to_string());
    for (signature, signer, result) in [
        (&own, &alice_key, true),
        (&own, &stranger_key, false),
        (&foreign, &stranger_key, true),
        (&foreign, &alice_key, false),
    ] {
        assert_eq!(verify(&alice, "text", signature, Some(signer)).await, Ok(result));
        assert_eq!(verify(&alice, "another", signature, Some(signer)).await, Ok(false));
    }
    for nonsense in ["", "nonsense", &own[..103], &"y".repeat(104), &own.to_uppercase(), "✓"] {
        assert_eq!(verify(&alice, "text", nonsense, None).await, Ok(false), "{nonsense}");
        assert_eq!(verify(&alice, "text", nonsense, Some(&alice_key)).await, Ok(false), "{nonsense}");
    }
    for no_key in ["", "02abc", &"f".repeat(66)] {
        let error = verify(&alice, "text", &own, Some(no_key)).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.to_string().starts_with("pubkey: "), "{error}");
    }
}

#[tokio::test]
async fn a_peer_is_known_and_its_signature_is_too() {
    let network = network(FakeOptions::default());
    let (alice, bob) = (TestNode::start(&network, "alice").await, TestNode::start(&network, "bob").await);
    let signature = sign(&bob, "text").await.unwrap();
    assert_eq!(verify(&alice, "text", &signature, None).await, Ok(true));
    assert_eq!(verify(&alice, "another", &signature, None).await, Ok(false));
}

proptest! {
    #[test]
    fn no_text_that_can_be_signed_is_what_the_signature_of_an_envelope_is_over(
        id in any::<[u8; 16]>(),
        (stream, seq, floor_back) in any::<(u32, u32, u16)>(),
        genesis_hash in any::<[u8; 32]>(),
        carrier in any::<[u8; 32]>(),
        chunk in proptest::collection::vec(any::<u8>(), 1..200),
    ) {
        let header = Header {
            id: MessageId::from_random(id),
            stream,
            seq,
            floor_back,
            part: None,
            reply_to: None,
            unordered: false,
        };
        let recipient = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798".parse().unwrap();
        for service in Service::ALL {
            let binding = Binding {
                genesis_hash,
                recipient,
                record_type: RecordTable::default().record_type(service),
                carrier: CarrierBinding::keysend(&imp_core::id::Preimage(carrier)),
            };
            let signed = header.signing_bytes(&binding, &chunk);
            prop_assert_eq!(signed[0], 0xff);
            prop_assert!(String::from_utf8(signed).is_err(), "what is signed for people is text");
        }
    }
}
