//! bitcoind's JSON-RPC, as far as Lightning nodes use it, and the chain's own methods, which begin with `devchain_`.
//!
//! A method is a row of a table: its name, the names of its parameters, the function. To add one, add a row to the
//! module it belongs to. [`handle`] is the whole RPC without the HTTP around it.

mod args;
mod blocks;
mod control;
mod mining;
mod node;
mod pool;
mod raw;

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use super::{DevChain, MAX_BLOCKS_PER_CALL, UnknownMethod};
use args::Args;

/// How many calls a batch may hold.
const MAX_BATCH: usize = 1_000;

/// An error of a call: bitcoind's code and a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcError {
    pub code: i32,
    pub message: String,
}

impl RpcError {
    const MISC: i32 = -1;
    const TYPE: i32 = -3;
    const NOT_FOUND: i32 = -5;
    const INVALID_PARAMETER: i32 = -8;
    const DESERIALIZATION: i32 = -22;
    const VERIFY: i32 = -25;
    const VERIFY_REJECTED: i32 = -26;
    const ALREADY_IN_CHAIN: i32 = -27;
    const INVALID_REQUEST: i32 = -32600;
    const METHOD_NOT_FOUND: i32 = -32601;
    const INTERNAL: i32 = -32603;
    const PARSE: i32 = -32700;

    fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

type Outcome = Result<Value, RpcError>;

/// What a method may use.
struct Context<'a> {
    chain: &'a DevChain,
    /// How many blocks the request may still mine, over all calls of its batch.
    blocks_left: &'a Cell<u32>,
}

impl Context<'_> {
    /// Takes blocks from what the request may mine.
    fn claim_blocks(&self, blocks: u32) -> Result<(), RpcError> {
        let left = self.blocks_left.get().checked_sub(blocks).ok_or_else(|| {
            let text = format!("one request mines at most {MAX_BLOCKS_PER_CALL} blocks: ask several times");
            RpcError::new(RpcError::INVALID_PARAMETER, text)
        })?;
        self.blocks_left.set(left);
        Ok(())
    }
}

/// A method of the RPC.
struct Method {
    name: &'static str,
    params: &'static [&'static str],
    run: fn(&Context<'_>, &Args) -> Outcome,
}

/// All methods. What is not here does not exist: lnd tells bitcoind from btcd by `getinfo` not existing.
const TABLES: [&[Method]; 6] =
    [blocks::METHODS, raw::METHODS, pool::METHODS, mining::METHODS, node::METHODS, control::METHODS];

fn methods() -> impl Iterator<Item = &'static Method> {
    TABLES.into_iter().flatten()
}

fn find(name: &str) -> Option<&'static Method> {
    methods().find(|method| method.name == name)
}

pub(super) fn method_name(name: &str) -> Result<&'static str, UnknownMethod> {
    find(name).map(|method| method.name).ok_or_else(|| UnknownMethod { method: name.to_owned() })
}

/// Answers the body of a request, a call or a batch of calls, with the body of a response: empty if the request asks for
/// none. Never fails and never waits.
pub fn handle(chain: &DevChain, body: &[u8]) -> Vec<u8> {
    Request::parse(body).answer(chain)
}

/// A request that was read, but not answered.
#[derive(Debug)]
pub struct Request(Content);

#[derive(Debug)]
enum Content {
    Single(Call),
    Batch(Vec<Call>),
    Unreadable(RpcError),
}

#[derive(Debug)]
struct Call {
    id: Option<Value>,
    /// Whether the call follows JSON-RPC 2.0 and not the loose form of 1.0.
    strict: bool,
    content: Result<(String, Value), RpcError>,
}

impl Request {
    /// Reads a request. What cannot be read becomes one whose answer says so.
    pub fn parse(body: &[u8]) -> Self {
        Self(match serde_json::from_slice(body) {
            Err(_) => Content::Unreadable(RpcError::new(RpcError::PARSE, "Parse error")),
            Ok(Value::Array(calls)) if calls.len() > MAX_BATCH => {
                let text = format!("a batch has at most {MAX_BATCH} calls, not {}", calls.len());
                Content::Unreadable(RpcError::new(RpcError::INVALID_REQUEST, text))
            }
            Ok(Value::Array(calls)) => Content::Batch(calls.into_iter().map(Call::read).collect()),
            Ok(call @ Value::Object(_)) => Content::Single(Call::read(call)),
            Ok(_) => Content::Unreadable(RpcError::new(RpcError::PARSE, "Top-level object parse error")),
        })
    }

