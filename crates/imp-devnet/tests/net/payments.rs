//! Payments, invoices, wallet and channels of nodes that run well, over the typed client.

use imp_api::client::{Client, ClientError};
use imp_api::error::Code;
use imp_api::proto::imp::events::v1::ListEventsRequest;
use imp_api::proto::imp::lightning::v1::{
    ListInvoicesRequest, ListPaymentsRequest, Payment, SendKeysendRequest, SendKeysendResponse,
};
use imp_api::proto::imp::node::v1::{
    CloseChannelRequest, GetBalanceRequest, ListChannelsRequest, ListPeersRequest, NewAddressRequest,
    SendOnchainRequest, SyncChainRequest,
};
use imp_api::proto::lightning::{CheckInvoiceRequest, GenerateInvoiceRequest, PayInvoiceRequest};
use imp_api::proto::signing::{SignRequest, VerifyRequest};
use serde_json::Value;

use crate::lab::{Lab, wait_for};

async fn payments(client: &Client) -> Vec<Payment> {
    client.list_payments(ListPaymentsRequest::default()).await.unwrap().payments
}

async fn send(client: &Client, to: &str, key: Option<&str>) -> Result<SendKeysendResponse, ClientError> {
    let idempotency_key = key.map(str::to_owned);
    client.send_keysend(SendKeysendRequest { pubkey: to.to_owned(), amount: 21, idempotency_key }).await
}

fn code(refused: &ClientError) -> Code {
    match refused {
        ClientError::Refused(body) => body.code,
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invoices_and_keysends_are_paid_listed_and_told() {
    let lab = Lab::start(2).await;
    let (alice, bob) = (lab.net.client("alice").await.unwrap(), lab.net.client("bob").await.unwrap());
    let bob_key = lab.node("bob").pubkey;

    let request = GenerateInvoiceRequest { amount: 1500, memo: "tea ✓".to_owned(), expiry_secs: Some(600) };
    let invoice = bob.generate_invoice(request).await.unwrap().invoice;
    let pay = || PayInvoiceRequest { invoice: invoice.clone(), idempotency_key: Some("tea".to_owned()) };
    let (first, second) = tokio::join!(alice.pay_invoice(pay()), alice.pay_invoice(pay()));
    let preimage = first.unwrap().preimage;
    assert_eq!(second.unwrap().preimage, preimage, "two calls at once are one payment");
    assert_eq!(alice.pay_invoice(pay()).await.unwrap().preimage, preimage);
    let again = PayInvoiceRequest { invoice: invoice.clone(), idempotency_key: None };
    assert_eq!(code(&alice.pay_invoice(again).await.unwrap_err()), Code::InvalidArgument, "it is paid");

    let paid = send(&alice, &bob_key, Some("k")).await.unwrap();
    assert_eq!(send(&alice, &bob_key, Some("k")).await.unwrap(), paid);

    let rows = payments(&alice).await;
    let shown: Vec<_> =
        rows.iter().map(|row| (row.kind.as_str(), row.state.as_str(), row.amount_msat)).collect();
    assert_eq!(shown, [("keysend", "settled", 21_000), ("invoice", "settled", 1_500_000)]);
    assert_eq!((&rows[0].preimage, &rows[0].payment_hash), (&paid.preimage, &paid.payment_hash));
    assert_eq!((&rows[1].preimage, &rows[1].invoice), (&preimage, &invoice));

    let events = wait_for("both events", || async {
        let lightning = ListEventsRequest { service: "lightning".to_owned(), ..Default::default() };
        let events = bob.list_events(lightning).await.unwrap().events;
        (events.len() >= 2).then_some(events)
    })
    .await;
    let told: Vec<(Value, i64)> =
        events.iter().map(|event| (serde_json::from_str(&event.data).unwrap(), event.amount)).collect();
    assert_eq!((told[0].0["type"].as_str(), told[0].1), (Some("INVOICE_PAID"), 1500));
    assert_eq!(told[0].0["invoice"].as_str(), Some(invoice.as_str()));
    assert_eq!((told[1].0["type"].as_str(), told[1].1), (Some("KEYSEND"), 21));
    assert_eq!(told[1].0["paymentHash"].as_str(), Some(paid.payment_hash.as_str()));
    assert_eq!(events.len(), 2, "{told:?}");
    let made = bob.list_invoices(ListInvoicesRequest::default()).await.unwrap().invoices;
    assert_eq!((made[0].state.as_str(), made[0].paid_msat), ("paid", Some(1_500_000)));
    let check = CheckInvoiceRequest { invoice: invoice.clone() };
    assert!(bob.check_invoice(check.clone()).await.unwrap().paid);
    assert_eq!(code(&alice.check_invoice(check).await.unwrap_err()), Code::NotFound);

    let msg = "a text".to_owned();
    let signature = alice.sign_message(SignRequest { msg: msg.clone() }).await.unwrap().signature;
    let verify = VerifyRequest { msg, signature, pubkey: None };
    assert!(bob.verify_signature(verify.clone()).await.unwrap().result, "a channel peer is known");
    let another = VerifyRequest { pubkey: Some(bob_key), ..verify };
    assert!(!bob.verify_signature(another).await.unwrap().result);
    lab.net.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bitcoin_is_sent_and_a_channel_closed() {
    let lab = Lab::start(2).await;
    let (alice, bob) = (lab.net.client("alice").await.unwrap(), lab.net.client("bob").await.unwrap());
    let balance = async |client: &Client| client.get_balance(GetBalanceRequest {}).await.unwrap();
    let before = balance(&bob).await.onchain_total_sat;
    let address = bob.new_address(NewAddressRequest {}).await.unwrap().address;
    let request = SendOnchainRequest {
        address,
        amount_sat: 54_321,
        fee_sat_per_vbyte: 2,
        idempotency_key: Some("k".to_owned()),
        ..SendOnchainRequest::default()
    };
    let txid = alice.send_onchain(request.clone()).await.unwrap().txid;
    assert_eq!(txid.len(), 64);
    assert_eq!(alice.send_onchain(request).await.unwrap().txid, txid);
    wait_for("the coin to arrive", || async {
        bob.sync_chain(SyncChainRequest {}).await.unwrap();
        (balance(&bob).await.onchain_total_sat == before + 54_321).then_some(())
    })
    .await;

    // Peers that answer a ping late, as on a busy machine, are cut off and dialled again.
    let peers = wait_for("the peer to be connected", || async {
        let peers = alice.list_peers(ListPeersRequest {}).await.unwrap().peers;
        peers.iter().all(|peer| peer.connected).then_some(peers)
    })
    .await;
    assert_eq!(peers.iter().map(|peer| &peer.pubkey).collect::<Vec<_>>(), [&lab.node("bob").pubkey]);
    let channels = async || alice.list_channels(ListChannelsRequest {}).await.unwrap().channels;
    let name = channels().await[0].user_channel_id.clone();
    let close = || CloseChannelRequest { user_channel_id: name.clone(), force: false };
    alice.close_channel(close()).await.unwrap();
    wait_for("the channel to be gone", || async {
        channels().await.iter().all(|channel| channel.user_channel_id != name).then_some(())
    })
    .await;
    assert_eq!(code(&alice.close_channel(close()).await.unwrap_err()), Code::NotFound);
    lab.net.stop().await;
}
