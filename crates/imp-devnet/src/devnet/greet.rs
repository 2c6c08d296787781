//! Messages that prove that the nodes reach each other: nothing less shows that gossip has come through.

use std::time::Duration;

use anyhow::{Context, bail};
use imp_api::client::ClientError;
use imp_api::proto::messaging::SendMessageRequest;
use imp_api::proto::websocket::{SubscribeRequest, SubscribeResponse};
use tokio::time::{Instant, sleep, timeout};

use super::Net;
use super::node::LOOK_INTERVAL;

/// How long a first message is tried. A node that has just started takes nothing for two seconds, and one that was not
/// told of a channel asks for it after some more.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long the last try may take.
const LAST_TRY: Duration = Duration::from_secs(10);

/// A message that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The name of the sender.
    pub from: String,
    /// The name of the receiver.
    pub to: String,
    /// The text as it came out.
    pub text: String,
    /// The id that both ends know it by.
    pub id: String,
    /// From the call to the event.
    pub took: Duration,
}

impl Net {
    /// Sends messages until it is shown that the nodes reach each other, and gives each that has arrived to `seen`.
    pub(super) async fn prove(&self, seen: &mut (dyn FnMut(&Arrival) + Send)) -> anyhow::Result<()> {
        for (from, to) in &self.proofs {
            seen(&self.greet(*from, *to).await?);
        }
        Ok(())
    }

    async fn greet(&self, from: usize, to: usize) -> anyhow::Result<Arrival> {
        let (from, to) = (&self.nodes[from], &self.nodes[to]);
        let text = format!("Hello {}, this is {}.", to.name(), from.name());
        let fault = || format!("no message from {} to {}", from.name(), to.name());
        let mut events =
            to.client().await?.subscribe(SubscribeRequest::default()).await.with_context(fault)?;
        let began = Instant::now();
        let until = began + PATIENCE;
        let request =
            SendMessageRequest { msg: text.clone(), pubkey: to.pubkey(), ..SendMessageRequest::default() };
        let sending = async {
            let client = from.client().await?;
            loop {
                match client.send_message(request.clone()).await {
                    Ok(sent) => return anyhow::Ok(sent.id),
                    Err(error @ ClientError::Refused(_)) if Instant::now() < until => {
                        tracing::debug!(%error, "no way to the other node yet");
                        sleep(LOOK_INTERVAL).await;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        };
        let key = from.pubkey();
        let arriving = async {
            while let Some(event) = events.next().await? {
                if event.from_pubkey == key && event.data == text {
                    return Ok((event, began.elapsed()));
                }
            }
            bail!("{} closed its stream of events", to.name())
        };
        let both = async { tokio::try_join!(sending, arriving) };
        let done =
            timeout(PATIENCE + LAST_TRY, both).await.context("it does not arrive").and_then(|done| done);
        let (id, (event, took)): (String, (SubscribeResponse, Duration)) = done.with_context(fault)?;
        if event.id != id {
            bail!("a message from {} left as {id} and arrived as {}", from.name(), event.id);
        }
        Ok(Arrival { from: from.name().to_owned(), to: to.name().to_owned(), text: event.data, id, took })
    }
}
