//! Ids in rows that are kept as JSON: their texts.

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

use super::{MessageId, NodeId, PaymentHash};

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MessageId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_canonical(&text).ok_or_else(|| D::Error::custom("is no canonical UUID"))
    }
}

impl Serialize for PaymentHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PaymentHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut hash = [0; 32];
        hex::decode_to_slice(String::deserialize(deserializer)?, &mut hash)
            .map_err(|_| D::Error::custom("is no payment hash: 64 hexadecimal digits"))?;
        Ok(Self(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_json() {
        let node: NodeId =
            "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798".parse().unwrap();
        let ids = (node, MessageId::from_random([7; 16]), PaymentHash([9; 32]));
        let text = serde_json::to_string(&ids).unwrap();
        assert_eq!(serde_json::from_str::<(NodeId, MessageId, PaymentHash)>(&text).unwrap(), ids);
    }

    #[test]
    fn other_texts_are_no_ids() {
        assert!(serde_json::from_str::<NodeId>(r#""02ab""#).is_err());
        assert!(serde_json::from_str::<MessageId>(r#""no""#).is_err());
        assert!(serde_json::from_str::<PaymentHash>(r#""00""#).is_err());
    }
}
