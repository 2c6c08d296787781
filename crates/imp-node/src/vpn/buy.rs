//! Payments of this node for quotes, contracts and more time: noted before they are made, and concluded after.

use std::sync::Arc;
use std::time::Duration;

use imp_api::error::Code;
use imp_core::delivery::MessageState;
use imp_core::id::{MessageId, NodeId};
use imp_core::record::Service;
use imp_core::time::UnixMillis;
use imp_core::vpn::buyer::{AcceptError, Purchase, PurchaseState, REVIVABLE, RefreshError, Step};
use imp_core::vpn::{Moment, Nonce, Post, Request};

use super::change::{Decision, Direct, draft};
use super::list::not_found;
use super::{ContractView, Inner, Memory, Vpn};
use crate::error::Error;
use crate::idempotency::{CallKey, Claim, KeyUse};
use crate::outbox::under_way::Hold;
use crate::outbox::{Draft, Sent};
use crate::store::idempotency::{NewKey, StoredKey};

/// What a call pays for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    Contract,
    MoreTime,
}

/// A contract as a call names it.
#[derive(Clone, Debug)]
struct Named {
    purpose: Purpose,
    seller: NodeId,
    nonce: Nonce,
    price_sat: u64,
}

impl Vpn {
    /// Asks a node for its price, and waits until that is paid for, like [`Outbox::send`](crate::outbox::Outbox::send). A call
    /// with a key that was used before is told what became of the first, which is sent once more if it failed.
    pub async fn ask(&self, seller: NodeId, key: Option<CallKey>) -> Result<Sent, Error> {
        let outbox = &self.inner.outbox;
        let claim = match key {
            None => None,
            Some(call) => match self.inner.idempotency.claim(call).await? {
                KeyUse::Fresh(claim) => Some(claim),
                KeyUse::Used(stored) => return outbox.repeat(message(&stored)?, false).await,
            },
        };
        let draft = Draft {
            service: Service::Vpn,
            recipient: seller,
            body: Request::Quote.to_json().into_bytes(),
            reply_to: String::new(),
            amount_sat: 0,
            unordered: false,
            keep: Duration::ZERO,
            answer: None,
            fee_limit: None,
        };
        outbox.send(draft, claim).await
    }

    /// Accepts a quote, and waits until it is paid for, like [`Outbox::send`](crate::outbox::Outbox::send). A call with a key that was used before finds
    /// out what became of the first, and pays once more only where nothing was paid.
    ///
    /// Dropping the future takes nothing back.
    ///
    /// # Errors
    ///
    /// `FAILED_PRECONDITION` where there is no such quote, or not at this price; `ALREADY_EXISTS` where it was accepted before.
    /// Nothing is paid then. Else those of [`Outbox::send`](crate::outbox::Outbox::send).
    pub async fn accept(
        &self,
        seller: NodeId,
        nonce: Nonce,
        price_sat: u64,
        key: Option<CallKey>,
    ) -> Result<Sent, Error> {
        self.call(Named { purpose: Purpose::Contract, seller, nonce, price_sat }, key).await
    }

    /// Pays for more time, likewise.
    ///
    /// # Errors
    ///
    /// Like [`Self::accept`], of contracts.
    pub async fn refresh(
        &self,
        seller: NodeId,
        nonce: Nonce,
        price_sat: u64,
        key: Option<CallKey>,
    ) -> Result<Sent, Error> {
        self.call(Named { purpose: Purpose::MoreTime, seller, nonce, price_sat }, key).await
    }

    async fn call(&self, named: Named, key: Option<CallKey>) -> Result<Sent, Error> {
        let Some(call) = key else { return self.begin(named, None).await };
        loop {
            let first = match self.inner.idempotency.claim(call.clone()).await? {
                KeyUse::Fresh(claim) => return self.begin(named, Some(claim)).await,
                KeyUse::Used(stored) => message(&stored)?,
            };
            // Waits for whoever makes that payment.
            let hold = self.inner.under_way.take(first).await;
            // By then the key may lead to another one.
            match self.inner.idempotency.claim(call.clone()).await? {
                KeyUse::Used(stored) if message(&stored)? == first => {
                    return self.repeat(named, call, hold).await;
                }
                KeyUse::Used(_) | KeyUse::Fresh(_) => drop(hold),
            }
        }
    }

    async fn begin(&self, named: Named, claim: Option<Claim>) -> Result<Sent, Error> {
        let inner = Arc::clone(&self.inner);
        self.detached(async move {
            let key = |id: MessageId| claim.as_ref().map(|claim| claim.key(id.as_bytes(), inner.clock.now()));
            let (post, hold) = inner.note(&named, key).await?;
            // The key is stored: whoever repeats the call waits for the hold.
            drop(claim);
            inner.pay(&post, hold).await
        })
        .await
    }

    /// What became of a payment whose call is repeated.
    async fn repeat(&self, named: Named, call: CallKey, hold: Hold) -> Result<Sent, Error> {
        let inner = Arc::clone(&self.inner);
        self.detached(async move {
            let id = hold.id();
            let state = inner.outbox.state(id).await?.map(|stored| stored.state);
            if !matches!(state, None | Some(MessageState::Failed)) {
                drop(hold);
                inner.look_again.notify_one();
                // What is noted of it would not know of another try.
                return inner.outbox.wait(id).await;
            }
            // Its end may not be noted yet, and would keep the quote from being accepted.
            inner.conclude(id).await?;
            let key = |id: MessageId| Some(call.again(id.as_bytes(), inner.clock.now()));
            let (post, fresh) = inner.note(&named, key).await?;
            drop(hold);
            inner.pay(&post, fresh).await
        })
        .await
    }

