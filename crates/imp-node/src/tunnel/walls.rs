//! Lets nothing in by a tunnel that this machine has not asked for: its services are hidden behind a router, as a rule, and the
//! seller is a stranger on this side of it.

use super::TunnelError;
use super::dns::run;
use crate::host::programs;

/// Pings that are answered in a second.
const PINGS_PER_SEC: u32 = 20;

/// Puts the rules of an interface, which need not be there yet.
pub(super) async fn put(interface: &str) -> Result<(), TunnelError> {
    nft("put the rules of the tunnel", &rules(interface)).await
}

/// Takes them away, whether or not they are there.
pub(super) async fn remove(interface: &str) -> Result<(), TunnelError> {
    nft("take away the rules of the tunnel", &removal(interface)).await
}

async fn nft(what: &str, rules: &str) -> Result<(), TunnelError> {
    let Some(program) = programs::find("nft") else {
        let message = "there is no program `nft`: install the package nftables".to_owned();
        return Err(TunnelError::Rules { what: what.to_owned(), message });
    };
    run(what, Some(&program), &["-f", "-"], rules).await.map_err(|error| match error {
        TunnelError::Dns { what, message } => TunnelError::Rules { what, message },
        other => other,
    })
}

fn removal(interface: &str) -> String {
    // What is not there cannot be deleted; what is there can be added.
    format!("add table inet imp_{interface}\ndelete table inet imp_{interface}\n")
}

fn rules(interface: &str) -> String {
    let removal = removal(interface);
    format!(
        "{removal}table inet imp_{interface} {{
    chain input {{
        type filter hook input priority -10; policy accept;
        iifname != \"{interface}\" accept
        ct state established,related accept
        icmp type echo-request limit rate {PINGS_PER_SEC}/second accept
        drop
    }}
    chain forward {{
        type filter hook forward priority -10; policy accept;
        iifname != \"{interface}\" accept
        ct state established,related accept
        drop
    }}
}}
"
    )
}
