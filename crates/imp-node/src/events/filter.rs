//! What a reader of events asks for, in the words of the API: `service` and `include`.

use crate::error::Error;
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
    let names = list.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(|name| ServiceType::from_name(name).ok_or_else(|| unknown(field, name))).collect()
}

fn unknown(field: &'static str, name: &str) -> Error {
    let known: Vec<&str> = ServiceType::ALL.into_iter().map(ServiceType::name).collect();
    let end = name.char_indices().nth(60).map_or(name.len(), |(end, _)| end);
    Error::invalid(field, format!("there are no events of {:?}, only of {}", &name[..end], known.join(", ")))
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
            assert!(
                refused.to_string().starts_with(&format!("{field}: there are no events of ")),
                "{refused}"
            );
            assert!(refused.to_string().contains("message, sign, socket, vpn, lightning"), "{refused}");
        }
        let long = wanted(Some(&"é".repeat(1000)), None).unwrap_err();
        assert!(long.to_string().len() < 300, "{long}");
    }
}
