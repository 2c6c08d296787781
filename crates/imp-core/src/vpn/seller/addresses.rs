//! The addresses of buyers.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use ipnet::Ipv4Net;

use crate::vpn::Nonce;

/// Which contract has which address. A network of buyers may have millions of addresses: only those in use are looked at.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    /// What may be given out: without the network's own address, the server's, which is the first, and broadcast.
    range: RangeInclusive<u32>,
    leased: BTreeMap<u32, Nonce>,
    /// All below are leased.
    from: u32,
}

impl Addresses {
    pub(super) fn new(subnet: Ipv4Net) -> Self {
        let (first, last) = (u32::from(subnet.network()), u32::from(subnet.broadcast()));
        let first = first.saturating_add(2);
        Self { range: first..=last.saturating_sub(1), leased: BTreeMap::new(), from: first }
    }

    /// Another network from now on: what is leased stays leased.
    pub(super) fn move_to(&mut self, subnet: Ipv4Net) {
        *self = Self { leased: std::mem::take(&mut self.leased), ..Self::new(subnet) };
    }

    /// The lowest free address.
    pub(super) fn lowest_free(&self) -> Option<Ipv4Addr> {
        let mut lowest = self.from;
        for leased in self.leased.range(self.from..).map(|(address, _)| *address) {
            if leased != lowest {
                break;
            }
            lowest = lowest.checked_add(1)?;
        }
        self.range.contains(&lowest).then(|| lowest.into())
    }

    /// How many are free.
    pub(super) fn free(&self) -> u64 {
        if self.range.is_empty() {
            return 0;
        }
        let size = u64::from(self.range.end() - self.range.start()) + 1;
        size - self.leased.range(self.range.clone()).count() as u64
    }

    pub(super) fn lease(&mut self, address: Ipv4Addr, nonce: Nonce) {
        self.leased.insert(address.into(), nonce);
        if let Some(lowest) = self.lowest_free() {
            self.from = lowest.into();
        }
    }

    /// Frees the address, if it is this contract's.
    pub(super) fn release(&mut self, address: Ipv4Addr, nonce: &Nonce) {
        let address = u32::from(address);
        if self.leased.get(&address) == Some(nonce) {
            self.leased.remove(&address);
            if self.range.contains(&address) {
                self.from = self.from.min(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonce(text: &str) -> Nonce {
        text.parse().unwrap()
    }

    #[test]
    fn the_lowest_free_address_is_next_and_neither_the_servers_nor_broadcast() {
        let mut addresses = Addresses::new("10.0.0.0/29".parse().unwrap());
        assert_eq!(addresses.free(), 5);
        for last in 2..=6 {
            let address = addresses.lowest_free().unwrap();
            assert_eq!(address, Ipv4Addr::new(10, 0, 0, last));
            addresses.lease(address, nonce("n"));
        }
        assert_eq!((addresses.lowest_free(), addresses.free()), (None, 0));
        addresses.release(Ipv4Addr::new(10, 0, 0, 4), &nonce("n"));
        assert_eq!(addresses.lowest_free(), Some(Ipv4Addr::new(10, 0, 0, 4)));
    }

    #[test]
    fn an_address_is_released_by_its_holder_only() {
        let mut addresses = Addresses::new("10.0.0.0/30".parse().unwrap());
        addresses.lease(Ipv4Addr::new(10, 0, 0, 2), nonce("a"));
        addresses.release(Ipv4Addr::new(10, 0, 0, 2), &nonce("b"));
        assert_eq!(addresses.lowest_free(), None);
    }

    #[test]
    fn a_large_network_costs_no_more_than_a_small_one() {
        let mut addresses = Addresses::new("10.0.0.0/8".parse().unwrap());
        for _ in 0..10_000 {
            let address = addresses.lowest_free().unwrap();
            addresses.lease(address, nonce("n"));
        }
        assert_eq!(addresses.free(), (1 << 24) - 3 - 10_000);
    }

    #[test]
    fn addresses_of_an_earlier_network_stay_leased_and_do_not_stand_in_the_way() {
        let mut addresses = Addresses::new("10.0.0.0/30".parse().unwrap());
        addresses.lease(Ipv4Addr::new(10, 0, 0, 2), nonce("a"));
        addresses.move_to("10.9.0.0/30".parse().unwrap());
        assert_eq!(addresses.lowest_free(), Some(Ipv4Addr::new(10, 9, 0, 2)));
        addresses.move_to("10.0.0.0/30".parse().unwrap());
        assert_eq!(addresses.lowest_free(), None);
    }
}
