//! Signatures by this node's key.

use std::sync::Arc;

use imp_core::wire::signature::{recover, zbase32_decode, zbase32_encode};
use imp_lightning::LightningNode;

use crate::error::Error;

/// The signing service.
#[derive(Clone, Debug)]
pub struct Signing {
    node: Arc<dyn LightningNode>,
}

impl Signing {
    /// The service of a node.
    pub fn new(node: Arc<dyn LightningNode>) -> Self {
        Self { node }
    }

    /// Signs a text: 104 characters of zbase32, as LND, LDK and Core Lightning make them.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for an empty text, which LND does not sign either.
    pub async fn sign(&self, msg: &str) -> Result<String, Error> {
        if msg.is_empty() {
            return Err(Error::invalid("msg", "is empty: there is nothing to sign"));
        }
        let signature = self.node.sign(msg.as_bytes()).await?;
        Ok(zbase32_encode(&signature))
    }

    /// Whether this node signed a text. What is no signature at all is none of this node.
    pub fn verify(&self, msg: &str, signature: &str) -> bool {
        zbase32_decode(signature)
            .ok()
            .and_then(|signature| recover(msg.as_bytes(), &signature).ok())
            .is_some_and(|signer| signer == self.node.id())
    }
}
