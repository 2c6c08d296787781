//! What a buyer sends to a seller.

use super::text::{Fields, Object};
use super::{PRICE_SAT, PayloadError, REQUEST_RECORD};
use crate::id::{MessageId, NodeId};
use crate::vpn::{Nonce, PublicKey};

/// What a buyer sends to a seller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// What does a contract cost?
    Quote,
    /// The quote is accepted: the payment that carries this is its price.
    Contract {
        /// The quote.
        nonce: Nonce,
        /// Its price in satoshis, as the buyer understood it.
        price_sat: u64,
        /// The buyer's WireGuard key. Of any form: a seller has to give back what was paid with a useless one.
        public_key: PublicKey,
    },
    /// More time: the payment that carries this is the contract's price.
    Refresh {
        /// The contract.
        nonce: Nonce,
        /// Its price in satoshis, as the buyer understood it.
        price_sat: u64,
    },
    /// What became of a payment whose answer did not come?
    Status {
        /// The quote or contract that was paid for.
        nonce: Nonce,
        /// The message that was the payment: CONTRACT or REFRESH.
        id: MessageId,
    },
}

impl Request {
    /// Reads what another node sent.
    pub fn parse(text: &str) -> Result<Self, PayloadError> {
        let fields = Fields::parse(text)?;
        if fields.get("recordId") != Some(REQUEST_RECORD) {
            return Err(PayloadError::RecordId);
        }
        Self::read(&fields)
    }

    pub(super) fn read(fields: &Fields) -> Result<Self, PayloadError> {
        match fields.get("type") {
            Some("QUOTE") => Ok(Self::Quote),
            Some("CONTRACT") => Ok(Self::Contract {
                nonce: fields.nonce()?,
                price_sat: fields.number("price", &PRICE_SAT)?,
                public_key: fields.value("pubkey", "a WireGuard key in base64")?,
            }),
            Some("REFRESH") => {
                Ok(Self::Refresh { nonce: fields.nonce()?, price_sat: fields.number("price", &PRICE_SAT)? })
            }
            Some("STATUS") => {
                let id = MessageId::from_canonical(fields.text("id")?)
                    .ok_or(PayloadError::Field { field: "id", expected: "a UUID in lower case" })?;
                Ok(Self::Status { nonce: fields.nonce()?, id })
            }
            _ => Err(PayloadError::UnknownType),
        }
    }

    /// The text for the other node, and of the event about what another node sent.
    pub fn to_json(&self) -> String {
        self.write().finish()
    }

    /// The text of an event about what this node did, which names the other node.
    pub fn to_json_about(&self, node: &NodeId) -> String {
        self.write().text("node", &node.to_string()).finish()
    }

    /// The `type`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Quote => "QUOTE",
            Self::Contract { .. } => "CONTRACT",
            Self::Refresh { .. } => "REFRESH",
            Self::Status { .. } => "STATUS",
        }
    }

    /// The quote or contract that it names.
    pub const fn nonce(&self) -> Option<&Nonce> {
        match self {
            Self::Quote => None,
            Self::Contract { nonce, .. } | Self::Refresh { nonce, .. } | Self::Status { nonce, .. } => {
                Some(nonce)
            }
        }
    }

    /// Whether it is sent with a price, which goes back where it is not served.
    pub const fn is_payment(&self) -> bool {
        matches!(self, Self::Contract { .. } | Self::Refresh { .. })
    }

    fn write(&self) -> Object {
        let object = Object::new(REQUEST_RECORD, self.kind());
        match self {
            Self::Quote => object,
            Self::Contract { nonce, price_sat, public_key } => object
                .text("nonce", nonce.as_str())
                .number("price", *price_sat)
                .text("pubkey", &public_key.to_string()),
            Self::Refresh { nonce, price_sat } => {
                object.text("nonce", nonce.as_str()).number("price", *price_sat)
            }
            Self::Status { nonce, id } => object.text("nonce", nonce.as_str()).text("id", &id.to_string()),
        }
    }
}
