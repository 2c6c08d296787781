//! A contract from its quote to its end, and on.

use serde_json::Value;

use super::{
    HOUR_MS, IMP0, Pair, accept, contract, has_said, is, kinds, outcomes, payments, quote, refresh, said,
};
use crate::lab::wait_for;

const KEYS: [&str; 11] = [
    "recordId",
    "type",
    "pubkey",
    "privkey",
    "serverIp",
    "serverPort",
    "serverPubKey",
    "clientIp",
    "allowedIp",
    "dnsIp",
    "psk",
];

async fn config(pair: &Pair, nonce: &str) -> String {
    let nonce = nonce.to_owned();
    let file = pair.alice.call(async move |services| services.vpn.unwrap().config(&nonce).await).await;
    file.unwrap().text.to_string()
}

#[tokio::test]
async fn a_contract_is_paid_for_served_and_over_after_its_time() {
    let pair = Pair::start().await;
    let quoted = pair.quote().await;
    assert_eq!((quoted.price_sat, quoted.duration_secs), (100, 3600));
    let id = accept(&pair.alice, &quoted).await.unwrap().to_string();
    let nonce = &quoted.nonce;
    is(&pair.alice, nonce, "active").await;
    is(&pair.bob, nonce, "active").await;

    let config_event = has_said(&pair.alice, "CONFIG").await;
    assert_eq!((config_event.from, &config_event.reply_to), (pair.bob.id, &id));
    let texts = config_event.data.as_object().unwrap();
    assert!(KEYS.iter().all(|key| texts[*key].is_string()) && texts.values().all(Value::is_string));
    assert_eq!(config_event.data["privkey"], "", "the journal has no private key");
    assert_eq!(config_event.data["clientIp"], "10.0.0.2/24");
    let (mine, theirs) =
        (contract(&pair.alice, nonce).await.unwrap(), contract(&pair.bob, nonce).await.unwrap());
    assert_eq!((mine.role.name(), theirs.role.name()), ("bought", "sold"));
    assert_eq!((mine.node, theirs.node), (pair.bob.id, pair.alice.id));
    assert_eq!((mine.paid_sat, theirs.paid_sat), (100, 100));
    assert_eq!(mine.endpoint, "203.0.113.7:51820");
    assert!(config(&pair, nonce).await.contains("[Peer]"));

    assert!(pair.sellers.lets_in(&mine.client_public_key));
    let peers = pair.sellers.devices.peers(IMP0);
    assert_eq!(peers[0].allowed, ["10.0.0.2/32".parse().unwrap()]);
    assert!(pair.sellers.exit.is_open(IMP0));
    assert_eq!(outcomes(&pair.bob).await, ["served"]);
    assert_eq!(payments(&pair.bob).await[0].answer_id.unwrap().to_string(), config_event.id);

    pair.clock.step(HOUR_MS);
    is(&pair.bob, nonce, "expired").await;
    is(&pair.alice, nonce, "expired").await;
    wait_for("the peer to be off", async || !pair.sellers.lets_in(&mine.client_public_key)).await;
    for node in [&pair.alice, &pair.bob] {
        assert_eq!(has_said(node, "EXPIRED").await.data["reason"], "time");
    }
    let ended = {
        let nonce = nonce.clone();
        pair.alice.call(async move |services| services.vpn.unwrap().config(&nonce).await).await
    };
    assert!(ended.unwrap_err().to_string().contains("ended"));
}

