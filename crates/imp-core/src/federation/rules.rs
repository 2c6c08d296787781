//! What the owner of a node decided about federation.

use std::collections::BTreeSet;

use super::Rights;
use crate::id::NodeId;

/// Which requests are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// All of them; their senders keep the rights of strangers.
    #[default]
    Auto,
    /// Those that the owner accepts.
    Manual,
    /// Those of listed nodes; others are rejected.
    Allowlist,
}

/// The rules of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Which requests are accepted.
    pub policy: Policy,
    /// Who is accepted by [`Policy::Allowlist`].
    pub allowlist: BTreeSet<NodeId>,
    /// What federated nodes may do, but those that were accepted by [`Policy::Auto`].
    pub peer_rights: Rights,
    /// What everybody else may do.
    pub stranger_rights: Rights,
    /// How long a federation lasts, at most, in seconds; within [`super::TTL_SECS`].
    pub ttl_secs: u64,
    /// What this node calls itself, or nothing.
    pub imp_id: String,
}

impl Policy {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Manual, Self::Allowlist];

    /// The name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Manual => "manual",
            Self::Allowlist => "allowlist",
        }
    }

    /// The policy with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == name)
    }
}

impl Default for Rules {
    /// As with an empty configuration: everybody is accepted, and everything allowed.
    fn default() -> Self {
        Self {
            policy: Policy::Auto,
            allowlist: BTreeSet::new(),
            peer_rights: Rights::ALL,
            stranger_rights: Rights::ALL,
            ttl_secs: 31_560_000,
            imp_id: String::new(),
        }
    }
}
