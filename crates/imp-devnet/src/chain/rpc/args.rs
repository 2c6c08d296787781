//! The parameters of a call, by position or by name, and what they are read as.

use std::str::FromStr;

use bitcoin::address::NetworkUnchecked;
use bitcoin::consensus::encode;
use bitcoin::{Address, Amount, BlockHash, Denomination, Network, Transaction, Txid};
use serde_json::Value;

use super::RpcError;

/// The parameters of one call, each of which may be absent.
pub(super) struct Args {
    names: &'static [&'static str],
    values: Vec<Value>,
}

impl Args {
    pub(super) fn read(names: &'static [&'static str], params: Value) -> Result<Self, RpcError> {
        let values = match params {
            Value::Array(values) if values.len() > names.len() => {
                let text = format!("too many parameters, expected ({})", names.join(", "));
                return Err(RpcError::new(RpcError::MISC, text));
            }
            Value::Array(values) => values,
            Value::Object(mut named) => {
                let values = names.iter().map(|name| named.remove(*name).unwrap_or(Value::Null)).collect();
                if let Some(unknown) = named.keys().next() {
                    let text = format!("Unknown named parameter {unknown}");
                    return Err(RpcError::new(RpcError::INVALID_PARAMETER, text));
                }
                values
            }
            _ => Vec::new(),
        };
        Ok(Self { names, values })
    }

    /// The parameter, or null if it is absent.
    pub(super) fn get(&self, index: usize) -> &Value {
        self.values.get(index).unwrap_or(&Value::Null)
    }

    pub(super) fn is_absent(&self, index: usize) -> bool {
        self.get(index).is_null()
    }

    fn name(&self, index: usize) -> &'static str {
        self.names.get(index).copied().unwrap_or_default()
    }

    /// The error for a parameter that is missing or of another type.
    fn expected(&self, index: usize, what: &str) -> RpcError {
        if self.is_absent(index) {
            let text =
                format!("parameter {} is missing, expected ({})", self.name(index), self.names.join(", "));
            return RpcError::new(RpcError::MISC, text);
        }
        RpcError::new(RpcError::TYPE, format!("parameter {} must be {what}", self.name(index)))
    }

    pub(super) fn invalid(&self, index: usize, problem: &str) -> RpcError {
        RpcError::new(RpcError::INVALID_PARAMETER, format!("parameter {}: {problem}", self.name(index)))
    }

    pub(super) fn text(&self, index: usize) -> Result<&str, RpcError> {
        self.get(index).as_str().ok_or_else(|| self.expected(index, "a string"))
    }

    pub(super) fn array(&self, index: usize) -> Result<&[Value], RpcError> {
        self.get(index).as_array().map(Vec::as_slice).ok_or_else(|| self.expected(index, "an array"))
    }

    pub(super) fn u64(&self, index: usize) -> Result<u64, RpcError> {
        let value = self.get(index);
        if !value.is_number() {
            return Err(self.expected(index, "a number"));
        }
        value.as_u64().ok_or_else(|| self.invalid(index, "must be a whole number and not negative"))
    }

    pub(super) fn u32(&self, index: usize) -> Result<u32, RpcError> {
        let value = self.u64(index)?;
        u32::try_from(value).map_err(|_| self.invalid(index, &format!("{value} is too large")))
    }

    pub(super) fn i32(&self, index: usize) -> Result<i32, RpcError> {
        let value = self.get(index).as_i64().ok_or_else(|| self.expected(index, "a whole number"))?;
        i32::try_from(value).map_err(|_| self.invalid(index, &format!("{value} is too large")))
    }

    /// A switch, given as a boolean or as a number.
    pub(super) fn verbosity(&self, index: usize, default: u64) -> Result<u64, RpcError> {
        match self.get(index) {
            Value::Null => Ok(default),
            Value::Bool(verbose) => Ok(u64::from(*verbose)),
            _ => self.u64(index),
        }
    }

    pub(super) fn flag(&self, index: usize, default: bool) -> Result<bool, RpcError> {
        match self.get(index) {
            Value::Null => Ok(default),
            Value::Bool(value) => Ok(*value),
            _ => Err(self.expected(index, "true or false")),
        }
    }

    pub(super) fn txid(&self, index: usize) -> Result<Txid, RpcError> {
        self.parse(index, "64 hexadecimal digits")
    }

    pub(super) fn block_hash(&self, index: usize) -> Result<BlockHash, RpcError> {
        self.parse(index, "64 hexadecimal digits")
    }

    fn parse<T: FromStr>(&self, index: usize, what: &str) -> Result<T, RpcError> {
        let text = self.text(index)?;
        text.parse().map_err(|_| self.invalid(index, &format!("must be {what}")))
    }

    pub(super) fn address(&self, index: usize) -> Result<Address, RpcError> {
        address(self.text(index)?)
    }

    pub(super) fn transaction(&self, index: usize) -> Result<Transaction, RpcError> {
        transaction(self.get(index)).ok_or_else(|| decode_failed(""))
    }

    /// Transactions as an array of hex strings, 1 to `most` of them.
    pub(super) fn transactions(&self, index: usize, most: usize) -> Result<Vec<Transaction>, RpcError> {
        let values = self.array(index)?;
        if !(1..=most).contains(&values.len()) {
            let text = format!("Array must contain between 1 and {most} transactions.");
            return Err(RpcError::new(RpcError::INVALID_PARAMETER, text));
        }
        let decode = |value| {
            transaction(value).ok_or_else(|| {
                let text = value.as_str().unwrap_or("not a string");
                decode_failed(&format!(": {}", text.chars().take(80).collect::<String>()))
            })
        };
        values.iter().map(decode).collect()
    }

    /// An amount in bitcoin, as a number or a string.
    pub(super) fn bitcoin(&self, index: usize) -> Result<Amount, RpcError> {
        let parsed = match self.get(index) {
            Value::String(text) => Amount::from_str_in(text, Denomination::Bitcoin),
            Value::Number(number) => Amount::from_btc(number.as_f64().unwrap_or(f64::NAN)),
            _ => return Err(self.expected(index, "a number or string")),
        };
        parsed.map_err(|_| RpcError::new(RpcError::TYPE, "Invalid amount"))
    }
}

/// An address of regtest.
pub(super) fn address(text: &str) -> Result<Address, RpcError> {
    let address = text.parse::<Address<NetworkUnchecked>>().ok();
    address.and_then(|address| address.require_network(Network::Regtest).ok()).ok_or_else(|| {
        RpcError::new(RpcError::NOT_FOUND, "Invalid address: it is none of the network regtest")
    })
}

pub(super) fn transaction(value: &Value) -> Option<Transaction> {
    encode::deserialize_hex(value.as_str()?).ok()
}

fn decode_failed(detail: &str) -> RpcError {
    RpcError::new(
        RpcError::DESERIALIZATION,
        format!("TX decode failed{detail}. Make sure the tx has at least one input."),
    )
}
