//! Whether the addresses of buyers are free on this machine.

use ipnet::Ipv4Net;

use super::{ExitError, ExitSpec};
use crate::host::routes::Route;

/// The first route that leads to addresses of buyers already. The default route leads to all of them, and that of the
/// interface itself may be there from before.
pub(super) fn check(spec: &ExitSpec, routes: &[Route]) -> Result<(), ExitError> {
    for subnet in spec.networks() {
        let Some(route) = overlapping(subnet, &spec.interface, routes) else { continue };
        let route = route.to_string();
        return Err(match subnet == spec.subnet {
            true => ExitError::Overlap { subnet, route },
            false => ExitError::OverlapsEarlier { subnet, route },
        });
    }
    Ok(())
}

fn overlapping<'a>(subnet: Ipv4Net, interface: &str, routes: &'a [Route]) -> Option<&'a Route> {
    let overlaps = |one: Ipv4Net, other: Ipv4Net| one.contains(&other) || other.contains(&one);
    let others = routes.iter().filter(|route| !route.is_default() && !route.is_only_by(interface));
    let mut overlapping: Vec<&Route> = others.filter(|route| overlaps(route.to, subnet)).collect();
    // The route itself is told before the addresses that come with it.
    overlapping.sort_by_key(|route| !route.is_unicast);
    overlapping.first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(routes: &[Route]) -> Option<&Route> {
        overlapping("10.7.0.0/24".parse().unwrap(), "imp0", routes)
    }

    fn route(to: &str, interfaces: &[&str]) -> Route {
        Route {
            to: to.parse().unwrap(),
            table: 254,
            interfaces: interfaces.iter().map(|&name| name.to_owned()).collect(),
            gateway: None,
            is_unicast: true,
            is_link: true,
        }
    }

    #[test]
    fn a_route_inside_around_or_equal_to_the_subnet_overlaps() {
        for to in ["10.7.0.0/24", "10.7.0.128/25", "10.7.0.9/32", "10.0.0.0/8", "0.0.0.0/1"] {
            let routes = [route("0.0.0.0/0", &["eth0"]), route(to, &["eth0"])];
            assert_eq!(found(&routes), Some(&routes[1]), "{to}");
        }
    }

    #[test]
    fn neighbours_the_default_route_and_those_of_the_interface_do_not_overlap() {
        let routes = [
            route("0.0.0.0/0", &["eth0"]),
            route("10.6.255.0/24", &["eth0"]),
            route("10.7.1.0/24", &["eth0"]),
            route("10.7.0.0/24", &["imp0"]),
        ];
        assert_eq!(found(&routes), None);
    }

    #[test]
    fn a_route_that_leads_nowhere_or_by_several_interfaces_overlaps() {
        for interfaces in [&[][..], &["imp0", "eth0"]] {
            let routes = [route("10.7.0.0/16", interfaces)];
            assert_eq!(found(&routes), Some(&routes[0]));
        }
    }

    #[test]
    fn it_is_said_whether_the_network_is_that_of_today() {
        let spec = ExitSpec {
            interface: "imp0".to_owned(),
            subnet: "10.7.0.0/24".parse().unwrap(),
            earlier: vec!["10.8.0.0/24".parse().unwrap()],
            allowed: Vec::new(),
            bytes_per_sec: None,
        };
        assert!(check(&spec, &[route("10.9.0.0/16", &["eth0"])]).is_ok());
        let of_today = check(&spec, &[route("10.7.0.9/32", &["eth0"])]).unwrap_err();
        assert!(matches!(of_today, ExitError::Overlap { subnet, .. } if subnet == spec.subnet), "{of_today}");
        let earlier = check(&spec, &[route("10.8.0.9/32", &["eth0"])]).unwrap_err();
        assert!(
            matches!(&earlier, ExitError::OverlapsEarlier { subnet, route }
            if *subnet == spec.earlier[0] && route == "10.8.0.9/32 dev eth0"),
            "{earlier}"
        );
    }
}
