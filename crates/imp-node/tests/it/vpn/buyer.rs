//! What a buyer pays for and what not, what it makes of answers, and what it does where there is none.

use imp_api::error::Code;
use imp_core::vpn::buyer::PurchaseState;
use imp_core::vpn::{Config, Limits, Nonce, PresharedKey, PrivateKey, Quote, Request, Response};
use imp_lightning::fake::FakeOptions;
use imp_node::error::Error;
use imp_node::idempotency::CallKey;
use imp_node::store::VpnStore;

use super::stranger::Talker;
use super::{
    HOUR_MS, Machine, Pair, accept, accept_at, ask, contract, has_said, is, kinds, outcomes, payments, quote,
    quotes, refresh, state,
};
use crate::lab::{SetClock, TestNode, network, wait_for};

fn assert_unpaid(error: &Error, code: Code) {
    assert_eq!(error.code(), code, "{error}");
    let text = error.to_string();
    assert!(text.contains("failed") && text.contains("nonce"), "{error}");
}

#[tokio::test]
async fn nothing_is_paid_for_a_quote_that_is_not_held_at_this_price() {
    let pair = Pair::start().await;
    let quoted = pair.quote().await;
    let (alice, bob) = (&pair.alice, pair.bob.id);
    let refused = async |of, nonce: &str, price: &str| accept_at(alice, of, nonce, price).await.unwrap_err();
    assert_unpaid(&refused(bob, "DjPL6L35WGdvxhiRz6PqZU", "100").await, Code::FailedPrecondition);
    assert_unpaid(&refused(bob, &quoted.nonce, "99").await, Code::FailedPrecondition);
    let stranger = imp_lightning::LightningNode::id(&*pair.network.node("carol"));
    assert_unpaid(&refused(stranger, &quoted.nonce, "100").await, Code::FailedPrecondition);
    for (nonce, price) in [(quoted.nonce.as_str(), "1e2"), ("no nonce", "100")] {
        let error = refused(bob, nonce, price).await;
        assert!(error.code() == Code::InvalidArgument && error.to_string().contains("failed"), "{error}");
    }
    accept(alice, &quoted).await.unwrap();
    assert_unpaid(&accept(alice, &quoted).await.unwrap_err(), Code::AlreadyExists);
    let old = quote(alice, bob).await;
    pair.clock.step(541_000);
    assert_unpaid(&accept(alice, &old).await.unwrap_err(), Code::FailedPrecondition);
    is(alice, &quoted.nonce, "active").await;
    assert_eq!(payments(&pair.bob).await.len(), 1);
}

#[tokio::test]
async fn what_could_not_be_paid_can_be_paid_later() {
    let pair = Pair::start().await;
    let quoted = pair.quote().await;
    pair.network.set_online("bob", false);
    let error = accept(&pair.alice, &quoted).await.unwrap_err();
    assert!(error.to_string().contains("failed"), "{error}");
    is(&pair.alice, &quoted.nonce, "failed").await;
    pair.network.set_online("bob", true);
    accept(&pair.alice, &quoted).await.unwrap();
    is(&pair.alice, &quoted.nonce, "active").await;
    assert_eq!(outcomes(&pair.bob).await, ["served"]);
}

