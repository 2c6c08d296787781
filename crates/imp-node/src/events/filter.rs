//! What a reader of events asks for, in the words of the API: `service` and `include`.

use crate::error::Error;
use crate::listing;
use crate::store::journal::{ServiceSet, ServiceType};

/// The events that a reader wants who gave these lists of services, with commas between the names. `service` replaces
/// what everybody gets, and `include` adds to it. Nothing, or only blanks and commas, is as if it was not given.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for a name that is none.
pub fn wanted(service: Option<&str>, include: Option<&str>) -> Result<ServiceSet, Error> {
    let only = names("service", service)?;
    let base = if only.is_empty() { ServiceSet::original() } else { only };
    Ok(base.union(names("include", include)?))
}

fn names(field: &'static str, list: Option<&str>) -> Result<ServiceSet, Error> {
    let services = listing::names(field, list.unwrap_or_default(), &ServiceType::ALL, ServiceType::name)?;
    Ok(services.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use imp_api::error::Code;
    use imp_core::record::Service;

    use super::*;

    fn set(services: &[ServiceType]) -> ServiceSet {
        services.iter().copied().collect()
    }

    #[test]
    fn names_are_trimmed_and_nothing_is_not_an_empty_set() {
        let vpn = ServiceType::Record(Service::Vpn);
        let message = ServiceType::Record(Service::Message);
        for nothing in [None, Some(""), Some(" , ,")] {
            assert_eq!(wanted(nothing, nothing), Ok(ServiceSet::original()), "{nothing:?}");
        }
        assert_eq!(wanted(Some(" vpn ,message,vpn,"), None), Ok(set(&[vpn, message])));
        assert_eq!(wanted(Some("vpn"), Some("message")), Ok(set(&[vpn, message])));
    }

    #[test]
    fn what_2021_did_not_have_comes_to_those_who_ask() {
        let vpn = ServiceType::Record(Service::Vpn);
        assert_eq!(wanted(None, Some("lightning")), Ok(ServiceSet::all()));
        assert_eq!(wanted(Some("lightning"), None), Ok(set(&[ServiceType::Lightning])));
        assert_eq!(wanted(Some("vpn"), Some("lightning")), Ok(set(&[vpn, ServiceType::Lightning])));
    }

    #[test]
    fn a_name_that_is_none_is_refused_with_the_field_and_what_there_is() {
        for (service, include, field) in [
            (Some("vpn,mesage"), None, "service"),
            (None, Some("mesage"), "include"),
            (Some("Vpn"), None, "service"),
        ] {
            let refused = wanted(service, include).unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument);
            assert!(refused.to_string().starts_with(&format!("{field}: there is no ")), "{refused}");
            assert!(refused.to_string().contains("message, sign, socket, vpn, lightning"), "{refused}");
        }
    }
}