#[tokio::test]
async fn a_refresh_in_the_rest_brings_the_same_contract_back() {
    let pair = Pair::start().await;
    let nonce = pair.buy().await;
    let before = config(&pair, &nonce).await;
    let key = contract(&pair.alice, &nonce).await.unwrap().client_public_key;
    pair.clock.step(HOUR_MS + HOUR_MS / 2);
    is(&pair.bob, &nonce, "expired").await;
    is(&pair.alice, &nonce, "expired").await;
    let id = refresh(&pair.alice, pair.bob.id, &nonce).await.unwrap().to_string();
    is(&pair.alice, &nonce, "active").await;
    is(&pair.bob, &nonce, "active").await;
    wait_for("the peer to be back", async || pair.sellers.lets_in(&key)).await;
    assert_eq!(config(&pair, &nonce).await, before);
    let told = has_said(&pair.alice, "REFRESHED").await;
    assert_eq!((told.reply_to, told.from), (id.clone(), pair.bob.id));
    let own = has_said(&pair.bob, "REFRESHED").await;
    assert_eq!((own.reply_to, own.from), (id, pair.bob.id));
    assert_eq!(own.data["node"], pair.alice.id.to_string());
    let paid = contract(&pair.bob, &nonce).await.unwrap();
    assert_eq!(paid.paid_sat, 200);

    // In time, a refresh adds to what is left.
    refresh(&pair.alice, pair.bob.id, &nonce).await.unwrap();
    wait_for("both refreshes", async || {
        contract(&pair.bob, &nonce).await.unwrap().ends.unwrap().since(paid.ends.unwrap()).as_secs() == 3600
    })
    .await;

    // After the rest there is nothing to bring back.
    wait_for("the second answer", async || {
        kinds(&pair.alice).await.iter().filter(|kind| *kind == "REFRESHED").count() == 2
    })
    .await;
    pair.clock.step(4 * HOUR_MS);
    is(&pair.alice, &nonce, "expired").await;
    let error = refresh(&pair.alice, pair.bob.id, &nonce).await.unwrap_err();
    assert!(error.to_string().contains("failed"), "{error}");
    assert_eq!(payments(&pair.bob).await.len(), 3, "nothing was paid");
}

#[tokio::test]
async fn both_sides_tell_what_is_asked_and_said() {
    let pair = Pair::start().await;
    let nonce = pair.buy().await;
    assert_eq!(kinds(&pair.alice).await, ["QUOTE", "CONFIG"]);
    assert_eq!(kinds(&pair.bob).await, ["QUOTE", "CONTRACT"]);
    let asked = said(&pair.bob).await;
    assert!(asked.iter().all(|said| said.from == pair.alice.id && said.data["recordId"] == "VPN_REQUEST"));
    assert_eq!((asked[1].amount_sat, asked[1].data["price"].as_str()), (100, Some("100")));
    assert_eq!(asked[1].data["nonce"], nonce);
    let told = said(&pair.alice).await;
    assert!(told.iter().all(|said| said.from == pair.bob.id && said.data["recordId"] == "VPN_RESPONSE"));
    assert_eq!(told[0].data["valid_secs"], "600");
}

#[tokio::test]
async fn data_that_is_used_up_ends_a_contract_and_a_refresh_buys_more() {
    let pair = Pair::with(|options| options.vpn.seller.data_limit_bytes = Some(1_000_000)).await;
    let nonce = pair.buy().await;
    let key = contract(&pair.alice, &nonce).await.unwrap().client_public_key.parse().unwrap();
    pair.sellers.devices.traffic(IMP0, &key, 400_000, 500_000);
    wait_for("the meter", async || {
        let contract = contract(&pair.bob, &nonce).await.unwrap();
        (contract.received_bytes, contract.sent_bytes) == (400_000, 500_000)
            && contract.last_handshake.is_some()
    })
    .await;
    assert_eq!(contract(&pair.bob, &nonce).await.unwrap().state, "active");
    pair.sellers.devices.traffic(IMP0, &key, 450_000, 600_000);
    is(&pair.bob, &nonce, "expired").await;
    assert_eq!(has_said(&pair.bob, "EXPIRED").await.data["reason"], "data");
    wait_for("the peer to be off", async || !pair.sellers.devices.has(IMP0, &key)).await;
    refresh(&pair.alice, pair.bob.id, &nonce).await.unwrap();
    is(&pair.bob, &nonce, "active").await;
    assert_eq!(contract(&pair.bob, &nonce).await.unwrap().data_limit_bytes, Some(2_050_000));
}

