//! Buying: quotes, contracts and what is told of them.

use imp_api::client::{ClientError, Events};
use imp_api::proto::imp::vpn::v1::{
    Contract, GetVpnConfigRequest, GetVpnContractRequest, ListVpnPaymentsRequest, VpnPayment,
};
use imp_api::proto::vpn::{AcceptContractRequest, RefreshContractRequest, RequestQuoteRequest};
use imp_api::proto::websocket::SubscribeRequest;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::lab::{Lab, PATIENCE, PRICE_SAT, SELLER, wait_for};

/// An event of the VPN, read.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) reply_to_id: String,
    pub(crate) from: String,
    pub(crate) amount: i64,
    pub(crate) data: Value,
}

impl Told {
    /// A value of the text, all of which are texts.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.data[key].as_str().unwrap_or_else(|| panic!("no text {key}: {self:?}"))
    }

    pub(crate) fn is(&self, kind: &str, nonce: &str) -> bool {
        self.data["type"] == kind && self.data["nonce"] == nonce
    }
}

/// A node's events of the VPN, from some moment on.
pub(crate) struct News(Events);

impl News {
    /// The next one for which this holds.
    pub(crate) async fn wait(&mut self, what: &str, wanted: impl Fn(&Told) -> bool) -> Told {
        let until = Instant::now() + PATIENCE;
        let mut others = Vec::new();
        loop {
            let Ok(event) = timeout_at(until, self.0.next()).await else {
                panic!("not within {PATIENCE:?}: {what}; there were {others:?}");
            };
            let event = event.unwrap().expect("the stream goes on");
            let told = Told {
                data: serde_json::from_str(&event.data).unwrap(),
                id: event.id,
                reply_to_id: event.reply_to_id,
                from: event.from_pubkey,
                amount: event.amount,
            };
            if wanted(&told) {
                return told;
            }
            others.push(told);
        }
    }
}

/// A contract that a node bought.
#[derive(Clone, Debug)]
pub(crate) struct Deal {
    pub(crate) buyer: &'static str,
    pub(crate) nonce: String,
    /// The event with the tunnel's configuration.
    pub(crate) config: Told,
}

impl Lab {
    /// A node's events of the VPN from now on.
    pub(crate) async fn news(&self, node: &str) -> News {
        let only = SubscribeRequest { service: Some("vpn".to_owned()), ..SubscribeRequest::default() };
        News(self.client(node).await.subscribe(only).await.unwrap())
    }

    /// Asks the seller for a quote and gives its nonce.
    pub(crate) async fn quote(&self, buyer: &str) -> String {
        let mut news = self.news(buyer).await;
        let client = self.client(buyer).await;
        let pubkey = self.node(SELLER).pubkey;
        let request = RequestQuoteRequest { pubkey: pubkey.clone(), ..RequestQuoteRequest::default() };
        // A channel that has just come back is not always found at once.
        let asked = || async { client.request_quote(request.clone()).await.ok() };
        let id = wait_for("a request that is sent", asked).await.id;
        let quote = news.wait("a quote", |told| told.reply_to_id == id).await;
        assert_eq!((quote.get("recordId"), quote.get("type")), ("VPN_RESPONSE", "QUOTE"), "{quote:?}");
        assert_eq!((quote.get("price"), &quote.from), (PRICE_SAT.to_string().as_str(), &pubkey));
        quote.get("nonce").to_owned()
    }

    /// Accepts a quote and pays.
    pub(crate) async fn accept(&self, buyer: &str, nonce: &str) -> Result<String, ClientError> {
        let request = AcceptContractRequest {
            pubkey: self.node(SELLER).pubkey,
            nonce: nonce.to_owned(),
            price: PRICE_SAT.to_string(),
            ..AcceptContractRequest::default()
        };
        Ok(self.client(buyer).await.accept_contract(request).await?.id)
    }

    /// Buys a contract and waits for its configuration.
    pub(crate) async fn buy(&self, buyer: &'static str) -> Deal {
        let nonce = self.quote(buyer).await;
        let mut news = self.news(buyer).await;
        let id = self.accept(buyer, &nonce).await.unwrap();
        let config = news.wait("a configuration", |told| told.is("CONFIG", &nonce)).await;
        assert_eq!(config.reply_to_id, id);
        self.wait_contract(SELLER, &nonce, "time that runs", |contract| contract.state == "active").await;
        Deal { buyer, nonce, config }
    }

    /// Pays for more time.
    pub(crate) async fn refresh(&self, deal: &Deal) -> Result<String, ClientError> {
        let request = RefreshContractRequest {
            pubkey: self.node(SELLER).pubkey,
            nonce: deal.nonce.clone(),
            price: PRICE_SAT.to_string(),
            ..RefreshContractRequest::default()
        };
        Ok(self.client(deal.buyer).await.refresh_contract(request).await?.id)
    }

    pub(crate) async fn contract(&self, node: &str, nonce: &str) -> Option<Contract> {
        let request = GetVpnContractRequest { nonce: nonce.to_owned() };
        self.client(node).await.get_vpn_contract(request).await.ok()
    }

    /// Waits until a contract is so.
    pub(crate) async fn wait_contract(
        &self,
        node: &str,
        nonce: &str,
        what: &str,
        holds: impl Fn(&Contract) -> bool,
    ) -> Contract {
        let what = format!("{nonce} at {node}: {what}");
        wait_for(&what, || async { self.contract(node, nonce).await.filter(&holds) }).await
    }

    /// The configuration as a file for `wg-quick`.
    pub(crate) async fn config_file(&self, deal: &Deal) -> String {
        let request = GetVpnConfigRequest { nonce: deal.nonce.clone() };
        let file = self.client(deal.buyer).await.get_vpn_config(request).await.unwrap();
        String::from_utf8(file.data.to_vec()).unwrap()
    }

    /// What the seller was paid for a contract.
    pub(crate) async fn payments(&self, nonce: &str) -> Vec<VpnPayment> {
        let request = ListVpnPaymentsRequest { nonce: nonce.to_owned(), ..ListVpnPaymentsRequest::default() };
        self.client(SELLER).await.list_vpn_payments(request).await.unwrap().payments
    }
}
