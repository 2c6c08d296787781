//! One run of the program: which node it talks to, and how it prints.

use imp_api::client::{Client, ClientError};
use imp_api::proto::imp::federate::v1::ListFederatedPeersRequest;
use prost::{Message, Name};

use crate::args::value::Node;
use crate::failure::Failure;
use crate::output::Output;
use crate::progress;

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) addr: String,
    pub(crate) output: Output,
}

impl Session {
    /// Connects and calls, and tells a person at a terminal what is `doing` while that takes long.
    pub(crate) async fn call<A>(
        &self,
        doing: &str,
        call: impl AsyncFnOnce(Client) -> Result<A, ClientError>,
    ) -> Result<A, Failure> {
        let answer = async { call(Client::connect(&self.addr).await?).await };
        progress::wait(doing, !self.output.is_json(), answer).await
    }

    /// The Lightning public key of a node. What is typed as one is not looked up: a name cannot stand for another key.
    ///
    /// # Errors
    /// [`Failure::NoSuchName`] if nobody has the name, [`Failure::Lookup`] if the node does not tell.
    pub(crate) async fn pubkey(&self, node: Node) -> Result<String, Failure> {
        let name = match node {
            Node::Key(pubkey) => return Ok(pubkey),
            Node::Name(name) => name,
        };
        let request = ListFederatedPeersRequest { name: name.clone(), ..Default::default() };
        let asked = self.call("looking up the name", async |node| node.list_federated_peers(request).await);
        let peers = asked.await.map_err(|failure| Failure::Lookup(Box::new(failure)))?.peers;
        // Money may go there: another node than the one with this very name is none.
        let found = peers.into_iter().find(|peer| peer.name == name);
        found.map(|peer| peer.pubkey).ok_or(Failure::NoSuchName { name })
    }

    /// Prints an answer as JSON in one line, or as `text` says it.
    pub(crate) fn print<M: Message + Name>(
        &self,
        answer: &M,
        text: impl FnOnce(&M) -> String,
    ) -> Result<(), Failure> {
        Ok(self.output.print(answer, text)?)
    }
}
