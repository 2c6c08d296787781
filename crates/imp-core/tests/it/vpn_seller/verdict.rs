//! What must hold after each step, and what at the end.

use std::collections::HashSet;
use std::time::Duration;

use imp_core::amount::Msat;
use imp_core::vpn::seller::{
    Book, Contract, ContractState, LEAST_REFUND_SAT, MAX_OFFERS_OF_ONE, Payment, PaymentState,
};
use imp_core::vpn::{End, Post, Request, Response};
use imp_core::wire::envelope::ReplyTo;
use imp_core::wire::split::split;

use super::world::{Crash, DURATION, Row, Rows, Sent, World};

impl World {
    pub(super) fn check(&self) {
        let (mut addresses, mut keys) = (HashSet::new(), HashSet::new());
        for contract in self.rows.contracts.values().filter(|contract| contract.leased) {
            assert!(addresses.insert(contract.address()), "leased twice: {contract:?}");
            assert!(keys.insert(*contract.client_key()), "key used twice: {contract:?}");
            assert!(self.terms.subnet.hosts().skip(1).any(|host| host == contract.address()), "{contract:?}");
        }
        for peer in self.book.peers() {
            let contract = &self.rows.contracts[&peer.nonce];
            assert!(contract.leased);
            assert_eq!((contract.address(), contract.client_key()), (peer.address, &peer.key));
            let payment = &self.rows.payments[&contract.payment];
            assert_eq!(payment.state, PaymentState::Served, "no service unpaid");
            assert_eq!(payment.received.to_sat_floor(), contract.price_sat);
        }
        for contract in self.rows.contracts.values().filter(|row| row.state == ContractState::RefundDue) {
            assert_eq!(self.rows.payments[&contract.payment].state, PaymentState::RefundDue, "{contract:?}");
        }
        for buyer in self.buyers {
            let open = self.rows.offers.values().filter(|offer| offer.buyer == buyer).count();
            assert!(open <= MAX_OFFERS_OF_ONE);
        }
        let Rows { offers, contracts, payments } = &self.rows;
        let rebuilt = Book::new(
            self.terms.clone(),
            offers.values().cloned().collect(),
            contracts.values().cloned().collect(),
            payments.values().cloned().collect(),
        );
        assert_eq!(rebuilt.next_deadline(), self.book.next_deadline());
        assert_eq!(rebuilt.free_addresses(), self.book.free_addresses());
        assert_eq!(rebuilt.active(), self.book.active());
        assert_eq!(rebuilt.refunds_due(), self.book.refunds_due());
    }

    /// Lets the network work and time pass until nothing is left to do, and says whether everybody got their due.
    pub(super) fn finish(&mut self) {
        self.allowance = true;
        while !self.inbound.is_empty() {
            self.take(Crash::No);
        }
        for _ in 0..5 {
            self.reconcile();
            let open = self.outbox.iter().filter(|(_, sent)| sent.end.is_none());
            for id in open.map(|(id, _)| *id).collect::<Vec<_>>() {
                self.end(id, End::Settled(self.now()), Crash::No);
            }
            self.pass(Duration::from_secs(2 * 3600));
        }
        self.reconcile();
        for row in self.paid.clone() {
            let payment = self.rows.payments.get(&row.hash).cloned();
            self.check_payment(&row, &payment.expect("no payment unanswered"));
        }
        for contract in self.rows.contracts.values() {
            assert!(!contract.leased && !contract.is_wanted(), "{contract:?}");
            self.check_time(contract);
        }
        assert_eq!(self.rows.payments.len(), self.paid.len());
    }

