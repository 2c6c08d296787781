//! `vpn.VPN` and `imp.vpn.v1.Contracts`.

use imp_api::error::Code;
use imp_api::proto::imp::vpn::v1 as proto;
use imp_api::proto::imp::vpn::v1::contracts_server::Contracts;
use imp_api::proto::vpn::vpn_server::Vpn;
use imp_api::proto::vpn::{
    AcceptContractRequest, AcceptContractResponse, RefreshContractRequest, RefreshContractResponse,
    RequestQuoteRequest, RequestQuoteResponse,
};
use imp_core::record::Service;
use imp_core::time::UnixMillis;
use tonic::{Request, Response, Status};

use super::Calls;
use super::calls::inactive;
use super::idempotency::call_key;
use super::owner::require_owner;
use crate::api::picture::{self, Format, PictureError};
use crate::error::Error;
use crate::service::vpn::{
    BringUp, ContractView, ListContracts, ListPayments, PaymentView, QuoteView, SellerView, TunnelView,
    VpnService,
};

const REQUEST_QUOTE: &str = "vpn.VPN/RequestQuote";
const ACCEPT_CONTRACT: &str = "vpn.VPN/AcceptContract";
const REFRESH_CONTRACT: &str = "vpn.VPN/RefreshContract";

impl Calls {
    /// The VPN, if it is switched on and runs.
    fn vpn(&self) -> Result<VpnService, Error> {
        self.active(Service::Vpn)?;
        self.services()?.vpn.clone().ok_or_else(|| inactive(Service::Vpn))
    }

    /// The VPN for a call that sends: its errors hold the word that clients look for.
    fn sending_vpn(&self) -> Result<VpnService, Error> {
        self.vpn().map_err(Error::of_send)
    }
}

#[tonic::async_trait]
impl Vpn for Calls {
    async fn request_quote(
        &self,
        request: Request<RequestQuoteRequest>,
    ) -> Result<Response<RequestQuoteResponse>, Status> {
        let vpn = self.sending_vpn()?;
        let (metadata, _, mut message) = request.into_parts();
        let field = message.idempotency_key.take();
        let key = call_key(REQUEST_QUOTE, &metadata, field.as_deref(), &message)?;
        let id = vpn.request_quote(&message.pubkey, key).await?;
        Ok(Response::new(RequestQuoteResponse { id: id.to_string() }))
    }

    async fn accept_contract(
        &self,
        request: Request<AcceptContractRequest>,
    ) -> Result<Response<AcceptContractResponse>, Status> {
        let vpn = self.sending_vpn()?;
        let (metadata, _, mut message) = request.into_parts();
        let field = message.idempotency_key.take();
        let key = call_key(ACCEPT_CONTRACT, &metadata, field.as_deref(), &message)?;
        let id = vpn.accept_contract(&message.pubkey, &message.nonce, &message.price, key).await?;
        Ok(Response::new(AcceptContractResponse { id: id.to_string() }))
    }

    async fn refresh_contract(
        &self,
        request: Request<RefreshContractRequest>,
    ) -> Result<Response<RefreshContractResponse>, Status> {
        let vpn = self.sending_vpn()?;
        let (metadata, _, mut message) = request.into_parts();
        let field = message.idempotency_key.take();
        let key = call_key(REFRESH_CONTRACT, &metadata, field.as_deref(), &message)?;
        let id = vpn.refresh_contract(&message.pubkey, &message.nonce, &message.price, key).await?;
        Ok(Response::new(RefreshContractResponse { id: id.to_string() }))
    }
}

#[tonic::async_trait]
impl Contracts for Calls {
    async fn list_vpn_contracts(
        &self,
        request: Request<proto::ListVpnContractsRequest>,
    ) -> Result<Response<proto::ListVpnContractsResponse>, Status> {
        let proto::ListVpnContractsRequest { role, state, pubkey, limit, cursor } = request.into_inner();
        let page = self.vpn()?.contracts(ListContracts { role, state, pubkey, limit, cursor }).await?;
        Ok(Response::new(proto::ListVpnContractsResponse {
            contracts: page.contracts.into_iter().map(contract).collect(),
            next_cursor: page.next_cursor,
        }))
    }

