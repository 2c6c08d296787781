//! Payments that come in and bring no record of ours: invoices that are paid, and keysends.

use std::time::Duration;

use imp_core::amount::Msat;
use imp_core::id::{MessageId, PaymentHash};
use serde::Serialize;

use super::{Inner, Lightning};
use crate::store::StoreError;
use crate::store::journal::{NewEvent, ServiceType};

/// How long a keysend is known, so that it is not told twice: backends tell again what was not acknowledged before they
/// stopped.
const KEYSENDS_KNOWN_FOR: Duration = Duration::from_secs(8 * 24 * 3600);

/// The text of an event.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'t> {
    record_id: &'static str,
    r#type: &'static str,
    payment_hash: String,
    #[serde(flatten)]
    invoice: Option<ToldInvoice<'t>>,
}

#[derive(Serialize)]
struct ToldInvoice<'t> {
    invoice: &'t str,
    memo: &'t str,
}

impl Lightning {
    /// An invoice of this node was paid: it is noted, and subscribers have the event, when this returns. Told once.
    pub async fn invoice_paid(&self, hash: PaymentHash, amount: Msat) -> Result<(), StoreError> {
        let Some(kept) = self.inner.store.invoice(hash).await? else {
            tracing::info!(payment = %hash, %amount, "an invoice was paid that no call of the API made");
            return Ok(());
        };
        if kept.paid.is_some() {
            return Ok(());
        }
        let invoice = ToldInvoice { invoice: &kept.invoice.invoice, memo: &kept.invoice.memo };
        let event = self.inner.event(hash, amount, "INVOICE_PAID", Some(invoice));
        self.inner.store.invoice_paid(hash, amount, event).await?;
        tracing::info!(payment = %hash, %amount, "an invoice was paid");
        Ok(())
    }

    /// A keysend came. Subscribers have the event when this returns, if it brought no record of ours. Told once.
    pub async fn keysend_received(
        &self,
        hash: PaymentHash,
        amount: Msat,
        records: &[(u64, Vec<u8>)],
    ) -> Result<(), StoreError> {
        let inner = &self.inner;
        if inner.options.records.find(records).is_some() {
            return Ok(());
        }
        let event = inner.event(hash, amount, "KEYSEND", None);
        let forget_before = event.at.minus(KEYSENDS_KNOWN_FOR);
        inner.store.keysend_received(hash, event, forget_before).await?;
        tracing::info!(payment = %hash, %amount, "a keysend came");
        Ok(())
    }
}

impl Inner {
    fn event(
        &self,
        hash: PaymentHash,
        amount: Msat,
        kind: &'static str,
        invoice: Option<ToldInvoice<'_>>,
    ) -> NewEvent {
        let told = Told { record_id: "LIGHTNING", r#type: kind, payment_hash: hash.to_string(), invoice };
        let mut id = [0; 16];
        id.copy_from_slice(&hash.0[..16]);
        NewEvent {
            at: self.clock.now(),
            // No call made it, so it has no name yet; this way a payment that is told twice has one name.
            id: MessageId::from_random(id).to_string(),
            reply_to: String::new(),
            // Lightning does not tell who paid.
            from: self.node.id(),
            service: ServiceType::Lightning,
            data: serde_json::to_string(&told).expect("texts under texts can be written"),
            amount_sat: amount.to_sat_floor(),
            late: false,
        }
    }
}
