//! Signatures by this node's key, and by others'.

use std::sync::Arc;

use imp_core::wire::signature::{recover, zbase32_decode, zbase32_encode};
use imp_lightning::LightningNode;

use super::pubkey;
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
    /// What it signs is text, so it cannot be made to sign an envelope: these begin with a byte that no text has.
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

    /// Whether a node signed a text: the one with the key `signer`; without, this node or one that it knows of, as LND
    /// has it. Every signature is some key's, so that one over another text is of a key that nobody knows. What is no
    /// signature at all is nobody's.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a key that is none.
    pub async fn verify(&self, msg: &str, signature: &str, signer: Option<&str>) -> Result<bool, Error> {
        let signer = signer.map(pubkey).transpose()?;
        let recovered =
            zbase32_decode(signature).ok().and_then(|signature| recover(msg.as_bytes(), &signature).ok());
        let Some(recovered) = recovered else { return Ok(false) };
        match signer {
            Some(signer) => Ok(recovered == signer),
            None => Ok(recovered == self.node.id() || self.node.knows_node(&recovered).await?),
        }
    }
}
