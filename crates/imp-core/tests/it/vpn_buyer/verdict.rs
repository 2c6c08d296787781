//! What must hold after each step, and what at the end.

use std::time::Duration;

use imp_core::vpn::End;
use imp_core::vpn::buyer::PurchaseState;

use super::world::{Paid, World};

impl World {
    pub(super) fn check(&self) {
        let now = self.now();
        for (nonce, purchase) in &self.purchases {
            let over = matches!(purchase.state, PurchaseState::Refunded | PurchaseState::Failed);
            assert!(!over || purchase.private_key.is_none(), "{purchase:?}");
            assert_eq!(purchase.published_key().is_some(), purchase.state == PurchaseState::Active);
            if let Some(config) = &purchase.config {
                assert_eq!((&config.client_key, &config.nonce), (&purchase.public_key, nonce));
                assert_eq!(config.duration_secs, purchase.quote.duration_secs);
            }
            if purchase.state == PurchaseState::Active {
                let least = purchase.ends.unwrap().since(now).as_secs();
                assert!(least <= 10 * 366 * 24 * 3600);
            }
            let of_it = self.paid.values().filter(|paid| paid.request.nonce() == Some(nonce));
            let sum = |end: fn(&Paid) -> bool| {
                of_it.clone().filter(|paid| end(paid)).map(|paid| paid.post.amount_sat).sum::<u64>()
            };
            let settled = sum(|paid| matches!(paid.end, Some(End::Settled(_))));
            assert!((settled..=sum(|_| true)).contains(&purchase.paid_sat), "{settled} {purchase:?}");
            let auto = sum(|paid| paid.auto && !matches!(paid.end, Some(End::Failed)));
            assert!(auto <= self.auto_limit_sat.get(nonce).copied().unwrap_or(0));
            assert!(self.book.purchase(nonce).is_some_and(|known| known.state == purchase.state));
        }
        assert_eq!(self.book.purchases().count(), self.purchases.len());
        assert_eq!(self.book.quotes().count(), self.quotes.len());
    }

    /// Ends what is open and lets time pass until everything is forgotten.
    pub(super) fn finish(&mut self) {
        for (nonce, purchase) in &self.purchases {
            let back = self.came_back_sat.get(nonce).copied().unwrap_or(0);
            assert!(purchase.refunded_sat <= back, "{purchase:?}");
        }
        let is_open = |paid: &Paid| matches!(paid.end, None | Some(End::Unknown));
        let open: Vec<_> = self.paid.iter().filter(|(_, paid)| is_open(paid)).map(|(id, _)| *id).collect();
        open.into_iter().for_each(|id| self.settle(id));
        let nonces: Vec<_> = self.purchases.keys().cloned().collect();
        nonces.iter().for_each(|nonce| self.auto_refresh(nonce, 0));
        self.pass(Duration::from_secs(10 * 24 * 3600));
        for purchase in self.purchases.values() {
            assert!(purchase.private_key.is_none() && purchase.refresh.is_none(), "{purchase:?}");
        }
        self.pass(Duration::from_secs(120 * 24 * 3600));
        assert!(self.purchases.is_empty() && self.quotes.is_empty() && self.book.next_deadline().is_none());
    }
}
