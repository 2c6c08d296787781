//! Which services answer, and the Lightning record of each.

use imp_core::record::{RecordTable, Service};

use super::fault::Source;
use super::keys::SERVICE_LIST;
use super::number;
use super::settings::Settings;

/// The `service_list` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicesConfig {
    /// Services switched off: their calls answer that.
    pub inactive: Vec<Service>,
    /// The record number of each service.
    pub records: RecordTable,
}

impl ServicesConfig {
    /// Whether the service's calls are answered.
    pub fn is_active(&self, service: Service) -> bool {
        !self.inactive.contains(&service)
    }
}

pub(super) fn build(settings: &mut Settings) -> ServicesConfig {
    let mut inactive = Vec::new();
    let mut numbers = Vec::new();
    for service in Service::ALL {
        if !settings.bool(&format!("{SERVICE_LIST}.{service}.active")) {
            inactive.push(service);
        }
        let key = format!("{SERVICE_LIST}.{service}.custom_record_number");
        let number = settings.required(
            &key,
            "Write a number from 65536 to 4294967295 that no other protocol uses; the peers' nodes need the same one",
            |text| {
                let number = number::whole_number(text)?;
                imp_core::record::RecordType::from_configured(number).map_err(|error| error.to_string())?;
                Ok(number)
            },
        );
        numbers.push((service, number));
    }
    let records = RecordTable::new(&numbers).unwrap_or_else(|error| {
        settings.fault(
            Source::Nowhere,
            SERVICE_LIST,
            None,
            &error.to_string(),
            "Give each service a custom_record_number of its own; an even number and the next odd one are the same",
        );
        RecordTable::default()
    });
    ServicesConfig { inactive, records }
}
