//! Invoices of this node and of others.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use imp_api::error::Code;
use imp_core::amount::Msat;
use imp_core::id::{PaymentHash, Preimage};
use imp_lightning::{FailureReason, InvoiceState, LightningNode, PaymentState, read_invoice};
use tokio::sync::oneshot;

use crate::error::Error;
use crate::outbox::{CONFIRM_WITHIN, fee_limit};

/// How long an invoice can be paid: a day, as LND's.
const INVOICE_EXPIRY: Duration = Duration::from_secs(24 * 3600);

/// How a payment ended.
type End = Result<Preimage, FailureReason>;

/// The lightning service.
#[derive(Clone)]
pub struct Lightning {
    node: Arc<dyn LightningNode>,
    fee_limit: Option<Msat>,
    waiting: Arc<Mutex<HashMap<PaymentHash, Vec<oneshot::Sender<End>>>>>,
}

impl fmt::Debug for Lightning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lightning")
    }
}

impl Lightning {
    /// The service of a node. `fee_limit` is the most that a payment may pay to forwarding nodes; nothing for 10 sat or
    /// 1 %, whichever is more.
    pub fn new(node: Arc<dyn LightningNode>, fee_limit: Option<Msat>) -> Self {
        Self { node, fee_limit, waiting: Arc::default() }
    }

    /// Makes an invoice for `amount` satoshis that can be paid for a day.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for an amount below 1 or a memo of more than 639 bytes (BOLT 11).
    pub async fn generate_invoice(&self, amount: i64, memo: &str) -> Result<String, Error> {
        let amount_sat = u64::try_from(amount).ok().filter(|sat| *sat > 0);
        let amount_sat = amount_sat.ok_or_else(|| {
            Error::invalid("amount", format!("{amount} sat: an invoice asks for 1 sat or more"))
        })?;
        Ok(self.node.create_invoice(Msat::from_sat(amount_sat), memo, INVOICE_EXPIRY).await?)
    }

    /// Pays an invoice and waits for the proof of payment, 60 s at most. Dropping the future does not stop the payment.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for an invoice that cannot be paid, `UNAVAILABLE` without a route, `FAILED_PRECONDITION` for
    /// too little balance or a refusal, `DEADLINE_EXCEEDED` while the payment is in flight.
    pub async fn pay_invoice(&self, invoice: &str) -> Result<Preimage, Error> {
        self.pay(invoice.trim())
            .await
            .map_err(|error| if error.to_string().contains("failed") { error } else { error.of_send() })
    }

    async fn pay(&self, invoice: &str) -> Result<Preimage, Error> {
        let facts = read_invoice(invoice)?;
        let fee_limit = fee_limit(self.fee_limit, facts.amount.unwrap_or_default());
        // Before the payment is begun: its end may come before the call that begins it has answered.
        let ended = self.follow(facts.hash);
        let hash = self.node.pay_invoice(invoice, fee_limit).await?;
        let ended = match self.node.payment(hash).await? {
            Some(PaymentState::Settled { preimage, .. }) => Ok(Ok(Ok(preimage))),
            _ => tokio::time::timeout(CONFIRM_WITHIN, ended).await,
        };
        match ended {
            Ok(Ok(Ok(preimage))) => Ok(preimage),
            Ok(Ok(Err(reason))) => Err(failed(&reason)),
            Ok(Err(_)) => Err(Error::internal("the payment was lost track of")),
            Err(_) => Err(Error::new(
                Code::DeadlineExceeded,
                "UNCONFIRMED",
                "failed to confirm within 60 s: the payment is still in flight",
            )),
        }
    }

    /// Whether an invoice of this node is paid.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for what is no invoice, `NOT_FOUND` for one that this node did not make.
    pub async fn check_invoice(&self, invoice: &str) -> Result<bool, Error> {
        let facts = read_invoice(invoice.trim())?;
        match self.node.invoice(facts.hash).await? {
            Some(state) => Ok(state == InvoiceState::Paid),
            None => {
                let message = format!("this node did not make the invoice: it is one of {}", facts.payee);
                Err(Error::new(Code::NotFound, "INVOICE_NOT_FOUND", message))
            }
        }
    }

    /// A payment of this node settled: tells who waits for it.
    pub fn payment_settled(&self, hash: PaymentHash, preimage: Preimage) {
        self.tell(hash, Ok(preimage));
    }

    /// A payment of this node failed: tells who waits for it.
    pub fn payment_failed(&self, hash: PaymentHash, reason: &FailureReason) {
        self.tell(hash, Err(reason.clone()));
    }

    fn tell(&self, hash: PaymentHash, end: End) {
        let waiting = self.waiting().remove(&hash).unwrap_or_default();
        for waiter in waiting {
            // A caller that is gone does not want to know.
            let _ = waiter.send(end.clone());
        }
    }

    fn follow(&self, hash: PaymentHash) -> oneshot::Receiver<End> {
        let (tell, ended) = oneshot::channel();
        let mut waiting = self.waiting();
        waiting.retain(|_, waiters| {
            waiters.retain(|waiter| !waiter.is_closed());
            !waiters.is_empty()
        });
        waiting.entry(hash).or_default().push(tell);
        ended
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<PaymentHash, Vec<oneshot::Sender<End>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(reason: &FailureReason) -> Error {
    let code = match reason {
        FailureReason::RecipientRejected => Code::FailedPrecondition,
        _ => Code::Unavailable,
    };
    Error::new(code, "PAYMENT_FAILED", format!("payment failed: {reason}"))
}
