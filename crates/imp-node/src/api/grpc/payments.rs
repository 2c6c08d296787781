//! `imp.lightning.v1.Payments`.

use imp_api::proto::imp::lightning::v1 as proto;
use imp_api::proto::imp::lightning::v1::payments_server::Payments;
use imp_core::amount::Msat;
use imp_core::time::UnixMillis;
use tonic::{Request, Response, Status};

use super::Calls;
use super::idempotency::call_key;
use super::owner::require_owner;
use crate::error::Error;
use crate::service::lightning::{ListQuery, SendKeysend};
use crate::store::payment::{KeptInvoice, KeptPayment, Means};

/// The call that keys are given for.
const SEND_KEYSEND: &str = "imp.lightning.v1.Payments/SendKeysend";

#[tonic::async_trait]
impl Payments for Calls {
    async fn send_keysend(
        &self,
        request: Request<proto::SendKeysendRequest>,
    ) -> Result<Response<proto::SendKeysendResponse>, Status> {
        require_owner(&request).map_err(Error::of_payment)?;
        let (metadata, _, mut request) = request.into_parts();
        let field = request.idempotency_key.take();
        let key = call_key(SEND_KEYSEND, &metadata, field.as_deref(), &request)?;
        let services = self.services().map_err(Error::of_payment)?;
        let proto::SendKeysendRequest { pubkey, amount, .. } = request;
        let paid = services.lightning.send_keysend(SendKeysend { pubkey, amount }, key).await?;
        Ok(Response::new(proto::SendKeysendResponse {
            payment_hash: paid.hash.to_string(),
            preimage: hex::encode(paid.preimage.0),
            fee_msat: paid.fee.map(msat),
        }))
    }

    async fn list_payments(
        &self,
        request: Request<proto::ListPaymentsRequest>,
    ) -> Result<Response<proto::ListPaymentsResponse>, Status> {
        let proto::ListPaymentsRequest { limit, cursor, state } = request.into_inner();
        let services = self.services()?;
        let page = services.lightning.list_payments(&ListQuery { limit, cursor, state }).await?;
        let payments = page.rows.into_iter().map(payment).collect();
        Ok(Response::new(proto::ListPaymentsResponse { payments, next_cursor: page.next_cursor }))
    }

    async fn list_invoices(
        &self,
        request: Request<proto::ListInvoicesRequest>,
    ) -> Result<Response<proto::ListInvoicesResponse>, Status> {
        let proto::ListInvoicesRequest { limit, cursor, state } = request.into_inner();
        let services = self.services()?;
        let (page, now) = services.lightning.list_invoices(&ListQuery { limit, cursor, state }).await?;
        let invoices = page.rows.into_iter().map(|kept| invoice(kept, now)).collect();
        Ok(Response::new(proto::ListInvoicesResponse { invoices, next_cursor: page.next_cursor }))
    }
}

fn payment(kept: KeptPayment) -> proto::Payment {
    let KeptPayment { payment, status, error, proof, fee, ended, .. } = kept;
    proto::Payment {
        payment_hash: payment.hash.to_string(),
        kind: payment.means.name().to_owned(),
        state: status.name().to_owned(),
        error: error.unwrap_or_default(),
        pubkey: payment.payee.to_string(),
        amount_msat: msat(payment.amount),
        fee_msat: fee.map(msat),
        preimage: proof.map(|preimage| hex::encode(preimage.0)).unwrap_or_default(),
        invoice: match payment.means {
            Means::Invoice(invoice) => invoice,
            Means::Keysend(_) => String::new(),
        },
        begun_ms: millis(payment.begun),
        ended_ms: ended.map(millis),
    }
}

fn invoice(kept: KeptInvoice, now: UnixMillis) -> proto::Invoice {
    let state = kept.status(now).name().to_owned();
    let KeptInvoice { invoice, paid, .. } = kept;
    proto::Invoice {
        payment_hash: invoice.hash.to_string(),
        invoice: invoice.invoice,
        state,
        amount: i64::try_from(invoice.amount_sat).unwrap_or(i64::MAX),
        memo: invoice.memo,
        created_ms: millis(invoice.created),
        expires_ms: millis(invoice.expires),
        paid_ms: paid.map(|(at, _)| millis(at)),
        paid_msat: paid.map(|(_, amount)| msat(amount)),
    }
}

/// Millisatoshis as the interface counts them: all bitcoin fit.
fn msat(amount: Msat) -> i64 {
    i64::try_from(amount.0).unwrap_or(i64::MAX)
}

/// A time as the interface counts it.
fn millis(time: UnixMillis) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}
