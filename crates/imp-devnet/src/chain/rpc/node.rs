//! Methods about the node that the chain pretends to be.

use bitcoin::Amount;
use serde_json::{Value, json};

use super::args::Args;
use super::{Context, Method, Outcome, RpcError, methods};

pub(super) const METHODS: &[Method] = &[
    Method { name: "estimatesmartfee", params: &["conf_target", "estimate_mode"], run: estimate_smart_fee },
    Method { name: "getnetworkinfo", params: &[], run: get_network_info },
    Method { name: "getpeerinfo", params: &[], run: empty_list },
    Method { name: "getzmqnotifications", params: &[], run: empty_list },
    Method { name: "help", params: &["command"], run: help },
    Method { name: "uptime", params: &[], run: uptime },
];

/// The bitcoind whose behaviour is followed.
const VERSION: u32 = 290_000;
const SUBVERSION: &str = "/Satoshi:29.0.0/";

fn estimate_smart_fee(context: &Context<'_>, args: &Args) -> Outcome {
    let target = args.u64(0)?;
    if !(1..=1008).contains(&target) {
        let text = "Invalid conf_target, must be between 1 and 1008";
        return Err(RpcError::new(RpcError::INVALID_PARAMETER, text));
    }
    if !args.is_absent(1) {
        let mode = args.text(1)?.to_ascii_lowercase();
        if !["unset", "economical", "conservative"].contains(&mode.as_str()) {
            let text = "Invalid estimate_mode parameter, must be one of: \"unset\", \"economical\", \"conservative\"";
            return Err(RpcError::new(RpcError::INVALID_PARAMETER, text));
        }
    }
    let sat_per_kwu = context.chain.state().feerate.to_sat_per_kwu();
    let feerate = Amount::from_sat(sat_per_kwu.saturating_mul(4));
    Ok(json!({ "feerate": feerate.to_btc(), "blocks": target }))
}

fn get_network_info(_: &Context<'_>, _: &Args) -> Outcome {
    let relay_fee = super::pool::min_relay_btc_per_kvb();
    Ok(json!({
        "version": VERSION,
        "subversion": SUBVERSION,
        "protocolversion": 70016,
        "localservices": "0000000000000409",
        "localservicesnames": ["NETWORK", "WITNESS", "NETWORK_LIMITED"],
        "localrelay": true,
        "timeoffset": 0,
        "networkactive": true,
        "connections": 0,
        "connections_in": 0,
        "connections_out": 0,
        "networks": [],
        "relayfee": relay_fee,
        "incrementalfee": relay_fee,
        "localaddresses": [],
        "warnings": [],
    }))
}

fn empty_list(_: &Context<'_>, _: &Args) -> Outcome {
    Ok(json!([]))
}

fn uptime(context: &Context<'_>, _: &Args) -> Outcome {
    Ok(json!(context.chain.shared.started.elapsed().as_secs()))
}

fn help(_: &Context<'_>, args: &Args) -> Outcome {
    let asked = if args.is_absent(0) { None } else { Some(args.text(0)?) };
    let lines: Vec<String> = methods()
        .filter(|method| asked.is_none_or(|name| name == method.name))
        .map(|method| [&[method.name], method.params].concat().join(" "))
        .collect();
    if lines.is_empty() {
        return Ok(json!(format!("help: unknown command: {}", asked.unwrap_or_default())));
    }
    Ok(Value::String(lines.join("\n")))
}
