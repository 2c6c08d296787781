//! The cases, in the order in which they run.

mod addresses;
mod ends;
mod far_end;
mod iperf;
mod many;
mod net;
mod restarts;
mod strangers;
mod talk;

use imp_devnet::netns::is_in_path;

use crate::harness::{Case, cases};
use crate::internet::Internet;
use crate::lab::Lab;

pub(crate) fn all() -> Vec<Case<Lab>> {
    cases![
        net::routers_hide_their_users,
        talk::programs_behind_two_routers_talk_both_ways_unchanged,
        talk::many_packets_at_once_arrive_both_ways,
        talk::the_relay_of_start_socket_is_one_like_others_until_it_is_stopped,
        #[lacks = iperf3]
        iperf::iperf3_measures_the_relay,
        strangers::a_stranger_reaches_neither_side,
        strangers::who_poses_as_a_user_with_another_port_is_a_stranger,
        strangers::private_sources_are_not_let_in,
        strangers::a_relay_with_a_token_is_closed_to_who_does_not_have_it,
        strangers::a_first_packet_of_a_stranger_holds_a_side_for_ten_seconds_at_most,
        ends::a_relay_that_is_stopped_refuses_packets,
        ends::a_relay_without_packets_ends,
        ends::a_side_that_is_silent_is_sent_nothing,
        ends::a_relay_ends_with_its_packets,
        restarts::a_stop_and_a_kill_of_the_node_go_unnoticed,
        restarts::a_port_that_was_taken_meanwhile_ends_its_relay,
        many::a_thousand_relays_work_at_once,
        many::ports_that_are_used_up_are_told_and_come_back,
        addresses::a_user_whose_address_changes_is_let_in_once_the_old_one_is_silent,
        addresses::answers_come_from_the_address_that_was_reached,
        #[lacks = ipv6]
        addresses::users_of_ipv6_talk_with_each_other_and_with_users_of_ipv4,
        #[lacks = ipv6]
        addresses::private_sources_of_ipv6_are_not_let_in,
        far_end::a_node_behind_a_router_joins_a_relay_for_a_local_program,
    ]
}

fn iperf3(_: &Internet) -> Option<String> {
    (!is_in_path("iperf3")).then(|| "there is no program iperf3: install iperf3".to_owned())
}

fn ipv6(internet: &Internet) -> Option<String> {
    (!internet.has_ipv6).then(|| "this machine has no IPv6".to_owned())
}
