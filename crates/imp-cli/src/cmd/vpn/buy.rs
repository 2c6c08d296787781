//! What pays: `imp vpn quote`, `buy`, `contract` and `refresh`.

use std::io::{self, IsTerminal};

use imp_api::proto::imp::vpn::v1::{Contract, Quote};
use imp_api::proto::vpn::{AcceptContractRequest, RefreshContractRequest, RequestQuoteRequest};

use super::contracts::{self, BOUGHT, HOUR_SECS, data, hourly_sat, price, sat_and_hourly};
use super::tunnel;
use super::waiting::{self, Offer};
use crate::args::vpn::{Accept, AskQuote, Buy, Price, Refresh};
use crate::confirm::confirm;
use crate::failure::{Failure, note};
use crate::output::fields;
use crate::session::Session;
use crate::time::{iso_and_distance, length};

pub(super) async fn quote(session: &Session, args: AskQuote) -> Result<(), Failure> {
    let AskQuote { node, wait, key } = args;
    let pubkey = session.pubkey(node).await?;
    match ask(session, pubkey, key.key, wait.secs).await? {
        Offer::Quote(quote) => session.print(&*quote, offered),
        Offer::Bought(contract) => session.print(&*contract, bought),
    }
}

/// Asks for the price, has it agreed to, pays it, and waits for the configuration.
pub(super) async fn buy(session: &Session, args: Buy) -> Result<(), Failure> {
    let Buy { node, price, up, tunnel, auto_refresh, wait, key } = args;
    if !up && (tunnel.allow_private || tunnel.keep_dns) {
        let text = "--allow-private and --keep-dns are about the tunnel that --up brings up";
        return Err(Failure::Usage(text.to_owned()));
    }
    require_answer(price)?;
    let pubkey = session.pubkey(node).await?;
    let nonce = match ask(session, pubkey, key.key.clone(), wait.secs).await? {
        Offer::Quote(quote) => {
            agree(price, quote.price_sat, quote.duration_secs, || {
                let (of, node) = (terms(&quote), &quote.pubkey);
                format!("pay {} to {node} for {of}?", sat_and_hourly(quote.price_sat, quote.duration_secs))
            })?;
            let Quote { pubkey, nonce, price_sat, .. } = *quote;
            pay(session, pubkey, nonce.clone(), price_sat, key.key).await?;
            nonce
        }
        // The same key bought it before: what is paid for is only waited for.
        Offer::Bought(contract) => contract.nonce,
    };
    let mut contract = waiting::configuration(session, nonce, wait.secs).await?;
    if let Some(limit) = auto_refresh {
        contract = tunnel::set_auto_refresh(session, contract.nonce, limit).await?;
    }
    if up {
        match tunnel::bring_up(session, contract.nonce.clone(), tunnel).await {
            Ok(tunnel) => contract.tunnel = Some(tunnel),
            Err(failure) => {
                note(&format!("contract {} was bought; its tunnel is not up", contract.nonce));
                return Err(failure);
            }
        }
    }
    session.print(&contract, bought)
}

pub(super) async fn accept(session: &Session, args: Accept) -> Result<(), Failure> {
    let Accept { node, nonce, price, key } = args;
    let pubkey = session.pubkey(node).await?;
    let request = AcceptContractRequest { pubkey, nonce, price: price.to_string(), idempotency_key: key.key };
    let answer = session.call("paying", async move |node| node.accept_contract(request).await).await?;
    session.print(&answer, |answer| fields(&[("id", &answer.id)]))
}

pub(super) async fn refresh(session: &Session, args: Refresh) -> Result<(), Failure> {
    let Refresh { contract, price, key } = args;
    require_answer(price)?;
    let contract = contracts::named(session, contract, BOUGHT).await?;
    agree(price, contract.price_sat, contract.duration_secs, || {
        let Contract { nonce, pubkey, price_sat, duration_secs, .. } = &contract;
        let price = sat_and_hourly(*price_sat, *duration_secs);
        format!("pay {price} to {pubkey} for {} more on {nonce}?", length(*duration_secs))
    })?;
    let request = RefreshContractRequest {
        pubkey: contract.pubkey,
        nonce: contract.nonce,
        price: contract.price_sat.to_string(),
        idempotency_key: key.key,
    };
    let answer = session.call("paying", async move |node| node.refresh_contract(request).await).await?;
    session.print(&answer, |answer| fields(&[("id", &answer.id)]))
}

