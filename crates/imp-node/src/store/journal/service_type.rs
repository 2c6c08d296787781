//! What an event belongs to, and sets of that.

use std::fmt;

use imp_core::record::Service;

/// What an event belongs to: its `serviceType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceType {
    /// What came from another node under the record of a service: all that the 2021 API had.
    Record(Service),
    /// Payments and invoices of this node.
    Lightning,
}

impl ServiceType {
    /// Every one.
    pub const ALL: [Self; 6] = [
        Self::Record(Service::Federate),
        Self::Record(Service::Message),
        Self::Record(Service::Sign),
        Self::Record(Service::Socket),
        Self::Record(Service::Vpn),
        Self::Lightning,
    ];

    /// Its name in events and in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Record(service) => service.name(),
            Self::Lightning => "lightning",
        }
    }

    /// The one with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }

    /// Whether the 2021 API had it. Events of the others reach only subscribers that ask for them.
    pub const fn is_original(self) -> bool {
        matches!(self, Self::Record(_))
    }

    fn bit(self) -> u8 {
        let place = Self::ALL.into_iter().position(|service| service == self);
        1 << place.expect("ALL holds every one")
    }
}

impl fmt::Display for ServiceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Service> for ServiceType {
    fn from(service: Service) -> Self {
        Self::Record(service)
    }
}

/// Which events a reader wants.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ServiceSet(u8);

impl ServiceSet {
    /// No events.
    pub const EMPTY: Self = Self(0);

    /// Everything that the 2021 API had: what a reader gets who asks for nothing.
    pub fn original() -> Self {
        ServiceType::ALL.into_iter().filter(|service| service.is_original()).collect()
    }

    /// Every event there is.
    pub fn all() -> Self {
        ServiceType::ALL.into_iter().collect()
    }

    /// Whether the reader wants events of this service.
    pub fn contains(self, service: ServiceType) -> bool {
        self.0 & service.bit() != 0
    }

    /// The events of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it wants nothing.
    pub fn is_empty(self) -> bool {
        self == Self::EMPTY
    }
}

impl FromIterator<ServiceType> for ServiceSet {
    fn from_iter<I: IntoIterator<Item = ServiceType>>(services: I) -> Self {
        Self(services.into_iter().fold(0, |bits, service| bits | service.bit()))
    }
}

impl fmt::Debug for ServiceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(ServiceType::ALL.into_iter().filter(|service| self.contains(*service))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_type_has_a_name_and_a_bit_of_its_own() {
        for service in ServiceType::ALL {
            assert_eq!(ServiceType::from_name(service.name()), Some(service));
            let alone: ServiceSet = [service].into_iter().collect();
            let found = ServiceType::ALL.into_iter().filter(|other| alone.contains(*other));
            assert_eq!(found.collect::<Vec<_>>(), [service]);
        }
        for service in Service::ALL {
            assert!(ServiceSet::original().contains(service.into()), "{service}");
        }
        assert!(!ServiceSet::original().contains(ServiceType::Lightning));
        assert_eq!(
            ServiceSet::original().union([ServiceType::Lightning].into_iter().collect()),
            ServiceSet::all()
        );
    }
}
