//! What a buyer waits for: the answer of a seller to its question, and the configuration that was paid for.

use std::time::Duration;

use imp_api::client::{Client, ClientError};
use imp_api::error::Code;
use imp_api::proto::imp::events::v1::{Event, ListEventsRequest};
use imp_api::proto::imp::vpn::v1::{Contract, GetVpnContractRequest, ListVpnQuotesRequest, Quote};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::cmd::ASKING;
use crate::failure::Failure;
use crate::session::Session;

/// How often the node is asked.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The most events of a page.
const LARGEST_PAGE: i64 = 1000;

/// What became of a question for the price.
pub(super) enum Offer {
    /// A quote that can be accepted.
    Quote(Box<Quote>),
    /// The quote was accepted before.
    Bought(Box<Contract>),
}

/// What is known so far.
enum Answer {
    Offer(Offer),
    Refused(String),
    /// It came, and is no longer accepted.
    Stale,
}

/// The cursor of the newest event, before anything is asked of anybody.
pub(super) async fn newest_event(session: &Session) -> Result<i64, Failure> {
    let request = ListEventsRequest { limit: 1, service: "vpn".to_owned(), ..Default::default() };
    let page = session.call(ASKING, async move |node| node.list_events(request).await).await;
    Ok(page.map_err(|failure| Failure::Lookup(Box::new(failure)))?.newest_cursor)
}

/// Waits for the answer to the question `id` to a seller. `since` is the cursor after which it came; nothing where it may
/// have come at any time.
pub(super) async fn offer(
    session: &Session,
    pubkey: String,
    id: String,
    since: Option<i64>,
    secs: i64,
) -> Result<Offer, Failure> {
    let look = async |node: Client| {
        let mut after = since;
        loop {
            if let Some(answer) = look_for_answer(&node, &pubkey, &id, &mut after).await? {
                return Ok(answer);
            }
            sleep(LOOK_EVERY).await;
        }
    };
    let answer = within(secs, session.call("waiting for the quote", look)).await?;
    let no_more =
        || Failure::Denied { reason: "the quote that it gave under this --key is too old".to_owned() };
    match answer {
        Some(Answer::Offer(offer)) => Ok(offer),
        Some(Answer::Refused(reason)) => Err(Failure::Denied { reason }),
        Some(Answer::Stale) => Err(no_more()),
        None => Err(Failure::NotInTime {
            what: "the seller's quote",
            secs,
            later: "if it comes later, `imp vpn quotes` shows it, and `imp vpn contract` buys it".to_owned(),
        }),
    }
}

async fn look_for_answer(
    node: &Client,
    pubkey: &str,
    id: &str,
    after: &mut Option<i64>,
) -> Result<Option<Answer>, ClientError> {
    if let Some(quote) = held(node, pubkey, id).await? {
        return Ok(Some(Answer::Offer(Offer::Quote(quote.into()))));
    }
    loop {
        let request = ListEventsRequest {
            after: *after,
            limit: LARGEST_PAGE,
            service: "vpn".to_owned(),
            ..Default::default()
        };
        let page = node.list_events(request).await?;
        let mut answers =
            page.events.iter().filter(|event| event.from_pubkey == pubkey && event.reply_to_id == id);
        match answers.find_map(said) {
            Some(Said::Refused(reason)) => return Ok(Some(Answer::Refused(reason))),
            // It may have come after the look at what is held.
            Some(Said::Quote(nonce)) => {
                return Ok(Some(match held(node, pubkey, id).await? {
                    Some(quote) => Answer::Offer(Offer::Quote(quote.into())),
                    None => accepted(node, nonce).await?,
                }));
            }
            None => {}
        }
        *after = Some(page.next_after);
        if !page.more {
            return Ok(None);
        }
    }
}

/// The quote that answers a question, if it can be accepted.
async fn held(node: &Client, pubkey: &str, id: &str) -> Result<Option<Quote>, ClientError> {
    let request = ListVpnQuotesRequest { pubkey: pubkey.to_owned(), request_id: id.to_owned() };
    let quotes = node.list_vpn_quotes(request).await?.quotes;
    Ok(quotes.into_iter().find(|quote| quote.request_id == id))
}

/// What became of a quote that the node no longer holds.
async fn accepted(node: &Client, nonce: String) -> Result<Answer, ClientError> {
    match node.get_vpn_contract(GetVpnContractRequest { nonce }).await {
        Ok(contract) => Ok(Answer::Offer(Offer::Bought(contract.into()))),
        Err(ClientError::Refused(body)) if body.code == Code::NotFound => Ok(Answer::Stale),
        Err(error) => Err(error),
    }
}

/// What an event of a seller says.
enum Said {
    Quote(String),
    Refused(String),
}

fn said(event: &Event) -> Option<Said> {
    let body: Value = serde_json::from_str(&event.data).ok()?;
    let text = |key: &str| body.get(key)?.as_str().map(str::to_owned);
    match text("type")?.as_str() {
        "QUOTE" => text("nonce").map(Said::Quote),
        "REFUSED" => Some(Said::Refused(text("reason").unwrap_or_else(|| "it says no more".to_owned()))),
        _ => None,
    }
}

/// Waits for the configuration of a contract that was paid for.
pub(super) async fn configuration(session: &Session, nonce: String, secs: i64) -> Result<Contract, Failure> {
    let name = nonce.clone();
    let look = async move |node: Client| {
        loop {
            let contract = node.get_vpn_contract(GetVpnContractRequest { nonce: name.clone() }).await?;
            if !matches!(contract.state.as_str(), "paying" | "paid") {
                return Ok(contract);
            }
            sleep(LOOK_EVERY).await;
        }
    };
    let Some(contract) = within(secs, session.call("waiting for the configuration", look)).await? else {
        let later = format!(
            "it is paid for, and the node goes on asking the seller for it: `imp vpn show {nonce}` tells how it stands"
        );
        return Err(Failure::NotInTime { what: "the tunnel's configuration", secs, later });
    };
    match contract.state.as_str() {
        "active" => Ok(contract),
        _ => Err(Failure::NotServed { why: what_became(&contract), nonce, state: contract.state }),
    }
}

fn what_became(contract: &Contract) -> String {
    match contract.state.as_str() {
        "refunded" => {
            let Contract { refunded_sat, paid_sat, reason, .. } = contract;
            format!("{refunded_sat} of {paid_sat} sat came back ({reason})")
        }
        "failed" => format!("nothing was paid ({})", contract.reason),
        "unanswered" => "it is paid for, and the seller says nothing; the node goes on asking".to_owned(),
        _ => contract.reason.clone(),
    }
}

/// What comes in time; nothing where it does not.
async fn within<A>(
    secs: i64,
    waiting: impl Future<Output = Result<A, Failure>>,
) -> Result<Option<A>, Failure> {
    let time = Duration::from_secs(secs.try_into().unwrap_or_default());
    timeout(time, waiting).await.map_or(Ok(None), |done| done.map(Some))
}
