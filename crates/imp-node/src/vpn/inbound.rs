//! What came in for this service, taken in its order.

use std::collections::HashMap;
use std::time::Duration;

use imp_core::id::{MessageId, NodeId, PaymentHash};
use imp_core::record::Service;
use imp_core::time::UnixMillis;
use imp_core::vpn::buyer::Asked;
use imp_core::vpn::seller::Terms;
use imp_core::vpn::{Incoming, Payload, Request, Response};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::change::{Decision, Direct};
use super::{Inner, Memory};
use crate::error::Error;
use crate::store::StoreError;
use crate::store::outbox::OutboxMessage;
use crate::store::vpn::VpnInbound;

/// What is read of what came in at once.
const INBOUND_AT_ONCE: usize = 64;

/// How long a row waits that could not be taken.
const TAKEN_AGAIN: Duration = Duration::from_secs(60);

/// The counter of rows that could not be taken, each time that it was tried.
const STEPPED_OVER: &str = "vpn_stepped_over";

/// The counter of texts of other nodes that cannot be read.
const MALFORMED: &str = "vpn_malformed";

/// The counter of questions that a node with the service switched off leaves unanswered.
const INACTIVE: &str = "vpn_inactive";

/// The way through what came in. A row that cannot be taken keeps nobody else's from being taken: it waits, and is tried again.
#[derive(Debug)]
pub(super) struct Inbound {
    is_new: bool,
    /// Rows that could not be taken, and when they are tried again.
    stepped_over: HashMap<PaymentHash, Instant>,
}

impl Default for Inbound {
    /// Before the first look: an earlier run may have left something.
    fn default() -> Self {
        Self { is_new: true, stepped_over: HashMap::new() }
    }
}

impl Inbound {
    /// Something new is there.
    pub(super) const fn has_arrived(&mut self) {
        self.is_new = true;
    }

