//! The cases, in the order in which they run.

mod buying;
mod crashes;
mod device;
mod own;
mod person;
mod stop;
mod through;
mod time;
mod walls;

use crate::harness::{Case, cases};
use crate::lab::Lab;
use crate::tools::missing;

pub(crate) fn all() -> Vec<Case<Lab>> {
    cases![
        #[lacks = missing]
        buying::nothing_passes_before_it_is_paid_for,
        buying::a_contract_is_told_to_both_sides,
        buying::what_cannot_be_served_is_not_paid_for,
        buying::the_command_line_buys,
        #[lacks = missing]
        through::the_tools_of_wireguard_go_through_a_contract,
        #[lacks = missing]
        own::a_tunnel_of_the_node_goes_up_and_leaves_nothing_behind,
        #[lacks = missing]
        own::a_tunnel_of_a_node_that_was_killed_leaves_nothing_behind,
        #[lacks = missing]
        walls::buyers_reach_neither_each_other_nor_the_sellers_machine,
        #[lacks = missing]
        walls::private_networks_and_mail_are_out_of_reach,
        #[lacks = missing]
        device::peers_that_somebody_changed_by_hand_are_put_right,
        #[lacks = missing]
        stop::rules_outlive_a_crash_and_go_with_a_stop,
        #[lacks = missing]
        time::a_contract_ends_and_a_refresh_brings_it_back,
        #[lacks = missing]
        time::time_ends_while_chain_and_lightning_are_away,
        crashes::a_seller_that_dies_at_any_commit_serves_or_gives_back,
        crashes::a_buyer_that_dies_at_any_commit_is_served_or_keeps_its_money,
        person::a_user_without_rights_has_such_a_net,
    ]
}
