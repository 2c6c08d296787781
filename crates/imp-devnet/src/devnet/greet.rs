//! Messages that prove that the nodes reach each other: nothing less shows that gossip has come through.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::future::try_join_all;
use imp_api::client::ClientError;
use imp_api::proto::messaging::SendMessageRequest;
use imp_api::proto::websocket::{SubscribeRequest, SubscribeResponse};
use tokio::time::{Instant, sleep, timeout};

use super::Net;
use super::node::{LOOK_INTERVAL, Node};
use super::options::Edge;
use super::supervise::Order;

/// How long a message is tried to a node that has just started, which takes nothing for two seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// The same where nodes lie between: until something is done about it.
const SHORT_PATIENCE: Duration = Duration::from_secs(4);

/// How long a node may take to be back with its channels.
const RESTART_PATIENCE: Duration = Duration::from_secs(30);

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

/// Is told of each message that has arrived.
pub(super) type Seen<'a> = dyn FnMut(&Arrival) + Send + 'a;

impl Net {
    /// Sends messages until it is shown that the nodes reach each other, and gives each that has arrived to `seen`. The
    /// first comes before all others.
    pub(super) async fn prove(&self, seen: &mut Seen<'_>) -> anyhow::Result<()> {
        let Some(((first, receivers), others)) = self.proofs.split_first() else { return Ok(()) };
        let seen = Mutex::new(seen);
        self.prove_from(*first, receivers, &seen).await?;
        try_join_all(others.iter().map(|(from, receivers)| self.prove_from(*from, receivers, &seen))).await?;
        Ok(())
    }

    async fn prove_from(
        &self,
        from: usize,
        receivers: &[usize],
        seen: &Mutex<&mut Seen<'_>>,
    ) -> anyhow::Result<()> {
        for to in receivers {
            let arrival = if self.are_neighbours(from, *to) {
                self.greet(from, *to, PATIENCE).await?
            } else if let Ok(arrival) = self.greet(from, *to, SHORT_PATIENCE).await {
                arrival
            } else {
                // Now and then what a node should hear of a new channel is not passed on to it. It is told of all
                // channels when it connects for the first time after its start.
                let (sender, receiver) = (self.nodes[from].name(), self.nodes[*to].name());
                self.report.say(format!("{sender} does not know the way to {receiver}: it is started again"));
                self.restart(&self.nodes[from]).await?;
                self.greet(from, *to, PATIENCE).await?
            };
            seen.lock().unwrap_or_else(PoisonError::into_inner)(&arrival);
        }
        Ok(())
    }

    /// Whether two nodes have a channel of their own.
    fn are_neighbours(&self, a: usize, b: usize) -> bool {
        let ends = |edge: &Edge| [(edge.opener, edge.acceptor), (edge.acceptor, edge.opener)];
        self.edges.iter().any(|edge| ends(edge).contains(&(a, b)))
    }

    async fn restart(&self, node: &Node) -> anyhow::Result<()> {
        let stopping = || format!("{} is being stopped", node.name());
        let mut state = node.state.clone();
        let pid = state.borrow_and_update().pid;
        node.orders.send(Order::Restart).await.ok().with_context(stopping)?;
        let again = state.wait_for(|state| state.up && state.pid != pid);
        let again = timeout(RESTART_PATIENCE, again).await;
        again.with_context(|| format!("{} does not start again", node.name()))?.with_context(stopping)?;
        self.wait_usable(RESTART_PATIENCE).await
    }

    async fn greet(&self, from: usize, to: usize, patience: Duration) -> anyhow::Result<Arrival> {
        let (from, to) = (&self.nodes[from], &self.nodes[to]);
        let text = format!("Hello {}, this is {}.", to.name(), from.name());
        let fault = || format!("no message from {} to {}", from.name(), to.name());
        let mut events =
            to.client().await?.subscribe(SubscribeRequest::default()).await.with_context(fault)?;
        let began = Instant::now();
        let until = began + patience;
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
            timeout(patience + LAST_TRY, both).await.context("it does not arrive").and_then(|done| done);
        let (id, (event, took)): (String, (SubscribeResponse, Duration)) = done.with_context(fault)?;
        if event.id != id {
            bail!("a message from {} left as {id} and arrived as {}", from.name(), event.id);
        }
        Ok(Arrival { from: from.name().to_owned(), to: to.name().to_owned(), text: event.data, id, took })
    }
}