/// Asks a node for its price, and waits for what it says.
async fn ask(session: &Session, pubkey: String, key: Option<String>, secs: i64) -> Result<Offer, Failure> {
    // What was asked under this key before may have been answered long ago.
    let since = if key.is_some() { None } else { Some(waiting::newest_event(session).await?) };
    let request = RequestQuoteRequest { pubkey: pubkey.clone(), idempotency_key: key };
    let asked =
        session.call("asking the seller", async move |node| node.request_quote(request).await).await?;
    waiting::offer(session, pubkey, asked.id, since, secs).await
}

async fn pay(
    session: &Session,
    pubkey: String,
    nonce: String,
    price_sat: i64,
    idempotency_key: Option<String>,
) -> Result<(), Failure> {
    let request = AcceptContractRequest { pubkey, nonce, price: price_sat.to_string(), idempotency_key };
    session.call("paying", async move |node| node.accept_contract(request).await).await?;
    Ok(())
}

/// Whether a price can be agreed to at all, before anybody is asked for it.
fn require_answer(price: Price) -> Result<(), Failure> {
    if price.max_sat.is_some() || (io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Ok(());
    }
    let text = "the price is asked about at a terminal only: say by --max-price SAT what an hour may cost";
    Err(Failure::Usage(text.to_owned()))
}

/// Goes on with a price that was allowed beforehand, or is agreed to now. What is sold is the seller's word: a price says
/// something together with the time only, and who pays for minutes pays often.
fn agree(
    price: Price,
    price_sat: i64,
    duration_secs: i64,
    question: impl FnOnce() -> String,
) -> Result<(), Failure> {
    let Some(max_sat) = price.max_sat else { return confirm(false, &question()) };
    let hourly_sat = hourly_sat(price_sat, duration_secs);
    if hourly_sat > max_sat {
        return Err(Failure::TooDear { hourly_sat, max_sat });
    }
    if duration_secs >= HOUR_SECS { Ok(()) } else { confirm(price.yes, &question()) }
}

/// What a quote gives for its price.
fn terms(quote: &Quote) -> String {
    let rate = quote.bytes_per_sec.map(|rate| format!(", {} a second", data(Some(rate))));
    let most = quote.data_limit_bytes.map(|most| format!(", {} in all", data(Some(most))));
    format!("{}{}{}", length(quote.duration_secs), most.unwrap_or_default(), rate.unwrap_or_default())
}

fn offered(quote: &Quote) -> String {
    fields(&[
        ("nonce", quote.nonce.clone()),
        ("seller", quote.pubkey.clone()),
        ("price", sat_and_hourly(quote.price_sat, quote.duration_secs)),
        ("for", terms(quote)),
        ("until", iso_and_distance(quote.accept_until_ms)),
        ("buy it", format!("imp vpn contract {} {} {}", quote.pubkey, quote.nonce, quote.price_sat)),
    ])
}

/// What was bought, and where its configuration is.
fn bought(contract: &Contract) -> String {
    let nonce = &contract.nonce;
    let mut lines = vec![
        ("nonce", nonce.clone()),
        ("seller", contract.pubkey.clone()),
        ("state", contract.state.clone()),
        ("price", price(contract)),
    ];
    lines.extend(contract.ends_ms.map(|ends_ms| ("ends", iso_and_distance(ends_ms))));
    lines.push(("configuration", format!("imp vpn config {nonce} --out wg0.conf")));
    lines.push(("over REST", format!("/v1/vpn/contracts/{nonce}/config")));
    lines.push(("for telephones", format!("imp vpn qr {nonce}")));
    match &contract.tunnel {
        Some(tunnel) => lines.push(("tunnel", tunnel::summary(tunnel))),
        None => lines.push(("on this node", format!("imp vpn up {nonce}"))),
    }
    fields(&lines)
}
