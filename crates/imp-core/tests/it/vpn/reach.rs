//! What buyers reach, against the sentence that says it: the networks that are allowed, but of a denied range only what a
//! network inside it names.

use std::net::IpAddr;

use imp_core::vpn::reach::{Reach, denied, split_private};
use ipnet::IpNet;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::any;

fn naive(allowed: &[IpNet], ip: IpAddr) -> bool {
    let range = denied().find(|range| range.contains(&ip));
    allowed.iter().any(|net| net.contains(&ip) && range.is_none_or(|range| range.contains(net)))
}

/// Networks anywhere, and more of them where the rule changes.
fn network() -> impl Strategy<Value = IpNet> {
    prop_oneof![
        any::network(),
        (select(denied().collect::<Vec<_>>()), 0..4_u8, any::<bool>()).prop_map(|(range, bits, wider)| {
            let prefix = range.prefix_len();
            let prefix =
                if wider { prefix.saturating_sub(bits) } else { range.max_prefix_len().min(prefix + bits) };
            IpNet::new(range.addr(), prefix).unwrap().trunc()
        }),
    ]
}

proptest! {
    #[test]
    fn reach_is_what_it_says(
        allowed in vec(network(), 0..12),
        others in vec(any::ip(), 4),
        at in any::<Index>(),
    ) {
        let reach = Reach::new(&allowed);
        let edges = allowed.iter().chain(reach.denied()).flat_map(|net| [net.network(), net.broadcast()]);
        let edges: Vec<IpAddr> = edges.collect();
        for ip in [*at.get(&edges), edges[0], *edges.last().unwrap()].into_iter().chain(others) {
            let ip = ip.to_canonical();
            prop_assert_eq!(reach.permits(ip), naive(&allowed, ip), "{} of {:?}", ip, allowed);
            if let IpAddr::V4(ip) = ip {
                prop_assert_eq!(reach.permits(ip.to_ipv6_mapped().into()), reach.permits(ip.into()));
            }
        }
    }

    #[test]
    fn a_buyer_routes_or_leaves_out_each_network(allowed in vec(network(), 0..12)) {
        let (routes, left_out) = split_private(&allowed);
        prop_assert!(left_out.iter().all(|net| denied().any(|range| range.contains(net))));
        prop_assert!(!routes.iter().any(|net| denied().any(|range| range.contains(net))));
        let mut both = [routes, left_out].concat();
        let mut all = allowed;
        both.sort_unstable();
        all.sort_unstable();
        prop_assert_eq!(both, all);
    }
}
