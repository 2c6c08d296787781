//! `lightning.Lightning`.

use imp_api::proto::lightning::lightning_server::Lightning;
use imp_api::proto::lightning::{
    CheckInvoiceRequest, CheckInvoiceResponse, GenerateInvoiceRequest, GenerateInvoiceResponse,
    PayInvoiceRequest, PayInvoiceResponse,
};
use tonic::{Request, Response, Status};

use super::Calls;
use crate::error::Error;

#[tonic::async_trait]
impl Lightning for Calls {
    async fn generate_invoice(
        &self,
        request: Request<GenerateInvoiceRequest>,
    ) -> Result<Response<GenerateInvoiceResponse>, Status> {
        let GenerateInvoiceRequest { amount, memo, .. } = request.into_inner();
        let invoice = self.services()?.lightning.generate_invoice(amount, &memo).await?;
        Ok(Response::new(GenerateInvoiceResponse { invoice }))
    }

    async fn pay_invoice(
        &self,
        request: Request<PayInvoiceRequest>,
    ) -> Result<Response<PayInvoiceResponse>, Status> {
        let services = self.services().map_err(Error::of_send)?;
        let preimage = services.lightning.pay_invoice(&request.get_ref().invoice).await?;
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
