//! The names of where a peer stands, and why.

/// How a node stands to another. The names are those of the API and of the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum State {
    /// Never federated.
    #[default]
    None,
    /// This node asked.
    Requested,
    /// The peer asked, and the owner has not decided.
    Pending,
    /// Federated.
    Federated,
    /// One of the two ended it.
    Left,
    /// One of the two said no.
    Rejected,
    /// Its time ran out.
    Expired,
}

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedBy {
    /// This node.
    Us,
    /// The peer.
    Them,
    /// Each the other.
    Both,
}

/// Why a federated node has the rights that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Everybody is accepted.
    Auto,
    /// This node asked.
    Request,
    /// The owner accepted it.
    Manual,
    /// It is listed.
    Allowlist,
}

/// Who asked, once `asker` did too.
pub(super) fn asked_too(before: Option<AskedBy>, asker: AskedBy) -> Option<AskedBy> {
    match before {
        Some(before) if before != asker => Some(AskedBy::Both),
        _ => Some(asker),
    }
}

impl State {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Requested,
        Self::Pending,
        Self::Federated,
        Self::Left,
        Self::Rejected,
        Self::Expired,
    ];

    /// The name in the API and in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Requested => "requested",
            Self::Pending => "pending",
            Self::Federated => "federated",
            Self::Left => "left",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
        }
    }

    /// The state with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

impl AskedBy {
    /// The name in the API and in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Us => "us",
            Self::Them => "them",
            Self::Both => "both",
        }
    }

    /// The one with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Us, Self::Them, Self::Both].into_iter().find(|asker| asker.name() == name)
    }
}

impl Standing {
    /// The name in the API and in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Request => "request",
            Self::Manual => "manual",
            Self::Allowlist => "allowlist",
        }
    }

    /// The standing with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Auto, Self::Request, Self::Manual, Self::Allowlist]
            .into_iter()
            .find(|standing| standing.name() == name)
    }
}
