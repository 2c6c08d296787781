//! What stands: `imp vpn list`, `show` and `quotes`.

use imp_api::proto::imp::vpn::v1::{
    Contract, GetVpnContractRequest, ListVpnContractsRequest, ListVpnContractsResponse, ListVpnQuotesRequest,
    ListVpnQuotesResponse, Quote,
};

use super::tunnel;
use crate::args::options::LARGEST_PAGE;
use crate::args::value::Node;
use crate::args::vpn::{ListContracts, Named};
use crate::cmd::ASKING;
use crate::failure::Failure;
use crate::output::Column::{Number, Text};
use crate::output::{bytes, fields, or_dash, table};
use crate::pages::{fetch, note_more};
use crate::session::Session;
use crate::time::{iso, iso_and_distance, left, length};

/// The role of what this node bought.
pub(super) const BOUGHT: &str = "bought";

/// How many contracts an error names.
const NAMED: usize = 5;

/// The contract that a person names by its nonce or the beginning of one, among those of a role; an empty role is both.
/// What no nonce begins with is asked for as it is: the node says what it is not.
///
/// # Errors
/// [`Failure::Usage`] for the beginning of several, [`Failure::Lookup`] if the node does not tell.
pub(super) async fn named(session: &Session, contract: Named, role: &str) -> Result<Contract, Failure> {
    let unknown = |failure| Failure::Lookup(Box::new(failure));
    let Named { nonce } = contract;
    let request =
        ListVpnContractsRequest { role: role.to_owned(), limit: LARGEST_PAGE, ..Default::default() };
    let list = session
        .call(ASKING, async move |node| {
            fetch(true, None, async |cursor| {
                let cursor = cursor.unwrap_or_default();
                node.list_vpn_contracts(ListVpnContractsRequest { cursor, ..request.clone() }).await
            })
            .await
        })
        .await
        .map_err(unknown)?;
    let mut found: Vec<Contract> = list.contracts;
    found.retain(|contract| contract.nonce.starts_with(&nonce));
    if let Some(place) = found.iter().position(|contract| contract.nonce == nonce) {
        return Ok(found.swap_remove(place));
    }
    if found.len() > 1 {
        let names: Vec<&str> = found.iter().take(NAMED).map(|contract| contract.nonce.as_str()).collect();
        let more = if found.len() > NAMED { ", ..." } else { "" };
        let text =
            format!("{nonce} is the beginning of {} contracts: {}{more}", found.len(), names.join(", "));
        return Err(Failure::Usage(text));
    }
    match found.pop() {
        Some(contract) => Ok(contract),
        None => {
            let request = GetVpnContractRequest { nonce };
            let asked = session.call(ASKING, async move |node| node.get_vpn_contract(request).await);
            asked.await.map_err(unknown)
        }
    }
}

pub(super) async fn list(session: &Session, args: ListContracts) -> Result<(), Failure> {
    let ListContracts { role, state, with, limit, cursor, all } = args;
    let pubkey = match with {
        Some(node) => session.pubkey(node).await?,
        None => String::new(),
    };
    let request = ListVpnContractsRequest {
        role: role.unwrap_or_default(),
        state: state.join(","),
        pubkey,
        limit: limit.unwrap_or(if all { LARGEST_PAGE } else { 0 }),
        cursor: String::new(),
    };
    let answer = session
        .call(ASKING, async move |node| {
            fetch(all, cursor, async |cursor| {
                let cursor = cursor.unwrap_or_default();
                node.list_vpn_contracts(ListVpnContractsRequest { cursor, ..request.clone() }).await
            })
            .await
        })
        .await?;
    session.print(&answer, contracts)?;
    note_more(session.output, &answer, "--cursor");
    Ok(())
}

fn contracts(answer: &ListVpnContractsResponse) -> String {
    if answer.contracts.is_empty() {
        return "no contracts".to_owned();
    }
    let row = |contract: &Contract| {
        [
            contract.nonce.clone(),
            contract.role.clone(),
            state(contract),
            contract.price_sat.to_string(),
            length(contract.duration_secs),
            contract.paid_sat.to_string(),
            or_dash(&left_of(contract)),
            or_dash(&contract.tunnel.as_ref().map(|tunnel| tunnel.interface.clone()).unwrap_or_default()),
            bytes(contract.received_bytes),
            bytes(contract.sent_bytes),
            contract.pubkey.clone(),
            or_dash(&remark(contract)),
        ]
    };
    let columns = [
        Text("NONCE"),
        Text("ROLE"),
        Text("STATE"),
        Number("SAT"),
        Text("FOR"),
        Number("PAID"),
        Text("LEFT"),
        Text("TUNNEL"),
        Number("RECEIVED"),
        Number("SENT"),
        Text("WITH"),
        Text("REMARK"),
    ];
    table(columns, &answer.contracts.iter().map(row).collect::<Vec<_>>())
}

/// The state, loud where money is gone for nothing so far.
fn state(contract: &Contract) -> String {
    match contract.state.as_str() {
        "unanswered" => "UNANSWERED".to_owned(),
        state => state.to_owned(),
    }
}

/// The time that is left of a contract that has some.
fn left_of(contract: &Contract) -> String {
    let ends_ms = contract.ends_ms.filter(|_| contract.state == "active");
    ends_ms.and_then(left).unwrap_or_default()
}