    /// Has a contract refreshed by itself, as long as all of that costs no more than so much; nothing ends it.
    ///
    /// # Errors
    ///
    /// `NOT_FOUND` for a contract that this node did not buy; `FAILED_PRECONDITION` for a limit of one that can have no more
    /// time.
    pub async fn set_auto_refresh(
        &self,
        nonce: Nonce,
        limit_sat: Option<u64>,
    ) -> Result<ContractView, Error> {
        let inner = Arc::clone(&self.inner);
        self.detached(async move {
            let mut memory = inner.memory.lock().await;
            let purchase = memory.purchases.purchase(&nonce).ok_or_else(|| not_found(&nonce))?;
            if limit_sat.is_some() && is_over(purchase, inner.clock.now()) {
                let text = "the contract is over for good: ask for a quote, and buy another";
                let error = Error::new(Code::FailedPrecondition, "CONTRACT_OVER", text);
                return Err(error.with("nonce", nonce.to_string()));
            }
            let step = memory.purchases.set_auto_refresh(&nonce, limit_sat, inner.clock.now());
            let step = step.ok_or_else(|| not_found(&nonce))?;
            inner.commit(&mut memory, step.into()).await?;
            let purchase = memory.purchases.purchase(&nonce).ok_or_else(|| not_found(&nonce))?;
            Ok(inner.bought_view(purchase))
        })
        .await
    }
}

impl Inner {
    /// Notes a payment before it is made: its answer must not find a stranger.
    async fn note(
        &self,
        named: &Named,
        key: impl FnOnce(MessageId) -> Option<NewKey>,
    ) -> Result<(Post, Hold), Error> {
        if !self.options.active {
            return Err(Error::unavailable("failed: the service vpn is switched off"));
        }
        let mut memory = self.memory.lock().await;
        let (id, step) = self.decide(&Direct::new(), |moment| decide(&memory, named, moment))??;
        let mut held = self.hold_and_commit(&mut memory, Decision { key: key(id), ..step.into() }).await?;
        held.pop().ok_or_else(|| Error::internal("failed: what was accepted is not paid for"))
    }

    /// Commits a decision that has payments made. Nobody else finds out about them until their holds are let go.
    pub(super) async fn hold_and_commit(
        &self,
        memory: &mut Memory,
        decision: Decision,
    ) -> Result<Vec<(Post, Hold)>, Error> {
        let mut holds = Vec::new();
        for post in &decision.buyer.pay {
            // Fresh ids, which nobody else knows.
            let hold = self.under_way.try_take(post.id);
            holds.push(hold.ok_or_else(|| Error::internal("failed: an id came twice"))?);
        }
        let posts = self.commit(memory, decision).await?;
        Ok(posts.into_iter().zip(holds).collect())
    }

    /// Makes a payment that was noted, and notes what became of it, unless the node stops: then the work on it may have
    /// broken off anywhere, and the next run finds out.
    pub(super) async fn pay(&self, post: &Post, hold: Hold) -> Result<Sent, Error> {
        let sent = self.outbox.send_as(post.id, draft(post), None).await;
        if !self.tasks.token().is_cancelled() {
            self.conclude(post.id).await?;
        }
        drop(hold);
        // It may have ended between the look and here.
        self.look_again.notify_one();
        sent
    }
}

fn decide(memory: &Memory, named: &Named, moment: &mut Moment<'_>) -> Result<(MessageId, Step), Error> {
    let Named { purpose, seller, nonce, price_sat } = named;
    let decided = match purpose {
        Purpose::Contract => {
            let code = |error| match error {
                AcceptError::Bought => (Code::AlreadyExists, "QUOTE_ACCEPTED"),
                AcceptError::NoQuote => (Code::FailedPrecondition, "NO_QUOTE"),
                AcceptError::TooOld => (Code::FailedPrecondition, "QUOTE_TOO_OLD"),
                AcceptError::Price { .. } => (Code::FailedPrecondition, "OTHER_PRICE"),
            };
            let accepted = memory.purchases.accept(*seller, nonce, *price_sat, moment);
            accepted.map_err(|error| (code(error), error.to_string()))
        }
        Purpose::MoreTime => {
            let reason = |error| match error {
                RefreshError::NoContract => "NO_CONTRACT",
                RefreshError::State { .. } => "CONTRACT_OVER",
                RefreshError::Open => "REFRESH_OPEN",
                RefreshError::Price { .. } => "OTHER_PRICE",
                RefreshError::TooMuch { .. } => "TOO_MUCH_TIME",
            };
            let refreshed = memory.purchases.refresh(*seller, nonce, *price_sat, moment);
            refreshed.map_err(|error| ((Code::FailedPrecondition, reason(error)), error.to_string()))
        }
    };
    decided.map_err(|((code, reason), text)| Error::new(code, reason, text).with("nonce", nonce.to_string()))
}

/// Whether a contract can have no more time.
fn is_over(purchase: &Purchase, now: UnixMillis) -> bool {
    match purchase.state {
        PurchaseState::Refunded | PurchaseState::Failed => true,
        PurchaseState::Expired => {
            purchase.private_key.is_none() || purchase.ends.is_some_and(|ends| now > ends.plus(REVIVABLE))
        }
        PurchaseState::Paying | PurchaseState::Paid | PurchaseState::Active | PurchaseState::Unanswered => {
            false
        }
    }
}

/// The message that was begun under a key.
fn message(stored: &StoredKey) -> Result<MessageId, Error> {
    let id = stored.subject.as_slice().try_into().map(MessageId::from_bytes);
    id.map_err(|_| Error::internal("a key that names no message"))
}
