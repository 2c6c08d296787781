use imp_api::error::{Code, ErrorInfo, StatusBody};
use imp_api::proto::imp::events::v1::{Event, ListEventsResponse};
use imp_api::proto::imp::vpn::v1::contracts_server::Contracts;
use imp_api::proto::imp::vpn::v1::*;
use imp_api::proto::vpn::vpn_server::Vpn;
use imp_api::proto::vpn::*;
use tonic::{Request, Response, Status};

use super::{Echo, named, sent};

/// A configuration for `wg-quick`.
pub(crate) const CONFIG: &str = "[Interface]\nPrivateKey = c2VjcmV0\nAddress = 10.0.0.10/24\n";

/// The start of all contracts, in milliseconds since 1970.
const BEGAN_MS: i64 = 1_700_000_000_000;

/// In the year 2286.
const FAR_MS: i64 = 9_999_999_999_000;

#[tonic::async_trait]
impl Vpn for Echo {
    async fn request_quote(
        &self,
        request: Request<RequestQuoteRequest>,
    ) -> Result<Response<RequestQuoteResponse>, Status> {
        self.answer(request, sent(|id| RequestQuoteResponse { id })).await
    }

    async fn accept_contract(
        &self,
        request: Request<AcceptContractRequest>,
    ) -> Result<Response<AcceptContractResponse>, Status> {
        self.answer(request, sent(|id| AcceptContractResponse { id })).await
    }

    async fn refresh_contract(
        &self,
        request: Request<RefreshContractRequest>,
    ) -> Result<Response<RefreshContractResponse>, Status> {
        self.answer(request, sent(|id| RefreshContractResponse { id })).await
    }
}

/// The nonce of the quote that a seller gives: each has contracts of another kind. Those called `bob2` and `bob3` give
/// none, that of `bob6` was accepted before, and `bob8` sells 20 minutes.
fn nonce_of(seller: &str) -> Option<&'static str> {
    Some(match seller {
        _ if seller == named(1) => "active1",
        _ if seller == named(2) || seller == named(3) || seller == named(6) => return None,
        _ if seller == named(4) => "refunded1",
        _ if seller == named(5) => "paid1",
        _ if seller == named(7) => "unanswered1",
        _ => "active2",
    })
}

fn quote(nonce: &str, seller: &str) -> Quote {
    Quote {
        nonce: nonce.to_owned(),
        pubkey: seller.to_owned(),
        request_id: "m1".into(),
        price_sat: 100,
        duration_secs: if seller == named(8) { 1200 } else { 3600 },
        received_ms: BEGAN_MS,
        accept_until_ms: FAR_MS,
        max_secs: Some(86_400),
        data_limit_bytes: Some(5_000_000_000),
        bytes_per_sec: None,
    }
}