/// What is to be known of a contract beside its state.
fn remark(contract: &Contract) -> String {
    let Contract { paid_sat, refunded_sat, reason, .. } = contract;
    let words = match contract.state.as_str() {
        "unanswered" => format!("took {paid_sat} sat and gave no answer"),
        "refunded" => format!("{refunded_sat} sat back"),
        _ => String::new(),
    };
    match (words.is_empty(), reason.is_empty()) {
        (true, _) => reason.clone(),
        (false, true) => words,
        (false, false) => format!("{words}: {reason}"),
    }
}

pub(super) async fn show(session: &Session, contract: Named) -> Result<(), Failure> {
    let contract = named(session, contract, "").await?;
    session.print(&contract, shown)
}

/// A contract as lines.
pub(super) fn shown(contract: &Contract) -> String {
    let time = |ms: Option<i64>| or_dash(&ms.map(iso_and_distance).unwrap_or_default());
    let mtu = if contract.mtu == 0 { String::new() } else { contract.mtu.to_string() };
    let mut lines = vec![
        ("nonce", contract.nonce.clone()),
        ("role", contract.role.clone()),
        (if contract.role == BOUGHT { "seller" } else { "buyer" }, contract.pubkey.clone()),
        ("state", state(contract)),
        ("remark", or_dash(&remark(contract))),
        ("price", price(contract)),
        ("paid", format!("{} sat", contract.paid_sat)),
        ("refunded", format!("{} sat", contract.refunded_sat)),
        ("made", iso_and_distance(contract.made_ms)),
        ("began", time(contract.started_ms)),
        ("ends", time(contract.ends_ms)),
        ("client's address", or_dash(&contract.client_ip)),
        ("client's key", or_dash(&contract.client_public_key)),
        ("endpoint", or_dash(&contract.endpoint)),
        ("server's key", or_dash(&contract.server_public_key)),
        ("networks", or_dash(&contract.allowed_ips.join(", "))),
        ("dns", or_dash(&contract.dns_ip)),
        ("mtu", or_dash(&mtu)),
        ("received", bytes(contract.received_bytes)),
        ("sent", bytes(contract.sent_bytes)),
        ("at most", data(contract.data_limit_bytes)),
        ("last handshake", time(contract.last_handshake_ms)),
    ];
    if contract.role == BOUGHT {
        let auto = contract
            .auto_refresh_limit_sat
            .map(|limit| format!("up to {limit} sat in all, {} sat so far", contract.auto_refresh_spent_sat));
        lines.push(("auto-refresh", or_dash(&auto.unwrap_or_default())));
        lines.push(("tunnel", or_dash(&contract.tunnel.as_ref().map(tunnel::summary).unwrap_or_default())));
    }
    fields(&lines)
}

/// The time for which prices are compared.
pub(super) const HOUR_SECS: i64 = 3600;

/// The price of a contract.
pub(super) fn price(contract: &Contract) -> String {
    let Contract { price_sat, duration_secs, .. } = contract;
    let time = length(*duration_secs);
    if *duration_secs == HOUR_SECS {
        return format!("{price_sat} sat for {time}");
    }
    format!("{price_sat} sat for {time}, {} sat an hour", hourly_sat(*price_sat, *duration_secs))
}

/// A price with that of an hour, where the time it is for is another one.
pub(super) fn sat_and_hourly(price_sat: i64, duration_secs: i64) -> String {
    if duration_secs == HOUR_SECS {
        return format!("{price_sat} sat");
    }
    format!("{price_sat} sat ({} sat an hour)", hourly_sat(price_sat, duration_secs))
}

/// What an hour costs, in satoshis, rounded up.
pub(super) fn hourly_sat(price_sat: i64, duration_secs: i64) -> i64 {
    let duration_secs = i128::from(duration_secs.max(1));
    let total = i128::from(price_sat) * i128::from(HOUR_SECS);
    i64::try_from((total + duration_secs - 1) / duration_secs).unwrap_or(i64::MAX)
}

/// A limit on bytes.
pub(super) fn data(limit: Option<i64>) -> String {
    or_dash(&limit.map(bytes).unwrap_or_default())
}

pub(super) async fn quotes(session: &Session, from: Option<Node>) -> Result<(), Failure> {
    let pubkey = match from {
        Some(node) => session.pubkey(node).await?,
        None => String::new(),
    };
    let request = ListVpnQuotesRequest { pubkey, request_id: String::new() };
    let answer = session.call(ASKING, async move |node| node.list_vpn_quotes(request).await).await?;
    session.print(&answer, quote_table)
}

fn quote_table(answer: &ListVpnQuotesResponse) -> String {
    if answer.quotes.is_empty() {
        return "no quotes".to_owned();
    }
    let row = |quote: &Quote| {
        [
            quote.nonce.clone(),
            quote.price_sat.to_string(),
            length(quote.duration_secs),
            data(quote.data_limit_bytes),
            data(quote.bytes_per_sec),
            or_dash(&quote.max_secs.map(length).unwrap_or_default()),
            iso(quote.accept_until_ms),
            quote.pubkey.clone(),
        ]
    };
    let columns = [
        Text("NONCE"),
        Number("SAT"),
        Text("FOR"),
        Number("DATA"),
        Number("A SECOND"),
        Text("AT MOST"),
        Text("UNTIL"),
        Text("SELLER"),
    ];
    table(columns, &answer.quotes.iter().map(row).collect::<Vec<_>>())
}