#[tokio::test]
async fn what_went_through_is_known_after_a_stop_and_adds_up() {
    let mut pair = Pair::start().await;
    let nonce = pair.buy().await;
    let key = contract(&pair.alice, &nonce).await.unwrap().client_public_key.parse().unwrap();
    pair.sellers.devices.traffic(IMP0, &key, 1_000, 2_000);
    wait_for("the meter", async || contract(&pair.bob, &nonce).await.unwrap().sent_bytes == 2_000).await;
    pair.bob.stop().await;
    pair.bob = pair.bob.restart().await;
    wait_for("the peer to be back", async || pair.sellers.devices.has(IMP0, &key)).await;
    assert_eq!(contract(&pair.bob, &nonce).await.unwrap().sent_bytes, 2_000);
    pair.sellers.devices.traffic(IMP0, &key, 10, 20);
    wait_for("both runs together", async || {
        let contract = contract(&pair.bob, &nonce).await.unwrap();
        (contract.received_bytes, contract.sent_bytes) == (1_010, 2_020)
    })
    .await;
}

#[tokio::test]
async fn two_buyers_have_addresses_of_their_own() {
    let pair = Pair::start().await;
    let first = pair.buy().await;
    let second = quote(&pair.alice, pair.bob.id).await;
    accept(&pair.alice, &second).await.unwrap();
    is(&pair.alice, &second.nonce, "active").await;
    let (first, second) =
        (contract(&pair.alice, &first).await.unwrap(), contract(&pair.alice, &second.nonce).await.unwrap());
    assert_eq!((first.client_ip.as_str(), second.client_ip.as_str()), ("10.0.0.2/24", "10.0.0.3/24"));
    assert_ne!(first.client_public_key, second.client_public_key);
    assert!(
        pair.sellers.lets_in(&first.client_public_key) && pair.sellers.lets_in(&second.client_public_key)
    );
}

#[tokio::test]
async fn a_configuration_that_takes_several_payments_is_delivered() {
    let pair = Pair::with(|options| {
        let networks = (0..40).map(|n| format!("203.0.{}.0/24", 113 + n).parse().unwrap());
        options.vpn.seller.allowed = networks.collect();
    })
    .await;
    let nonce = pair.buy().await;
    assert_eq!(contract(&pair.alice, &nonce).await.unwrap().allowed_ips.len(), 40);
    let config = pair.bob.messages().await.into_iter().map(|row| row.message).max_by_key(|row| row.parts);
    assert_eq!(config.map(|row| (row.parts, row.amount_sat)), Some((2, 2)));
}

#[tokio::test]
async fn a_stop_while_a_step_is_stored_leaves_what_was_stored() {
    let mut pair = Pair::start().await;
    let nonce = pair.buy().await;
    let key = contract(&pair.alice, &nonce).await.unwrap().client_public_key.parse().unwrap();
    pair.sellers.devices.traffic(IMP0, &key, 1_000, 2_000);
    wait_for("the meter", async || contract(&pair.bob, &nonce).await.unwrap().sent_bytes == 2_000).await;
    let database = pair.bob.database();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    pair.clock.step(HOUR_MS);
    // Who decides holds what is in memory until it is stored.
    let moment = std::time::Duration::from_millis(200);
    wait_for("a step that is not stored", async || {
        tokio::time::timeout(moment, contract(&pair.bob, &nonce)).await.is_err()
    })
    .await;
    let stopped = pair.bob.stopping();
    tokio::join!(pair.bob.stop(), async move {
        stopped.cancelled().await;
        database.execute_batch("COMMIT").unwrap();
    });
    pair.bob = pair.bob.restart().await;
    is(&pair.bob, &nonce, "expired").await;
    let told = kinds(&pair.bob).await.into_iter().filter(|kind| kind == "EXPIRED").count();
    assert_eq!(told, 1);
    assert_eq!(contract(&pair.bob, &nonce).await.unwrap().sent_bytes, 2_000);
}