    async fn get_vpn_contract(
        &self,
        request: Request<proto::GetVpnContractRequest>,
    ) -> Result<Response<proto::Contract>, Status> {
        let found = self.vpn()?.contract(&request.into_inner().nonce).await?;
        Ok(Response::new(contract(found)))
    }

    async fn get_vpn_config(
        &self,
        request: Request<proto::GetVpnConfigRequest>,
    ) -> Result<Response<proto::File>, Status> {
        require_owner(&request)?;
        let file = self.vpn()?.config(&request.into_inner().nonce).await?;
        Ok(Response::new(proto::File {
            content_type: "text/plain; charset=utf-8".to_owned(),
            name: file.name,
            data: file.text.as_bytes().to_vec(),
        }))
    }

    async fn get_vpn_qr(
        &self,
        request: Request<proto::GetVpnQrRequest>,
    ) -> Result<Response<proto::File>, Status> {
        require_owner(&request)?;
        let proto::GetVpnQrRequest { nonce, format } = request.into_inner();
        let (format, ending, content_type) = match format.as_str() {
            "" | "png" => (Format::Png, "png", "image/png"),
            "svg" => (Format::Svg, "svg", "image/svg+xml"),
            _ => return Err(Error::invalid("format", "it is png or svg").into()),
        };
        let file = self.vpn()?.config(&nonce).await?;
        let data = picture::draw(file.text.as_bytes(), format).map_err(not_drawn)?;
        let stem = file.name.rsplit_once('.').map_or(file.name.as_str(), |(stem, _)| stem);
        let name = format!("{stem}.{ending}");
        Ok(Response::new(proto::File { content_type: content_type.to_owned(), name, data }))
    }

    async fn bring_up_vpn(
        &self,
        request: Request<proto::BringUpVpnRequest>,
    ) -> Result<Response<proto::Tunnel>, Status> {
        require_owner(&request)?;
        let proto::BringUpVpnRequest { nonce, allow_private, keep_dns } = request.into_inner();
        let up = self.vpn()?.bring_up(&nonce, BringUp { allow_private, keep_dns }).await?;
        Ok(Response::new(tunnel(up)))
    }

    async fn take_down_vpn(
        &self,
        request: Request<proto::TakeDownVpnRequest>,
    ) -> Result<Response<proto::TakeDownVpnResponse>, Status> {
        require_owner(&request)?;
        self.vpn()?.take_down(&request.into_inner().nonce).await?;
        Ok(Response::new(proto::TakeDownVpnResponse {}))
    }

    async fn set_vpn_auto_refresh(
        &self,
        request: Request<proto::SetVpnAutoRefreshRequest>,
    ) -> Result<Response<proto::Contract>, Status> {
        require_owner(&request)?;
        let proto::SetVpnAutoRefreshRequest { nonce, limit_sat } = request.into_inner();
        Ok(Response::new(contract(self.vpn()?.set_auto_refresh(&nonce, limit_sat).await?)))
    }

    async fn list_vpn_quotes(
        &self,
        request: Request<proto::ListVpnQuotesRequest>,
    ) -> Result<Response<proto::ListVpnQuotesResponse>, Status> {
        let proto::ListVpnQuotesRequest { pubkey, request_id } = request.into_inner();
        let quotes = self.vpn()?.quotes(&pubkey, &request_id).await?;
        Ok(Response::new(proto::ListVpnQuotesResponse { quotes: quotes.into_iter().map(quote).collect() }))
    }

    async fn list_vpn_payments(
        &self,
        request: Request<proto::ListVpnPaymentsRequest>,
    ) -> Result<Response<proto::ListVpnPaymentsResponse>, Status> {
        let proto::ListVpnPaymentsRequest { state, nonce, limit, cursor } = request.into_inner();
        let page = self.vpn()?.payments(ListPayments { state, nonce, limit, cursor }).await?;
        Ok(Response::new(proto::ListVpnPaymentsResponse {
            payments: page.payments.into_iter().map(payment).collect(),
            next_cursor: page.next_cursor,
        }))
    }

