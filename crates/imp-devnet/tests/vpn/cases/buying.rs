//! From the quote to the contract.

use std::process::Stdio;
use std::sync::Arc;

use imp_api::proto::imp::vpn::v1::{GetVpnSellerRequest, ListVpnContractsRequest};
use imp_api::proto::vpn::AcceptContractRequest;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::lab::{DEVICE, Lab, PATIENCE, PRICE_SAT, SELLER, program, wait_for};
use crate::reach::{is_cut_off, page, pings};

pub(crate) async fn nothing_passes_before_it_is_paid_for(lab: Arc<Lab>) {
    let seller = lab.client(SELLER).await;
    let selling = || async {
        let seller = seller.get_vpn_seller(GetVpnSellerRequest {}).await.ok()?;
        seller.selling.then_some(seller)
    };
    let selling = wait_for("a seller", selling).await;
    assert_eq!((selling.interface.as_str(), selling.endpoint.as_str()), (DEVICE, "203.0.113.3:51820"));
    // The seller is there, and is on the internet.
    assert!(pings(&lab.host("alice"), "203.0.113.3").await);
    assert!(page(&lab.host(SELLER)).await.is_some());
    lab.quote("alice").await;
    assert!(is_cut_off(&lab.host("alice")).await);
}

pub(crate) async fn a_contract_is_told_to_both_sides(lab: Arc<Lab>) {
    let mut sold = lab.news(SELLER).await;
    let deal = lab.buy("bob").await;
    let buyer = lab.node("bob").pubkey;
    let asked = sold.wait("a request for a quote", |told| told.data["type"] == "QUOTE").await;
    assert_eq!((asked.get("recordId"), &asked.from), ("VPN_REQUEST", &buyer));
    let paid = sold.wait("a payment", |told| told.is("CONTRACT", &deal.nonce)).await;
    assert_eq!((paid.amount, paid.get("price"), &paid.from), (PRICE_SAT, "100", &buyer));
    assert_eq!(paid.id, deal.config.reply_to_id);

    let config = &deal.config;
    for key in ["pubkey", "privkey", "serverIp", "serverPort", "serverPubKey", "clientIp", "allowedIp"] {
        assert!(!config.get(key).is_empty(), "{key}");
    }
    assert_eq!((config.get("recordId"), config.get("serverIp")), ("VPN_RESPONSE", "203.0.113.3"));
    assert!(config.get("clientIp").starts_with("10.157.83."), "{}", config.get("clientIp"));
    assert!(config.data.as_object().unwrap().values().all(Value::is_string), "all values are texts");

    for (node, role) in [("bob", "bought"), (SELLER, "sold")] {
        let contract = lab.wait_contract(node, &deal.nonce, "active", |it| it.state == "active").await;
        assert_eq!((contract.role.as_str(), contract.paid_sat), (role, PRICE_SAT));
        assert_eq!(contract.client_public_key, config.get("pubkey"));
        let left_ms = contract.ends_ms.unwrap() - contract.started_ms.unwrap();
        assert_eq!(left_ms, contract.duration_secs * 1000);
        let query = ListVpnContractsRequest { role: role.to_owned(), ..ListVpnContractsRequest::default() };
        let listed = lab.client(node).await.list_vpn_contracts(query).await.unwrap().contracts;
        assert!(listed.iter().any(|it| it.nonce == deal.nonce));
    }
    let payments = lab.payments(&deal.nonce).await;
    assert_eq!(payments.len(), 1);
    assert_eq!((payments[0].state.as_str(), payments[0].received_msat), ("served", PRICE_SAT * 1000));
}

pub(crate) async fn what_cannot_be_served_is_not_paid_for(lab: Arc<Lab>) {
    let client = lab.client("alice").await;
    let nonce = lab.quote("alice").await;
    let accept = |nonce: &str, price: &str| {
        let request = AcceptContractRequest {
            pubkey: lab.node(SELLER).pubkey,
            nonce: nonce.to_owned(),
            price: price.to_owned(),
            ..AcceptContractRequest::default()
        };
        let client = client.clone();
        async move { client.accept_contract(request).await.unwrap_err().to_string() }
    };
    for (nonce, price, words) in [("nobody-quoted-this", "100", "quote"), (&nonce, "99", "price")] {
        let error = accept(nonce, price).await;
        assert!(error.contains("failed") && error.contains(words), "{error}");
    }
    assert!(lab.payments(&nonce).await.is_empty());
    assert!(lab.contract("alice", &nonce).await.is_none());
}

/// What `imp` prints for programs.
async fn imp(lab: &Lab, node: &str, args: &[&str]) -> Value {
    let text = imp_text(lab, node, &[args, &["--json"]].concat()).await;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

async fn imp_text(lab: &Lab, node: &str, args: &[&str]) -> String {
    let mut command = Command::new(program("imp"));
    command.args(args).env("IMP_ADDR", lab.node(node).grpc.to_string()).stdin(Stdio::null());
    let done = timeout(PATIENCE, command.kill_on_drop(true).output()).await.expect("imp ends").unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{args:?}: {} {out} {err}", done.status);
    out.into_owned()
}

pub(crate) async fn the_command_line_buys(lab: Arc<Lab>) {
    let seller = lab.node(SELLER).pubkey;
    let bought = imp(&lab, "bob", &["vpn", "buy", &seller, "--max-price", "100"]).await;
    let nonce = bought["nonce"].as_str().unwrap_or_else(|| panic!("no nonce: {bought}"));
    let listed = imp(&lab, "bob", &["vpn", "list", "--role", "bought"]).await;
    let listed = listed["contracts"].as_array().unwrap();
    assert!(listed.iter().any(|contract| contract["nonce"] == nonce && contract["state"] == "active"));
    let text = imp_text(&lab, "bob", &["vpn", "config", nonce]).await;
    assert!(text.contains("[Interface]") && text.contains("Endpoint = 203.0.113.3:51820"), "{text}");
    let told = imp_text(&lab, SELLER, &["vpn", "seller"]).await;
    assert!(told.contains("203.0.113.3:51820"), "{told}");
}
