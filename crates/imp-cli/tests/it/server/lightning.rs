use imp_api::error::{Code, StatusBody};
use imp_api::proto::imp::lightning::v1::payments_server::Payments;
use imp_api::proto::imp::lightning::v1::*;
use imp_api::proto::lightning::lightning_server::Lightning;
use imp_api::proto::lightning::*;
use tonic::{Request, Response, Status};

use super::Echo;

#[tonic::async_trait]
impl Lightning for Echo {
    async fn generate_invoice(
        &self,
        request: Request<GenerateInvoiceRequest>,
    ) -> Result<Response<GenerateInvoiceResponse>, Status> {
        self.answer(request, |request| {
            Ok(GenerateInvoiceResponse { invoice: format!("ln {} {:?}", request.amount, request.memo) })
        })
        .await
    }

    async fn pay_invoice(
        &self,
        request: Request<PayInvoiceRequest>,
    ) -> Result<Response<PayInvoiceResponse>, Status> {
        self.answer(request, |request| {
            Ok(PayInvoiceResponse { preimage: format!("for {}", request.invoice) })
        })
        .await
    }

    async fn check_invoice(
        &self,
        request: Request<CheckInvoiceRequest>,
    ) -> Result<Response<CheckInvoiceResponse>, Status> {
        self.answer(request, |request| match request.invoice.as_str() {
            "paid" => Ok(CheckInvoiceResponse { paid: true }),
            "unpaid" => Ok(CheckInvoiceResponse { paid: false }),
            _ => Err(StatusBody::new(Code::NotFound, "no invoice of this node")),
        })
        .await
    }
}

#[tonic::async_trait]
impl Payments for Echo {
    async fn send_keysend(
        &self,
        request: Request<SendKeysendRequest>,
    ) -> Result<Response<SendKeysendResponse>, Status> {
        self.answer(request, |_| {
            Ok(SendKeysendResponse { payment_hash: "aa".into(), preimage: "bb".into(), fee_msat: Some(1001) })
        })
        .await
    }

    async fn list_payments(
        &self,
        request: Request<ListPaymentsRequest>,
    ) -> Result<Response<ListPaymentsResponse>, Status> {
        self.answer(request, |request| {
            let settled = Payment {
                payment_hash: "aa".into(),
                kind: "invoice".into(),
                state: "settled".into(),
                pubkey: "02ab".into(),
                amount_msat: 1_000_000,
                fee_msat: Some(10),
                preimage: "bb".into(),
                invoice: "ln1".into(),
                begun_ms: 1_700_000_000_000,
                ended_ms: Some(1_700_000_001_000),
                ..Payment::default()
            };
            let failed = Payment {
                payment_hash: "cc".into(),
                kind: "keysend".into(),
                state: "failed".into(),
                error: "no route".into(),
                amount_msat: 500,
                fee_msat: None,
                preimage: String::new(),
                invoice: String::new(),
                ..settled.clone()
            };
            // Two pages of one each.
            match request.cursor {
                0 => Ok(ListPaymentsResponse { payments: vec![settled], next_cursor: Some(7) }),
                _ => Ok(ListPaymentsResponse { payments: vec![failed], next_cursor: None }),
            }
        })
        .await
    }

    async fn list_invoices(
        &self,
        request: Request<ListInvoicesRequest>,
    ) -> Result<Response<ListInvoicesResponse>, Status> {
        self.answer(request, |request| {
            if request.state == "expired" {
                return Ok(ListInvoicesResponse::default());
            }
            let open = Invoice {
                payment_hash: "aa".into(),
                invoice: "ln1".into(),
                state: "open".into(),
                amount: 1000,
                memo: "a\x1b[2J".into(),
                created_ms: 1_700_000_000_000,
                expires_ms: 1_700_086_400_000,
                ..Invoice::default()
            };
            let paid = Invoice {
                invoice: "ln2".into(),
                state: "paid".into(),
                amount: 5,
                memo: String::new(),
                paid_ms: Some(1_700_000_002_000),
                paid_msat: Some(5000),
                ..open.clone()
            };
            Ok(ListInvoicesResponse { invoices: vec![open, paid], next_cursor: None })
        })
        .await
    }
}