    /// Takes what is there, until the node stops.
    ///
    /// # Errors
    ///
    /// Those of the store alone.
    pub(super) async fn take(&mut self, inner: &Inner, stopped: &CancellationToken) -> Result<(), Error> {
        let now = Instant::now();
        while self.is_new || self.stepped_over.values().any(|at| *at <= now) {
            let limit = INBOUND_AT_ONCE + self.stepped_over.len();
            let rows = inner.store.vpn_inbound(limit).await?;
            self.stepped_over.retain(|hash, _| rows.iter().any(|row| row.hash == *hash));
            let before = rows.len();
            let due = |row: &VpnInbound| self.stepped_over.get(&row.hash).is_none_or(|at| *at <= now);
            let rows: Vec<_> = rows.into_iter().filter(due).collect();
            self.is_new = !rows.is_empty() && before == limit;
            for row in rows {
                if stopped.is_cancelled() {
                    return Ok(());
                }
                let (hash, message, from) = (row.hash, row.id, row.sender);
                match inner.take(row).await {
                    Ok(()) => drop(self.stepped_over.remove(&hash)),
                    Err(error) => {
                        inner.count(STEPPED_OVER).await?;
                        tracing::error!(%message, %from, "what came in is stepped over for now: {error}");
                        self.stepped_over.insert(hash, Instant::now() + TAKEN_AGAIN);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Inner {
    /// Counts something, which fails only where the store cannot write.
    async fn count(&self, what: &'static str) -> Result<(), Error> {
        let mut memory = self.memory.lock().await;
        self.commit(&mut memory, Decision { count: vec![what], ..Decision::default() }).await.map(drop)
    }

    async fn take(&self, row: VpnInbound) -> Result<(), Error> {
        let payload = Payload::parse(&row.text);
        let handled = vec![row.hash];
        let decision = match payload {
            Ok(Payload::Request(Request::Quote)) if !self.options.active => {
                Decision { handled, count: vec![INACTIVE], ..Decision::default() }
            }
            Ok(Payload::Request(request)) => return self.take_request(&row, &request).await,
            Ok(Payload::Response(response)) => return self.take_response(&row, response).await,
            Err(error) => {
                let (message, from) = (row.id, row.sender);
                // A seller's configuration that cannot be used is what its buyer wants to know of.
                let is_config = self.is_awaited_config(&row).await;
                if is_config {
                    tracing::warn!(%message, %from, "a seller's configuration is refused: {error}");
                } else {
                    tracing::debug!(%message, %from, "a text of the VPN {error}");
                }
                let count = vec![if is_config { "vpn_config_refused" } else { MALFORMED }];
                Decision { handled, count, ..Decision::default() }
            }
        };
        let mut memory = self.memory.lock().await;
        self.commit(&mut memory, decision).await.map(drop)
    }

    /// Whether a text that cannot be read answers a payment for a contract.
    async fn is_awaited_config(&self, row: &VpnInbound) -> bool {
        let memory = self.memory.lock().await;
        memory
            .purchases
            .purchases()
            .any(|purchase| purchase.seller == row.sender && purchase.contract_id.to_string() == row.reply_to)
    }

    async fn take_request(&self, row: &VpnInbound, request: &Request) -> Result<(), Error> {
        let blocked = self.is_blocked(row.sender).await;
        let direct = self.direct([row.sender]).await;
        let mut memory = self.memory.lock().await;
        // They change with the device.
        let terms = self.terms();
        memory.book.set_terms(terms.clone());
        let served = self.answer(&mut memory, row, request, blocked, &direct).await;
        let Err(error) = served else { return Ok(()) };
        if !request.is_payment() {
            return Err(error);
        }
        let (message, from) = (row.id, row.sender);
        tracing::warn!(%message, %from, "what is paid for cannot be served, and goes back: {error}");
        memory.book.set_terms(Terms { selling: false, carrying: false, ..terms.clone() });
        let sent_back = self.answer(&mut memory, row, request, blocked, &direct).await;
        memory.book.set_terms(terms);
        sent_back
    }

    /// Answers a request as the terms are.
    async fn answer(
        &self,
        memory: &mut Memory,
        row: &VpnInbound,
        request: &Request,
        blocked: bool,
        direct: &Direct,
    ) -> Result<(), Error> {
        let step =
            self.decide(direct, |moment| memory.book.take(&incoming(row, blocked), request, moment))?;
        self.commit(memory, Decision { handled: vec![row.hash], ..step.into() }).await.map(drop)
    }

    async fn take_response(&self, row: &VpnInbound, response: Response) -> Result<(), Error> {
        // Only an answer to a question of this node is a quote.
        let quote_asked = match response {
            Response::Quote(_) | Response::Refused { .. } => self.quote_asked(row).await?,
            _ => None,
        };
        let blocked = self.is_blocked(row.sender).await;
        let mut memory = self.memory.lock().await;
        let nonce_taken = matches!(&response, Response::Quote(quote) if memory.book.knows(&quote.nonce));
        let asked = Asked { quote_asked, nonce_taken };
        let step = memory.purchases.take(&incoming(row, blocked), &response, asked, self.clock.now());
        let decision = Decision { handled: vec![row.hash], ..step.into() };
        // An answer has nothing paid.
        self.commit(&mut memory, decision).await.map(drop)
    }

    async fn is_blocked(&self, node: NodeId) -> bool {
        self.federation.peer(node).await.is_some_and(|view| view.peer.blocked)
    }

    /// When this node sent the question for a quote to its sender that a message answers, if it answers one.
    async fn quote_asked(&self, row: &VpnInbound) -> Result<Option<UnixMillis>, StoreError> {
        let Some(id) = MessageId::from_canonical(&row.reply_to) else { return Ok(None) };
        let stored = self.outbox.state(id).await?.map(|stored| stored.message);
        let is_its =
            |message: &OutboxMessage| message.service == Service::Vpn && message.recipient == row.sender;
        let Some(asked) = stored.filter(is_its) else { return Ok(None) };
        let body = self.store.message_body(id).await?.unwrap_or_default();
        let request = std::str::from_utf8(&body).ok().map(Request::parse);
        Ok(matches!(request, Some(Ok(Request::Quote))).then_some(asked.accepted))
    }
}

fn incoming(row: &VpnInbound, blocked: bool) -> Incoming<'_> {
    Incoming {
        hash: row.hash,
        from: row.sender,
        id: row.id,
        reply_to: &row.reply_to,
        amount: row.amount,
        at: row.at,
        repeated: row.repeated,
        blocked,
    }
}