    fn check_payment(&mut self, row: &Row, payment: &Payment) {
        let contract = self.rows.contracts.get(&payment.nonce).filter(|row| row.payment == payment.hash);
        let answers =
            self.outbox.values().filter(|sent| self.answers.get(&sent.post.id) == Some(&payment.hash));
        let may_be_paid = answers.clone().filter(|sent| sent.end != Some(End::Failed));
        let cost: Msat = may_be_paid.map(|sent| most(&sent.post)).sum();
        assert!(cost <= row.amount, "what came pays for all that answers it: {cost:?} of {row:?}");
        let configs = answers.clone().filter(|sent| said(sent).kind() == "CONFIG");
        let withheld_sat = configs.map(|sent| most(&sent.post).to_sat_floor()).sum::<u64>();
        assert!([0, withheld_sat].contains(&payment.withheld_sat));
        let back_sat = row.amount.to_sat_floor().saturating_sub(payment.withheld_sat);
        let settled = answers.filter(|sent| matches!(sent.end, Some(End::Settled(_))));
        let refunds = settled.filter_map(|sent| match said(sent) {
            Response::Refund { .. } => Some(sent.post.clone()),
            _ => None,
        });
        let refunds: Vec<Post> = refunds.collect();
        let was_active = contract.is_some_and(|contract| contract.started.is_some());
        match payment.state {
            PaymentState::Served => {
                assert!(!payment.repeated && !row.blocked);
                assert!(contract.is_none() || was_active);
                assert!(refunds.is_empty(), "never both: {payment:?}");
            }
            PaymentState::Refunded => {
                assert!(!was_active, "never both: {payment:?}");
                let paid_back: Vec<_> = refunds.iter().map(|post| (post.id, post.amount_sat)).collect();
                assert_eq!(paid_back, [(payment.answer_id.unwrap(), payment.refund_sat)]);
                assert!((back_sat * 98 / 100 - 1..=back_sat).contains(&payment.refund_sat));
            }
            PaymentState::Kept => {
                assert!(back_sat < LEAST_REFUND_SAT && !was_active && !payment.is_open());
            }
            PaymentState::RefundDue => {
                let end = payment.answer_id.and_then(|id| self.outbox[&id].end);
                assert_eq!(
                    end,
                    Some(End::Unknown),
                    "only what may have been paid is not paid again: {payment:?}"
                );
            }
        }
        if payment.state != PaymentState::RefundDue && !payment.repeated {
            self.ask_status(row);
        }
    }

    /// Whoever asks again is answered again.
    fn ask_status(&mut self, row: &Row) {
        let before = self.outbox.len();
        self.pass(Duration::from_secs(60));
        let nonce = row.request.nonce().unwrap().clone();
        self.come(row.buyer, Request::Status { nonce, id: row.id }, Msat(1000), false);
        self.take(Crash::No);
        assert_eq!(self.outbox.len(), before + 1, "{row:?}");
        let answer = self.outbox.values_mut().find(|sent| sent.end.is_none()).unwrap();
        assert_eq!(answer.post.reply_to, Some(row.id));
        answer.end = Some(End::Failed);
    }

    /// What was paid for is what was served, but for what clocks were set.
    fn check_time(&self, contract: &Contract) {
        let served = self.served[&contract.nonce].0;
        let paid = DURATION * u32::try_from(contract.paid_sat / contract.price_sat).unwrap();
        if contract.started.is_none() {
            assert_eq!(served, Duration::ZERO);
            return;
        }
        let [ahead, back] = self.jumped;
        assert!(served <= paid + back, "{served:?} of {paid:?}, {back:?} back");
        if contract.bytes_allowed.is_none() {
            assert!(served + ahead >= paid, "{served:?} of {paid:?}, {ahead:?} ahead");
        }
    }
}

fn said(sent: &Sent) -> Response {
    Response::parse(&sent.post.body).unwrap()
}

/// The most that a message costs: what goes with it, and fees.
fn most(post: &Post) -> Msat {
    let reply_to = post.reply_to.and_then(|id| ReplyTo::parse(&id.to_string()).unwrap());
    let parts = split(post.body.as_bytes(), reply_to.as_ref()).unwrap().len() as u64;
    Msat::from_sat(post.amount_sat.max(parts)) + Msat(post.fee_limit.unwrap().0 * parts)
}
