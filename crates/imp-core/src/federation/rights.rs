//! What a node may do at another.

use crate::record::Service;

/// What a node may do here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Its messages are published.
    pub messages: bool,
    /// Its UDP relays are published.
    pub sockets: bool,
    /// Its requests for VPN quotes are answered.
    pub vpn_quotes: bool,
    /// Least satoshis of a message, over all its parts: what spam costs its sender.
    pub min_message_sat: u64,
}

/// Why something that came in is not published. The names are those of the API and of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// It brought less than the least amount.
    BelowMinimum,
    /// Its sender may not send such.
    NoRight,
    /// Its sender is blocked.
    Blocked,
}

impl Rights {
    /// Everything is allowed, for any amount.
    pub const ALL: Self = Self { messages: true, sockets: true, vpn_quotes: true, min_message_sat: 0 };

    /// Nothing is allowed.
    pub const NONE: Self = Self { messages: false, sockets: false, vpn_quotes: false, min_message_sat: 0 };

    /// Why a whole message that brought `amount_sat` over all its parts is not published; nothing where it is. What is
    /// said about federation itself takes no right.
    pub const fn deny(&self, service: Service, amount_sat: u64) -> Option<Denial> {
        let may = match service {
            Service::Message => self.messages,
            Service::Socket => self.sockets,
            Service::Vpn => self.vpn_quotes,
            Service::Federate | Service::Sign => true,
        };
        if !may {
            return Some(Denial::NoRight);
        }
        if matches!(service, Service::Message) && amount_sat < self.min_message_sat {
            return Some(Denial::BelowMinimum);
        }
        None
    }
}

impl Default for Rights {
    fn default() -> Self {
        Self::ALL
    }
}

impl Denial {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::BelowMinimum, Self::NoRight, Self::Blocked];

    /// The name in the API and in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BelowMinimum => "below_minimum",
            Self::NoRight => "no_right",
            Self::Blocked => "blocked",
        }
    }

    /// The denial with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|denial| denial.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_has_its_right_and_messages_a_floor() {
        let rights = Rights { min_message_sat: 10, ..Rights::ALL };
        assert_eq!(rights.deny(Service::Message, 9), Some(Denial::BelowMinimum));
        assert_eq!(rights.deny(Service::Message, 10), None);
        assert_eq!(rights.deny(Service::Socket, 1), None);
        for (service, denied) in [
            (Service::Message, Some(Denial::NoRight)),
            (Service::Socket, Some(Denial::NoRight)),
            (Service::Vpn, Some(Denial::NoRight)),
            (Service::Federate, None),
        ] {
            assert_eq!(Rights::NONE.deny(service, 1_000_000), denied, "{service}");
        }
        for denial in Denial::ALL {
            assert_eq!(Denial::from_name(denial.name()), Some(denial));
        }
    }
}