    async fn get_vpn_seller(
        &self,
        _: Request<proto::GetVpnSellerRequest>,
    ) -> Result<Response<proto::Seller>, Status> {
        Ok(Response::new(seller(self.vpn()?.seller().await)))
    }
}

/// The configuration names many networks: a file takes what a picture does not.
fn not_drawn(error: PictureError) -> Error {
    match error {
        PictureError::TooLong { .. } => {
            let message = format!("{error}: take the configuration as a file");
            Error::new(Code::FailedPrecondition, "CONFIG_TOO_LONG", message)
        }
        PictureError::Code(_) | PictureError::Image(_) => Error::internal(error.to_string()),
    }
}

fn contract(view: ContractView) -> proto::Contract {
    proto::Contract {
        nonce: view.nonce,
        role: view.role.name().to_owned(),
        pubkey: view.node.to_string(),
        state: view.state.to_owned(),
        price_sat: int(view.price_sat),
        duration_secs: int(view.duration_secs),
        made_ms: time(view.made),
        started_ms: view.started.map(time),
        ends_ms: view.ends.map(time),
        paid_sat: int(view.paid_sat),
        refunded_sat: int(view.refunded_sat),
        client_ip: view.client_ip,
        endpoint: view.endpoint,
        client_public_key: view.client_public_key,
        server_public_key: view.server_public_key,
        allowed_ips: view.allowed_ips,
        dns_ip: view.dns_ip,
        mtu: view.mtu.into(),
        received_bytes: int(view.received_bytes),
        sent_bytes: int(view.sent_bytes),
        last_handshake_ms: view.last_handshake.map(time),
        data_limit_bytes: view.data_limit_bytes.map(int),
        reason: view.reason,
        tunnel: view.tunnel.map(tunnel),
        auto_refresh_limit_sat: view.auto_refresh_limit_sat.map(int),
        auto_refresh_spent_sat: int(view.auto_refresh_spent_sat),
    }
}

fn tunnel(view: TunnelView) -> proto::Tunnel {
    proto::Tunnel {
        interface: view.interface,
        routes: view.routes,
        left_out: view.left_out,
        dns_ip: view.dns_ip,
        since_ms: time(view.since),
    }
}

fn quote(view: QuoteView) -> proto::Quote {
    proto::Quote {
        nonce: view.nonce,
        pubkey: view.node.to_string(),
        request_id: view.request_id.to_string(),
        price_sat: int(view.price_sat),
        duration_secs: int(view.duration_secs),
        received_ms: time(view.received),
        accept_until_ms: time(view.accept_until),
        max_secs: view.max_secs.map(int),
        data_limit_bytes: view.data_limit_bytes.map(int),
        bytes_per_sec: view.bytes_per_sec.map(int),
    }
}

fn payment(view: PaymentView) -> proto::VpnPayment {
    proto::VpnPayment {
        payment_hash: view.hash.to_string(),
        pubkey: view.node.to_string(),
        message_id: view.message.to_string(),
        kind: view.kind.to_owned(),
        nonce: view.nonce,
        received_msat: int(view.received.0),
        received_ms: time(view.at),
        state: view.state.to_owned(),
        reason: view.reason,
        refund_sat: int(view.refund_sat),
        answer_id: view.answer_id.map(|id| id.to_string()).unwrap_or_default(),
        error: view.error,
    }
}

fn seller(view: SellerView) -> proto::Seller {
    proto::Seller {
        enabled: view.enabled,
        selling: view.selling,
        problem: view.problem,
        price_sat: int(view.price_sat),
        duration_secs: int(view.duration_secs),
        interface: view.interface,
        device: view.device,
        endpoint: view.endpoint,
        public_key: view.public_key,
        subnet: view.subnet,
        free_addresses: int(view.free_addresses),
        contracts: int(view.contracts),
        refunds_due: int(view.refunds_due),
    }
}

fn time(time: UnixMillis) -> i64 {
    int(time.0)
}

fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
