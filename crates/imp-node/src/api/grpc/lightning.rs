//! `lightning.Lightning`.

use imp_api::proto::lightning::lightning_server::Lightning;
use imp_api::proto::lightning::{
    CheckInvoiceRequest, CheckInvoiceResponse, GenerateInvoiceRequest, GenerateInvoiceResponse,
    PayInvoiceRequest, PayInvoiceResponse,
};
use tonic::{Request, Response, Status};

use super::Calls;
use super::idempotency::call_key;
use crate::error::Error;
use crate::service::lightning::GenerateInvoice;

/// The call that keys are given for.
const PAY_INVOICE: &str = "lightning.Lightning/PayInvoice";

#[tonic::async_trait]
impl Lightning for Calls {
    async fn generate_invoice(
        &self,
        request: Request<GenerateInvoiceRequest>,
    ) -> Result<Response<GenerateInvoiceResponse>, Status> {
        let GenerateInvoiceRequest { amount, memo, expiry_secs } = request.into_inner();
        let request = GenerateInvoice { amount, memo, expiry_secs };
        let invoice = self.services()?.lightning.generate_invoice(request).await?;
        Ok(Response::new(GenerateInvoiceResponse { invoice }))
    }

    async fn pay_invoice(
        &self,
        request: Request<PayInvoiceRequest>,
    ) -> Result<Response<PayInvoiceResponse>, Status> {
        let (metadata, _, mut request) = request.into_parts();
        let field = request.idempotency_key.take();
        let key = call_key(PAY_INVOICE, &metadata, field.as_deref(), &request)?;
        let services = self.services().map_err(Error::of_payment)?;
        let preimage = services.lightning.pay_invoice(&request.invoice, key).await?;
        Ok(Response::new(PayInvoiceResponse { preimage: hex::encode(preimage.0) }))
    }

    async fn check_invoice(
        &self,
        request: Request<CheckInvoiceRequest>,
    ) -> Result<Response<CheckInvoiceResponse>, Status> {
        let paid = self.services()?.lightning.check_invoice(&request.get_ref().invoice).await?;
        Ok(Response::new(CheckInvoiceResponse { paid }))
    }
}
