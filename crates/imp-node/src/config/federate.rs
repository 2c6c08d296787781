//! Federation.

use std::time::Duration;

use super::settings::Settings;

/// The `federate` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FederateConfig {
    /// How long a federation lasts unless it is renewed.
    pub ttl: Duration,
    /// What this node calls itself towards its peers, at most [`MAX_IMP_ID_BYTES`] and without control characters.
    pub imp_id: Option<String>,
}

/// Longest name of a node, in bytes.
pub const MAX_IMP_ID_BYTES: usize = 64;

pub(super) fn build(settings: &mut Settings) -> FederateConfig {
    FederateConfig {
        // A hundred years: no arithmetic on times comes near its limits.
        ttl: Duration::from_secs(settings.number("federate.ttl", 1..=3_155_760_000)),
        imp_id: settings.lenient("federate.imp_id", |text| {
            if text.len() > MAX_IMP_ID_BYTES {
                return Err(format!("which is longer than {MAX_IMP_ID_BYTES} bytes"));
            }
            if text.chars().any(char::is_control) {
                return Err("which holds control characters".to_owned());
            }
            Ok(text.to_owned())
        }),
    }
}