#[tokio::test]
async fn a_call_that_is_repeated_under_its_key_pays_once() {
    let pair = Pair::start().await;
    let quoted = pair.quote().await;
    let (of, nonce) = (pair.bob.id.to_string(), quoted.nonce.clone());
    let call = async || {
        let key = CallKey::of_call("vpn.VPN/AcceptContract", Some(b"one"), [], nonce.as_bytes()).unwrap();
        let (of, nonce) = (of.clone(), nonce.clone());
        let call = async move |services: imp_node::node::Services| {
            services.vpn.unwrap().accept_contract(&of, &nonce, "100", key).await
        };
        pair.alice.call(call).await
    };
    pair.network.set_online("bob", false);
    call().await.unwrap_err();
    pair.network.set_online("bob", true);
    let (one, two) = tokio::join!(call(), call());
    let id = one.unwrap();
    assert_eq!((two.unwrap(), call().await.unwrap()), (id, id));
    is(&pair.alice, &quoted.nonce, "active").await;
    assert_eq!(call().await.unwrap(), id);
    assert_eq!(outcomes(&pair.bob).await, ["served"]);
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_and_repeated() {
    let pair = Pair::start().await;
    let quoted = pair.quote().await;
    accept(&pair.alice, &quoted).await.unwrap();
    is(&pair.alice, &quoted.nonce, "active").await;
    is(&pair.bob, &quoted.nonce, "active").await;
    // Alice forgets what came, as if her disk had been set back.
    let mut pair = pair;
    pair.alice.kill();
    let database = pair.alice.database();
    let json: String = database
        .query_row("SELECT json FROM vpn_purchase WHERE nonce = ?1", [&quoted.nonce], |row| row.get(0))
        .unwrap();
    let mut row: serde_json::Value = serde_json::from_str(&json).unwrap();
    row["state"] = "paid".into();
    row["config"] = serde_json::Value::Null;
    row["inquiry"] =
        serde_json::json!({"since": row["made"], "next": row["made"], "tries": 0, "told": false});
    let sql = "UPDATE vpn_purchase SET json = ?1, state = 'paid' WHERE nonce = ?2";
    database.execute(sql, [&row.to_string(), &quoted.nonce]).unwrap();
    drop(database);
    pair.alice = pair.alice.restart().await;
    // A restart asks.
    pair.in_time("the configuration", async || state(&pair.alice, &quoted.nonce).await == "active").await;
    assert!(kinds(&pair.bob).await.contains(&"STATUS".to_owned()));
    assert_eq!(outcomes(&pair.bob).await, ["served"]);
}

/// A seller without a daemon, and a buyer of its quote.
struct Hostile {
    mallory: Talker,
    alice: TestNode,
    clock: SetClock,
    quote: Quote,
}

impl Hostile {
    async fn start() -> Self {
        let network = network(FakeOptions::default());
        let mut mallory = Talker::new(&network, "mallory");
        let clock = SetClock::default();
        let alice = TestNode::start_at(&network, "alice", Machine::new().buys(), clock.clone(), None).await;
        let request = ask(&alice, mallory.id).await.unwrap().to_string();
        let quote = Quote {
            nonce: "hostile".parse().unwrap(),
            price_sat: 100,
            valid_secs: 600,
            expiry_secs: 2_000_000_000,
            duration_secs: 3600,
            max_secs: 86_400,
            limits: Limits::default(),
        };
        let text = Response::Quote(quote.clone()).to_json();
        mallory.answer(alice.id, 1, Some(&request), &text, 1).await;
        wait_for("the quote", async || !quotes(&alice, &request).await.is_empty()).await;
        Self { mallory, alice, clock, quote }
    }

    /// Has it accepted. The CONTRACT's id, and the key in it.
    async fn sell(&mut self) -> (String, imp_core::vpn::PublicKey) {
        let nonce = self.quote.nonce.to_string();
        let id = accept_at(&self.alice, self.mallory.id, &nonce, "100").await.unwrap().to_string();
        let key = contract(&self.alice, &nonce).await.unwrap().client_public_key.parse().unwrap();
        (id, key)
    }

    fn config(&self, client_key: imp_core::vpn::PublicKey) -> Config {
        Config {
            client_key,
            server: "203.0.113.9:51820".parse().unwrap(),
            server_key: PrivateKey::from_random([3; 32]).public(),
            client: "10.0.0.9/24".parse().unwrap(),
            allowed: vec!["0.0.0.0/0".parse().unwrap()],
            dns: "9.9.9.9".parse().unwrap(),
            psk: PresharedKey::from_random([4; 32]),
            nonce: self.quote.nonce.clone(),
            expiry_secs: 2_000_000_000,
            duration_secs: 3600,
            mtu: 1420,
            limits: Limits::default(),
        }
    }
}

#[tokio::test]
async fn a_configuration_that_would_do_more_than_it_says_is_refused() {
    let mut hostile = Hostile::start().await;
    let (id, key) = hostile.sell().await;
    let good = hostile.config(key);
    let bad = [
        good.to_json().replace("9.9.9.9", r"1.1.1.1\nPostUp = touch /tmp/owned"),
        good.to_json()
            .replace(r#""privkey":"""#, &format!(r#""privkey":"{}""#, good.psk.to_base64().as_str())),
        hostile.config(PrivateKey::from_random([9; 32]).public()).to_json(),
        Config { duration_secs: 60, ..good.clone() }.to_json(),
    ];
    let alice = hostile.alice.id;
    for (n, text) in (10..).zip(&bad) {
        hostile.mallory.answer(alice, n, Some(&id), text, 1).await;
    }
    wait_for("four refusals", async || hostile.alice.counter("vpn_config_refused").await == 4).await;
    assert_eq!(state(&hostile.alice, "hostile").await, "paid");
    assert!(!kinds(&hostile.alice).await.contains(&"CONFIG".to_owned()));
    hostile.mallory.answer(alice, 20, Some(&id), &good.to_json(), 1).await;
    is(&hostile.alice, "hostile", "active").await;
    let other = Config { dns: "1.1.1.1".parse().unwrap(), ..good };
    hostile.mallory.answer(alice, 21, Some(&id), &other.to_json(), 1).await;
    wait_for("the refusal", async || hostile.alice.counter("vpn_config_refused").await == 5).await;
    assert_eq!(contract(&hostile.alice, "hostile").await.unwrap().dns_ip, "9.9.9.9");
}

#[tokio::test]
async fn quotes_count_as_answers_only() {
    let mut hostile = Hostile::start().await;
    let quote = Quote { nonce: "unasked".parse().unwrap(), ..hostile.quote.clone() };
    let text = Response::Quote(quote).to_json();
    let alice = hostile.alice.id;
    let message = hostile.alice.send(hostile.mallory.id, "no question").await.unwrap().to_string();
    hostile.mallory.answer(alice, 30, None, &text, 1).await;
    hostile.mallory.answer(alice, 31, Some(&message), &text, 1).await;
    wait_for("both to be taken", async || hostile.alice.counter("vpn_ignored").await == 2).await;
    assert_eq!(quotes(&hostile.alice, "").await.len(), 1);
}

#[tokio::test]
async fn a_seller_that_took_the_money_and_says_nothing_is_marked_and_may_still_answer() {
    let mut hostile = Hostile::start().await;
    let (id, key) = hostile.sell().await;
    is(&hostile.alice, "hostile", "paid").await;
    hostile.clock.step(31_000);
    hostile.mallory.listen_for_requests(&Request::Status { nonce: nonce(), id: message(&id) }).await;
    hostile.clock.step(20 * 60_000);
    is(&hostile.alice, "hostile", "unanswered").await;
    assert_eq!(has_said(&hostile.alice, "UNANSWERED").await.from, hostile.mallory.id);
    let text = hostile.config(key).to_json();
    hostile.mallory.answer(hostile.alice.id, 40, Some(&id), &text, 1).await;
    is(&hostile.alice, "hostile", "active").await;
}

fn nonce() -> Nonce {
    "hostile".parse().unwrap()
}

fn message(id: &str) -> imp_core::id::MessageId {
    imp_core::id::MessageId::from_canonical(id).unwrap()
}

#[tokio::test]
async fn a_contract_is_refreshed_by_itself_within_its_limit() {
    let pair = Pair::start().await;
    let bought = pair.buy().await;
    let limit = async |sat: i64| {
        let nonce = bought.clone();
        let set = async move |services: imp_node::node::Services| {
            services.vpn.unwrap().set_auto_refresh(&nonce, sat).await
        };
        pair.alice.call(set).await
    };
    assert_eq!(limit(250).await.unwrap().auto_refresh_limit_sat, Some(250));
    // Five minutes before each end.
    for (count, step) in [(1, HOUR_MS - 300_000), (2, HOUR_MS)] {
        pair.clock.step(step);
        wait_for("the answer", async || {
            kinds(&pair.alice).await.iter().filter(|kind| *kind == "REFRESHED").count() == count
        })
        .await;
        wait_for("the payment", async || {
            let contract = contract(&pair.alice, &bought).await.unwrap();
            let sat = 100 * count as u64;
            (contract.auto_refresh_spent_sat, contract.paid_sat) == (sat, 100 + sat)
        })
        .await;
        is(&pair.bob, &bought, "active").await;
    }
    pair.clock.step(2 * HOUR_MS);
    is(&pair.alice, &bought, "expired").await;
    assert_eq!(outcomes(&pair.bob).await, ["served"; 3], "the limit would have been passed");
    // Over for good, it takes no more.
    pair.clock.step(2 * HOUR_MS);
    assert_eq!(limit(0).await.unwrap().auto_refresh_limit_sat, None);
    let error = limit(500).await.unwrap_err();
    assert!(error.code() == Code::FailedPrecondition && error.to_string().contains("over"), "{error}");
}

#[tokio::test]
async fn a_service_that_is_switched_off_pays_nothing_by_itself_and_follows_the_clock() {
    let mut pair = Pair::start().await;
    let bought = pair.buy().await;
    let nonce = bought.clone();
    let set = async move |services: imp_node::node::Services| {
        services.vpn.unwrap().set_auto_refresh(&nonce, 500).await
    };
    pair.alice.call(set).await.unwrap();
    let mut options = pair.buyers.buys();
    options.vpn.active = false;
    pair.alice = pair.alice.restart_with(options).await;
    pair.clock.step(HOUR_MS - 200_000);
    has_said(&pair.alice, "EXPIRING").await;
    pair.clock.step(HOUR_MS);
    // Nobody can call it, so its rows are looked at.
    wait_for("the end", async || {
        pair.alice.store.vpn_purchases().await.unwrap()[0].state == PurchaseState::Expired
    })
    .await;
    assert_eq!(outcomes(&pair.bob).await, ["served"]);
}

#[tokio::test]
async fn more_time_than_is_sold_is_not_paid_for() {
    let pair = Pair::with(|options| options.vpn.seller.max_left = std::time::Duration::from_secs(7200)).await;
    let bought = pair.buy().await;
    refresh(&pair.alice, pair.bob.id, &bought).await.unwrap();
    has_said(&pair.alice, "REFRESHED").await;
    let error = refresh(&pair.alice, pair.bob.id, &bought).await.unwrap_err();
    assert_unpaid(&error, Code::FailedPrecondition);
    assert_eq!(payments(&pair.bob).await.len(), 2);
}
