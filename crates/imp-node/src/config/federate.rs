//! Federation.

use imp_core::federation::{MAX_IMP_ID_BYTES, Policy, Rights, Rules, TTL_SECS};

use super::settings::Settings;

/// The most satoshis that a minimum may be: all bitcoin there will be.
const MAX_SAT: u64 = 21_000_000 * 100_000_000;

/// What rights are called.
const RIGHTS: [&str; 3] = ["messages", "sockets", "vpn_quotes"];

pub(super) fn build(settings: &mut Settings) -> Rules {
    let imp_id = settings.lenient("federate.imp_id", |text| {
        if text.len() > MAX_IMP_ID_BYTES {
            return Err(format!("which is longer than {MAX_IMP_ID_BYTES} bytes"));
        }
        if text.chars().any(char::is_control) {
            return Err("which holds control characters".to_owned());
        }
        Ok(text.to_owned())
    });
    let allowlist = settings.list(
        "federate.allowlist",
        "Write public keys of Lightning nodes, 66 hexadecimal digits each",
        |text| text.parse().map_err(|error| format!("this public key {error}")),
    );
    Rules {
        policy: settings.required("federate.accept", "Write auto, manual or allowlist", |text| {
            Policy::from_name(&text.to_ascii_lowercase()).ok_or_else(|| "there is no such policy".to_owned())
        }),
        allowlist: allowlist.into_iter().collect(),
        peer_rights: rights(settings, "federate.peer_rights", "federate.peer_min_sat"),
        stranger_rights: rights(settings, "federate.stranger_rights", "federate.stranger_min_sat"),
        ttl_secs: settings.number("federate.ttl", TTL_SECS),
        imp_id: imp_id.unwrap_or_default(),
    }
}

fn rights(settings: &mut Settings, list: &str, least: &str) -> Rights {
    let named =
        settings.list(list, "Write some of messages, sockets and vpn_quotes, or [] for none", |text| {
            let text = text.to_ascii_lowercase();
            RIGHTS
                .into_iter()
                .find(|right| **right == text)
                .ok_or_else(|| "there is no such right".to_owned())
        });
    let may = |right| named.contains(&right);
    Rights {
        messages: may("messages"),
        sockets: may("sockets"),
        vpn_quotes: may("vpn_quotes"),
        min_message_sat: settings.number(least, 0..=MAX_SAT),
    }
}