    /// How long to wait before the answer, for the delays that were set.
    pub fn delay(&self, chain: &DevChain) -> Duration {
        let calls = match &self.0 {
            Content::Single(call) => std::slice::from_ref(call),
            Content::Batch(calls) => calls,
            Content::Unreadable(_) => &[],
        };
        let faults = chain.faults();
        calls
            .iter()
            .filter_map(|call| call.content.as_ref().ok())
            .map(|(method, _)| faults.delay(method))
            .sum()
    }

    /// Runs the calls and gives the body of the response.
    pub fn answer(self, chain: &DevChain) -> Vec<u8> {
        let blocks_left = Cell::new(MAX_BLOCKS_PER_CALL);
        let context = Context { chain, blocks_left: &blocks_left };
        let answer = match self.0 {
            Content::Single(call) => call.answer(&context),
            Content::Batch(calls) if calls.is_empty() => Some(json!([])),
            Content::Batch(calls) => {
                let answers: Vec<_> = calls.into_iter().filter_map(|call| call.answer(&context)).collect();
                (!answers.is_empty()).then_some(Value::Array(answers))
            }
            Content::Unreadable(error) => Some(response(Some(Value::Null), false, Err(error))),
        };
        answer.map(|answer| answer.to_string().into_bytes()).unwrap_or_default()
    }
}

impl Call {
    fn read(call: Value) -> Self {
        let invalid = |text: &str| RpcError::new(RpcError::INVALID_REQUEST, text);
        let Value::Object(mut call) = call else {
            return Self { id: None, strict: false, content: Err(invalid("Invalid Request object")) };
        };
        let id = call.remove("id");
        let strict = call.get("jsonrpc").is_some_and(|version| version == "2.0");
        let content = match (call.remove("method"), call.remove("params")) {
            (None | Some(Value::Null), _) => Err(invalid("Missing method")),
            (Some(Value::String(method)), None | Some(Value::Null)) => Ok((method, json!([]))),
            (Some(Value::String(method)), Some(params @ (Value::Array(_) | Value::Object(_)))) => {
                Ok((method, params))
            }
            (Some(Value::String(_)), Some(_)) => Err(invalid("Params must be an array or object")),
            (Some(_), _) => Err(invalid("Method must be a string")),
        };
        Self { id, strict, content }
    }

    fn answer(self, context: &Context<'_>) -> Option<Value> {
        let outcome = self.content.and_then(|(method, params)| {
            let outcome = run(context, &method, params);
            let code = outcome.as_ref().err().map(|error| error.code);
            context.chain.faults().record(&method, SystemTime::now(), code);
            outcome
        });
        // A call of version 2.0 without an id asks for no answer.
        (!self.strict || self.id.is_some()).then(|| response(self.id, self.strict, outcome))
    }
}

fn run(context: &Context<'_>, name: &str, params: Value) -> Outcome {
    let method = find(name).ok_or_else(|| RpcError::new(RpcError::METHOD_NOT_FOUND, "Method not found"))?;
    if let Some(code) = context.chain.faults().begin(method.name) {
        return Err(RpcError::new(code, "this call was told to fail"));
    }
    (method.run)(context, &Args::read(method.params, params)?)
}

fn response(id: Option<Value>, strict: bool, outcome: Outcome) -> Value {
    let mut response = Map::new();
    if strict {
        response.insert("jsonrpc".to_owned(), "2.0".into());
    }
    match outcome {
        Ok(result) => {
            response.insert("result".to_owned(), result);
            if !strict {
                response.insert("error".to_owned(), Value::Null);
            }
        }
        Err(error) => {
            if !strict {
                response.insert("result".to_owned(), Value::Null);
            }
            let error = json!({ "code": error.code, "message": error.message });
            response.insert("error".to_owned(), error);
        }
    }
    response.insert("id".to_owned(), id.unwrap_or(Value::Null));
    Value::Object(response)
}
