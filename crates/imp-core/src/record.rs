//! Lightning custom records: which one carries which service.

use std::fmt;

use thiserror::Error;

/// What a message between nodes belongs to. Its name is the `serviceType` of an event (2021 API).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Federation between nodes.
    Federate,
    /// WireGuard contracts.
    Vpn,
    /// Text messages.
    Message,
    /// UDP relays.
    Socket,
    /// Signatures; local, but it has a record number in every configuration of 2021.
    Sign,
}

impl Service {
    /// Every service, in the order of the sample configuration of 2021.
    pub const ALL: [Self; 5] = [Self::Federate, Self::Vpn, Self::Message, Self::Socket, Self::Sign];

    /// The service's name in configuration and events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Federate => "federate",
            Self::Vpn => "vpn",
            Self::Message => "message",
            Self::Socket => "socket",
            Self::Sign => "sign",
        }
    }

    /// The service with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }

    /// The `custom_record_number` of the sample configuration of 2021.
    pub const fn default_record_number(self) -> u64 {
        match self {
            Self::Federate => 100_000,
            Self::Vpn => 200_000,
            Self::Message => 400_000,
            Self::Socket => 500_000,
            Self::Sign => 800_000,
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The type number of a custom record as it is sent: odd, because LDK refuses payments with unknown even records and
/// because the refusal makes senders forget the receiver's channel ("it's ok to be odd", BOLT 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordType(u64);

/// Why a configured record number cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordTypeError {
    /// Below the range that BOLT 4 leaves to applications.
    #[error("{0} is below 65536, the first number that applications may use")]
    Reserved(u64),
    /// Eight bytes on the wire, which the size limits do not allow for.
    #[error("{0} is not below 2^32")]
    TooLarge(u64),
    /// Another protocol uses this record in keysends.
    #[error("{0} belongs to another protocol")]
    Taken(u64),
    /// Two services would share a record.
    #[error("the numbers of {0} and {1} are the same once made odd")]
    Shared(Service, Service),
}

/// 77777: LDK takes it for an invoice request. 106823: LND's accountability signal.
const TAKEN: [u64; 2] = [77_777, 106_823];

impl RecordType {
    /// The record for a configured `custom_record_number`.
    pub const fn from_configured(number: u64) -> Result<Self, RecordTypeError> {
        if number < 65_536 {
            return Err(RecordTypeError::Reserved(number));
        }
        if number >= 1 << 32 {
            return Err(RecordTypeError::TooLarge(number));
        }
        let odd = number | 1;
        if odd == TAKEN[0] || odd == TAKEN[1] {
            return Err(RecordTypeError::Taken(number));
        }
        Ok(Self(odd))
    }

    /// The number on the wire.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// Whether a record found in a payment is this one: the even spelling is read where a backend hands it over.
    pub const fn matches(self, number: u64) -> bool {
        number | 1 == self.0
    }
}

/// Which record carries which service: the same at both ends of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordTable([(Service, RecordType); 5]);

impl RecordTable {
    /// The table for configured numbers; a service that is not named keeps its default.
    pub fn new(configured: &[(Service, u64)]) -> Result<Self, RecordTypeError> {
        let mut table = [(Service::Federate, RecordType(1)); 5];
        for (row, service) in table.iter_mut().zip(Service::ALL) {
            let number = configured
                .iter()
                .find(|(named, _)| *named == service)
                .map_or(service.default_record_number(), |(_, number)| *number);
            *row = (service, RecordType::from_configured(number)?);
        }
        for (at, (service, record)) in table.iter().enumerate() {
            if let Some((other, _)) = table[..at].iter().find(|(_, taken)| taken == record) {
                return Err(RecordTypeError::Shared(*other, *service));
            }
        }
        Ok(Self(table))
    }

    /// The record that carries a service.
    pub fn record_type(&self, service: Service) -> RecordType {
        self.0.iter().find(|(listed, _)| *listed == service).map_or(self.0[0].1, |(_, record)| *record)
    }

    /// The service whose record a payment brought, and the record's bytes. The odd record counts where both are there.
    pub fn find<'r>(&self, records: &'r [(u64, Vec<u8>)]) -> Option<(Service, RecordType, &'r [u8])> {
        self.0.iter().find_map(|(service, record)| {
            let odd = records.iter().find(|(number, _)| *number == record.0);
            let found = odd.or_else(|| records.iter().find(|(number, _)| record.matches(*number)))?;
            Some((*service, *record, found.1.as_slice()))
        })
    }
}

impl Default for RecordTable {
    /// The numbers of the sample configuration of 2021.
    fn default() -> Self {
        Self(Service::ALL.map(|service| (service, RecordType(service.default_record_number() | 1))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_table_is_what_an_empty_configuration_gives() {
        assert_eq!(RecordTable::new(&[]), Ok(RecordTable::default()));
        assert_eq!(RecordTable::default().record_type(Service::Message).number(), 400_001);
    }

    #[test]
    fn unusable_numbers_are_refused() {
        assert_eq!(RecordType::from_configured(65_535), Err(RecordTypeError::Reserved(65_535)));
        assert_eq!(RecordType::from_configured(77_776), Err(RecordTypeError::Taken(77_776)));
        assert_eq!(RecordType::from_configured(106_823), Err(RecordTypeError::Taken(106_823)));
        assert_eq!(RecordType::from_configured(1 << 32), Err(RecordTypeError::TooLarge(1 << 32)));
        assert!(RecordType::from_configured(u32::MAX.into()).is_ok());
    }

    #[test]
    fn numbers_that_meet_once_made_odd_are_refused() {
        let table = RecordTable::new(&[(Service::Vpn, 400_001)]);
        assert_eq!(table, Err(RecordTypeError::Shared(Service::Vpn, Service::Message)));
    }

    #[test]
    fn the_odd_record_counts_where_both_are_there() {
        let records = [(400_000, b"even".to_vec()), (400_001, b"odd".to_vec())];
        let table = RecordTable::default();
        let (service, _, bytes) = table.find(&records).unwrap();
        assert_eq!((service, bytes), (Service::Message, b"odd".as_slice()));
        assert_eq!(table.find(&records[..1]).unwrap().2, b"even");
        assert!(table.find(&[(5_482_373_484, vec![0; 32])]).is_none());
    }
}