/// What `bob2` and `bob6` said after the event `newest`.
pub(super) fn answers_of_sellers(after: i64, newest: i64) -> ListEventsResponse {
    let said = |number: u8, data: &str, cursor: i64| Event {
        id: format!("e{cursor}"),
        reply_to_id: "m1".into(),
        from_pubkey: named(number),
        data: data.to_owned(),
        service_type: "vpn".into(),
        cursor,
        ..Event::default()
    };
    let mut events = vec![
        said(2, r#"{"recordId":"VPN_RESPONSE","type":"REFUSED","reason":"not selling"}"#, newest + 1),
        said(6, r#"{"recordId":"VPN_RESPONSE","type":"QUOTE","nonce":"active2","price":"100"}"#, newest + 2),
    ];
    events.retain(|event| event.cursor > after);
    ListEventsResponse {
        events,
        next_after: newest + 2,
        more: false,
        oldest_cursor: 1,
        newest_cursor: newest,
        let_go: 0,
    }
}

/// The contract of a nonce, which says how it stands.
fn contract(nonce: &str) -> Option<Contract> {
    let state = ["active", "expired", "paid", "refund_due", "refunded", "unanswered"]
        .into_iter()
        .find(|state| nonce.strip_prefix(state).is_some_and(|rest| rest.parse::<u8>().is_ok()))?;
    let came = state == "active" || state == "expired";
    let sold = state == "refund_due" || state == "expired";
    Some(Contract {
        nonce: nonce.to_owned(),
        role: if sold { "sold" } else { "bought" }.to_owned(),
        pubkey: named(1),
        state: state.to_owned(),
        price_sat: 100,
        duration_secs: 3600,
        made_ms: BEGAN_MS,
        started_ms: came.then_some(BEGAN_MS + 1000),
        ends_ms: came.then_some(if state == "active" { FAR_MS } else { BEGAN_MS + 3_601_000 }),
        paid_sat: 200,
        refunded_sat: if state == "refunded" { 196 } else { 0 },
        client_ip: if came { "10.0.0.10/24" } else { "" }.to_owned(),
        endpoint: if came { "198.51.100.7:51820" } else { "" }.to_owned(),
        client_public_key: "client".into(),
        server_public_key: if came { "server" } else { "" }.to_owned(),
        allowed_ips: if came { vec!["0.0.0.0/0".into(), "::/0".into()] } else { Vec::new() },
        dns_ip: if came { "1.1.1.1" } else { "" }.to_owned(),
        mtu: if came { 1420 } else { 0 },
        received_bytes: if came { 1_234_567 } else { 0 },
        sent_bytes: if came { 999 } else { 0 },
        last_handshake_ms: came.then_some(BEGAN_MS + 2000),
        data_limit_bytes: None,
        reason: match state {
            "refunded" => "no address free",
            "refund_due" => "paid twice",
            _ => "",
        }
        .to_owned(),
        tunnel: (nonce == "active2").then(tunnel),
        auto_refresh_limit_sat: (nonce == "active2").then_some(500),
        auto_refresh_spent_sat: if nonce == "active2" { 100 } else { 0 },
    })
}

fn tunnel() -> Tunnel {
    Tunnel {
        interface: "impt0".into(),
        routes: vec!["0.0.0.0/0".into()],
        left_out: vec!["10.0.0.0/8".into()],
        dns_ip: "1.1.1.1".into(),
        since_ms: BEGAN_MS,
    }
}

fn not_found(nonce: &str) -> StatusBody {
    let info = Some(ErrorInfo::new("CONTRACT_NOT_FOUND"));
    StatusBody { info, ..StatusBody::new(Code::NotFound, format!("there is no contract {nonce}")) }
}

#[tonic::async_trait]
impl Contracts for Echo {
    /// Two pages, the first of four.
    async fn list_vpn_contracts(
        &self,
        request: Request<ListVpnContractsRequest>,
    ) -> Result<Response<ListVpnContractsResponse>, Status> {
        self.answer(request, |request| {
            let (nonces, next): (&[&str], &str) = match (request.state.as_str(), request.cursor.as_str()) {
                ("failed", _) => (&[], ""),
                (_, "") => (&["active2", "active1", "unanswered1", "refunded1"], "c2"),
                _ => (&["expired1", "refund_due1", "paid1"], ""),
            };
            let mut contracts: Vec<Contract> = nonces.iter().filter_map(|nonce| contract(nonce)).collect();
            contracts.retain(|contract| request.role.is_empty() || contract.role == request.role);
            Ok(ListVpnContractsResponse { contracts, next_cursor: next.to_owned() })
        })
        .await
    }

    /// A contract waits for its configuration until it was looked at twice.
    async fn get_vpn_contract(
        &self,
        request: Request<GetVpnContractRequest>,
    ) -> Result<Response<Contract>, Status> {
        let looks = |name: &&(&str, Vec<u8>)| name.0 == "GetVpnContractRequest";
        let looked = self.0.asked.lock().unwrap().iter().filter(looks).count();
        self.answer(request, |GetVpnContractRequest { nonce }| {
            let mut contract = contract(&nonce).ok_or_else(|| not_found(&nonce))?;
            if looked < 2 && contract.role == "bought" {
                contract.state = "paid".to_owned();
            }
            Ok(contract)
        })
        .await
    }

    async fn get_vpn_config(&self, request: Request<GetVpnConfigRequest>) -> Result<Response<File>, Status> {
        self.answer(request, |_| {
            Ok(File {
                content_type: "text/plain; charset=utf-8".into(),
                name: "imp-active2.conf".into(),
                data: CONFIG.into(),
            })
        })
        .await
    }

    async fn get_vpn_qr(&self, request: Request<GetVpnQrRequest>) -> Result<Response<File>, Status> {
        self.answer(request, |GetVpnQrRequest { format, .. }| {
            let format = if format.is_empty() { "png".to_owned() } else { format };
            Ok(File {
                content_type: format!("image/{format}"),
                name: format!("imp-active2.{format}"),
                data: vec![0, 255],
            })
        })
        .await
    }

    async fn bring_up_vpn(&self, request: Request<BringUpVpnRequest>) -> Result<Response<Tunnel>, Status> {
        self.answer(request, |request| match request.keep_dns {
            false => Ok(tunnel()),
            true => Err(StatusBody::new(Code::FailedPrecondition, "CAP_NET_ADMIN is missing")),
        })
        .await
    }

    async fn take_down_vpn(
        &self,
        request: Request<TakeDownVpnRequest>,
    ) -> Result<Response<TakeDownVpnResponse>, Status> {
        self.answer(request, |_| Ok(TakeDownVpnResponse {})).await
    }

    async fn set_vpn_auto_refresh(
        &self,
        request: Request<SetVpnAutoRefreshRequest>,
    ) -> Result<Response<Contract>, Status> {
        self.answer(request, |SetVpnAutoRefreshRequest { nonce, limit_sat }| {
            let contract = contract(&nonce).ok_or_else(|| not_found(&nonce))?;
            Ok(Contract { auto_refresh_limit_sat: (limit_sat > 0).then_some(limit_sat), ..contract })
        })
        .await
    }

    async fn list_vpn_quotes(
        &self,
        request: Request<ListVpnQuotesRequest>,
    ) -> Result<Response<ListVpnQuotesResponse>, Status> {
        self.answer(request, |ListVpnQuotesRequest { pubkey, request_id }| {
            let sellers = if pubkey.is_empty() { vec![named(1), named(2), named(4)] } else { vec![pubkey] };
            let mut quotes: Vec<Quote> =
                sellers.iter().filter_map(|seller| Some(quote(nonce_of(seller)?, seller))).collect();
            quotes.retain(|quote| request_id.is_empty() || quote.request_id == request_id);
            Ok(ListVpnQuotesResponse { quotes })
        })
        .await
    }

    async fn list_vpn_payments(
        &self,
        request: Request<ListVpnPaymentsRequest>,
    ) -> Result<Response<ListVpnPaymentsResponse>, Status> {
        self.answer(request, |request| {
            let served = VpnPayment {
                payment_hash: "ff".into(),
                pubkey: named(1),
                message_id: "e1".into(),
                kind: "contract".into(),
                nonce: "expired1".into(),
                received_msat: 100_000,
                received_ms: BEGAN_MS,
                state: "served".into(),
                answer_id: "m7".into(),
                ..VpnPayment::default()
            };
            let due = VpnPayment {
                kind: "refresh".into(),
                state: "refund_due".into(),
                reason: "price".into(),
                refund_sat: 98,
                answer_id: String::new(),
                error: "no route".into(),
                ..served.clone()
            };
            let payments = match (request.state.as_str(), request.cursor) {
                ("kept", _) => Vec::new(),
                (_, 0) => vec![due],
                _ => vec![served],
            };
            let next_cursor = (request.cursor == 0 && !payments.is_empty()).then_some(9);
            Ok(ListVpnPaymentsResponse { payments, next_cursor })
        })
        .await
    }

    async fn get_vpn_seller(
        &self,
        request: Request<GetVpnSellerRequest>,
    ) -> Result<Response<Seller>, Status> {
        self.answer(request, |_| {
            Ok(Seller {
                enabled: true,
                selling: false,
                problem: "/dev/net/tun is not there".into(),
                price_sat: 100,
                duration_secs: 3600,
                interface: "imp0".into(),
                device: String::new(),
                endpoint: "198.51.100.7:51820".into(),
                public_key: "server".into(),
                subnet: "10.0.0.0/24".into(),
                free_addresses: 253,
                contracts: 2,
                refunds_due: 1,
            })
        })
        .await
    }
}
