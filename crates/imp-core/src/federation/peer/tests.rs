use super::*;
use crate::federation::{Incoming, Policy, Received};
use crate::id::NodeId;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const DAY: u64 = 24 * 3600;

fn id(byte: u8) -> MessageId {
    MessageId::from_random([byte; 16])
}

fn node() -> NodeId {
    "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798".parse().unwrap()
}

fn rules(policy: Policy) -> Rules {
    let stranger_rights = Rights { sockets: false, min_message_sat: 10, ..Rights::ALL };
    Rules { policy, ttl_secs: 1_000, stranger_rights, imp_id: "me".to_owned(), ..Rules::default() }
}

fn in_secs(secs: u64) -> UnixMillis {
    NOW.plus(Duration::from_secs(secs))
}

fn says(peer: &mut Peer, payload: Payload, reply_to: Option<MessageId>, rules: &Rules) -> Received {
    says_at(peer, payload, reply_to, rules, NOW)
}

fn says_at(
    peer: &mut Peer,
    payload: Payload,
    reply_to: Option<MessageId>,
    rules: &Rules,
    now: UnixMillis,
) -> Received {
    let reply_to = reply_to.map(|id| id.to_string()).unwrap_or_default();
    let incoming = Incoming {
        node: node(),
        id: id(200),
        reply_to: &reply_to,
        payload: &payload,
        late: false,
        now,
        random: 0,
        room_for_pending: true,
    };
    peer.receive(&incoming, rules)
}

fn request(ttl_secs: u64) -> Payload {
    Payload::Request { imp_id: "they".to_owned(), ttl_secs }
}

fn renew(ttl_secs: u64) -> Payload {
    Payload::Renew { imp_id: "they".to_owned(), ttl_secs }
}

fn accept(ttl_secs: u64) -> Payload {
    Payload::Accept { imp_id: "they".to_owned(), ttl_secs, terms: Rights::NONE }
}

fn reject() -> Payload {
    Payload::Reject { reason: "refused".to_owned() }
}

/// A peer that this node asked by `id(1)` and that agreed for 500 s.
fn federated() -> Peer {
    let (mut peer, rules) = (Peer::default(), rules(Policy::Auto));
    peer.request(id(1), &rules, NOW, 0);
    says(&mut peer, accept(500), Some(id(1)), &rules);
    peer
}

#[test]
fn a_request_that_is_accepted_federates_for_the_shorter_time() {
    let (mut peer, rules) = (Peer::default(), rules(Policy::Auto));
    assert_eq!(peer.request(id(1), &rules, NOW, 0), None);
    assert_eq!((peer.state, peer.until), (State::Requested, Some(in_secs(7 * DAY))));
    let received = says(&mut peer, accept(500), Some(id(1)), &rules);
    assert!(received.publish && received.reply.is_none());
    assert_eq!(received.told, [id(1)], "that it was sent is known by the answer");
    assert_eq!((peer.state, peer.standing), (State::Federated, Some(Standing::Request)));
    assert_eq!((peer.asked_by, peer.until), (Some(AskedBy::Us), Some(in_secs(500))));
    assert_eq!((peer.terms, peer.imp_id.as_str()), (Some(Rights::NONE), "they"));
    assert_eq!(peer.rights(&rules), Rights::ALL);
    let mut longer = Peer::default();
    longer.request(id(1), &rules, NOW, 0);
    says(&mut longer, accept(5_000), Some(id(1)), &rules);
    assert_eq!(longer.until, Some(in_secs(1_000)));
}

#[test]
fn each_policy_answers_a_stranger_in_its_way() {
    let mut auto = Peer::default();
    let received = says(&mut auto, request(500), None, &rules(Policy::Auto));
    let terms = rules(Policy::Auto).stranger_rights;
    let acceptance = Payload::Accept { imp_id: "me".to_owned(), ttl_secs: 500, terms };
    assert_eq!((received.publish, received.reply), (true, Some(acceptance)));
    assert_eq!((auto.state, auto.standing), (State::Federated, Some(Standing::Auto)));
    assert_eq!(auto.renew_at, None, "whoever cares renews");

    let mut manual = Peer::default();
    let received = says(&mut manual, request(500), None, &rules(Policy::Manual));
    assert_eq!((received.publish, received.reply), (true, None));
    assert_eq!((manual.state, manual.to_decide), (State::Pending, Some(id(200))));
    assert_eq!(manual.accept(&rules(Policy::Manual), NOW, 0), Some(id(200)));
    assert_eq!((manual.standing, manual.until), (Some(Standing::Manual), Some(in_secs(500))));
    assert_eq!(manual.accept(&rules(Policy::Manual), NOW, 0), None);

    let mut stranger = Peer::default();
    let received = says(&mut stranger, request(500), None, &rules(Policy::Allowlist));
    assert_eq!((stranger.state, received.reply), (State::Rejected, Some(reject())));
    let listed = Rules { allowlist: [node()].into(), ..rules(Policy::Allowlist) };
    says(&mut stranger, request(500), None, &listed);
    assert_eq!((stranger.state, stranger.standing), (State::Federated, Some(Standing::Allowlist)));
}

#[test]
fn a_full_list_of_requests_that_wait_takes_no_more_but_a_repeated_one() {
    let (payload, rules, mut peer) = (request(9), rules(Policy::Manual), Peer::default());
    let incoming = Incoming {
        node: node(),
        id: id(9),
        reply_to: "",
        payload: &payload,
        late: false,
        now: NOW,
        random: 0,
        room_for_pending: false,
    };
    let full = Payload::Reject { reason: "full".to_owned() };
    assert_eq!(peer.receive(&incoming, &rules).reply, Some(full));
    assert_eq!(peer, Peer::default(), "nothing is remembered of it");
    says(&mut peer, request(9), None, &rules);
    assert_eq!(peer.receive(&incoming, &rules).reply, None);
    assert_eq!((peer.state, peer.to_decide), (State::Pending, Some(id(9))));
}

#[test]
fn requests_that_cross_federate_both_sides_at_once() {
    let (mut peer, rules) = (Peer::default(), rules(Policy::Manual));
    peer.request(id(1), &rules, NOW, 0);
    let received = says(&mut peer, request(500), None, &rules);
    assert!(matches!(received.reply, Some(Payload::Accept { terms: Rights::ALL, .. })), "{received:?}");
    assert_eq!((peer.state, peer.standing), (State::Federated, Some(Standing::Request)));
    assert_eq!(peer.asked_by, Some(AskedBy::Both));
    let late = says(&mut peer, reject(), Some(id(1)), &rules);
    assert!(!late.publish && peer.state == State::Federated, "the peer has asked since");
    let answer = says(&mut peer, accept(600), Some(id(1)), &rules);
    assert!(answer.publish && peer.until == Some(in_secs(600)));
}

#[test]
fn a_request_of_the_owner_accepts_what_waits() {
    let (mut peer, rules) = (Peer::default(), rules(Policy::Manual));
    says(&mut peer, request(500), None, &rules);
    assert_eq!(peer.request(id(1), &rules, NOW, 0), Some(id(200)));
    assert_eq!((peer.state, peer.standing), (State::Federated, Some(Standing::Request)));
    assert!(matches!(peer.acceptance(&rules), Payload::Accept { ttl_secs: 500, .. }));
}

#[test]
fn a_request_that_could_not_be_sent_leaves_no_trace() {
    let (mut peer, rules) = (Peer::default(), rules(Policy::Auto));
    peer.request(id(1), &rules, NOW, 0);
    peer.request(id(2), &rules, in_secs(5), 0);
    peer.request_failed(id(1));
    assert_eq!(peer.state, State::Requested, "another one is under way");
    peer.request_failed(id(2));
    assert!(peer.is_blank() && peer.until.is_none());

    let mut left = federated();
    left.leave(in_secs(5));
    let before = left.clone();
    left.request(id(3), &rules, in_secs(9), 0);
    left.request_failed(id(3));
    assert_eq!((left.state, left.since, left.asked_by), (State::Left, before.since, before.asked_by));

    let mut peer = federated();
    peer.request(id(3), &rules, NOW, 0);
    peer.request_failed(id(3));
    assert_eq!(peer.state, State::Federated);
}

#[test]
fn answers_to_nothing_are_ignored() {
    let rules = rules(Policy::Auto);
    for state in [Peer::default(), federated()] {
        for payload in [accept(9), reject(), Payload::Expired] {
            for reply_to in [None, Some(id(77))] {
                let mut peer = state.clone();
                let received = says(&mut peer, payload.clone(), reply_to, &rules);
                assert!(!received.publish && received.ignored.is_some() && received.reply.is_none());
                assert_eq!(peer, state);
            }
        }
    }
    let mut left = federated();
    left.leave(NOW);
    assert!(says(&mut left, accept(9), Some(id(1)), &rules).ignored.is_some());
    assert!(says(&mut left, Payload::Leave, None, &rules).ignored.is_some());
}

#[test]
fn a_rejection_of_an_older_request_ends_nothing() {
    let (mut peer, rules) = (Peer::default(), rules(Policy::Auto));
    peer.request(id(1), &rules, NOW, 0);
    peer.request(id(2), &rules, NOW, 0);
    assert!(says(&mut peer, reject(), Some(id(1)), &rules).publish);
    assert_eq!(peer.state, State::Requested);
    assert!(says(&mut peer, reject(), Some(id(2)), &rules).publish);
    assert_eq!((peer.state, peer.until), (State::Rejected, None));
}

#[test]
fn a_federation_is_renewed_before_its_end_and_not_without_one() {
    let (mut peer, rules) = (federated(), rules(Policy::Auto));
    let renew_at = peer.renew_at.unwrap();
    assert_eq!(renew_at, in_secs(440), "a minute before");
    assert_eq!((peer.due(in_secs(439)), peer.due(in_secs(440))), (None, Some(Due::Renew)));
    peer.renew(id(5), in_secs(440));
    assert_eq!((peer.renew_at, peer.due(in_secs(441))), (None, None));
    let received = says_at(&mut peer, accept(300), Some(id(5)), &rules, in_secs(441));
    assert!(received.publish && received.told.is_empty());
    assert_eq!((peer.until, peer.asked_by), (Some(in_secs(741)), Some(AskedBy::Us)));
    peer.renew(id(6), in_secs(700));
    assert!(says_at(&mut peer, reject(), Some(id(6)), &rules, in_secs(701)).publish);
    assert_eq!(peer.state, State::Rejected);

    let mut them = Peer::default();
    assert!(matches!(says(&mut them, renew(9), None, &rules).reply, Some(Payload::Reject { .. })));
    assert_eq!(them, Peer::default());
    says(&mut them, request(9), None, &rules);
    let received = says_at(&mut them, renew(30), None, &rules, in_secs(8));
    assert!(matches!(received.reply, Some(Payload::Accept { ttl_secs: 30, .. })));
    assert_eq!(them.until, Some(in_secs(38)));
}

#[test]
fn what_is_asked_for_later_never_shortens_a_federation() {
    let rules = rules(Policy::Auto);
    for payload in [renew(1), request(1)] {
        let mut peer = federated();
        let before = peer.clone();
        assert!(says(&mut peer, payload, None, &rules).reply.is_some());
        assert_eq!((peer.until, peer.renew_at), (before.until, before.renew_at));
    }
    let mut peer = federated();
    peer.renew(id(5), in_secs(440));
    let renewing = peer.clone();
    assert!(says_at(&mut peer, accept(1), Some(id(5)), &rules, in_secs(441)).publish);
    assert_eq!((peer.until, peer.renew_at), (renewing.until, renewing.renew_at));
}

#[test]
fn what_a_peer_said_before_its_last_word_changes_nothing() {
    let (federated, rules) = (federated(), rules(Policy::Auto));
    for (mut peer, payload) in
        [(federated.clone(), Payload::Leave), (Peer::default(), request(500)), (federated, request(5_000))]
    {
        let before = peer.clone();
        let incoming = Incoming {
            node: node(),
            id: id(9),
            reply_to: "",
            payload: &payload,
            late: true,
            now: NOW,
            random: 0,
            room_for_pending: true,
        };
        let received = peer.receive(&incoming, &rules);
        assert_eq!(received, Received { ignored: Some("federate_late"), ..Received::default() });
        assert_eq!(peer, before);
    }
}

#[test]
fn a_short_federation_is_renewed_halfway_and_a_long_one_for_the_last_tenth() {
    let plan = |ttl_secs: u64, random: u64| {
        let (mut peer, rules) = (Peer::default(), Rules { ttl_secs, ..Rules::default() });
        peer.request(id(1), &rules, NOW, 0);
        peer.federate(Standing::Request, AskedBy::Us, ttl_secs, NOW, random);
        peer.renew_at.unwrap().since(NOW)
    };
    assert_eq!(plan(2, 0), Duration::from_secs(1));
    assert_eq!(plan(2, 249), Duration::from_millis(1_249));
    assert_eq!(plan(2, u64::MAX).as_millis() / 250, 4);
    assert_eq!(plan(10_000, 0), Duration::from_secs(9_000));
    assert!(plan(1, 7) < Duration::from_secs(1));
}

#[test]
fn a_renewal_without_an_answer_is_tried_again_where_there_is_time() {
    let rules = Rules { ttl_secs: 100 * DAY, ..Rules::default() };
    let mut peer = Peer::default();
    peer.request(id(1), &rules, NOW, 0);
    says(&mut peer, accept(100 * DAY), Some(id(1)), &rules);
    peer.renew(id(2), in_secs(90 * DAY));
    assert_eq!(peer.renew_at, Some(in_secs(95 * DAY)));
    peer.put_off_renewal(in_secs(100 * DAY - 100));
    assert_eq!(peer.renew_at, None);
}

#[test]
fn what_comes_after_the_end_finds_it_ended() {
    let (mut peer, rules) = (federated(), rules(Policy::Auto));
    peer.renew(id(5), in_secs(440));
    let received = says_at(&mut peer, accept(300), Some(id(5)), &rules, in_secs(500));
    assert!(received.expired && !received.publish);
    assert_eq!((peer.state, peer.since), (State::Expired, in_secs(500)));
    let again = says_at(&mut peer, request(300), None, &rules, in_secs(501));
    assert!(!again.expired && peer.state == State::Federated);
}

#[test]
fn a_clock_that_is_set_back_makes_nothing_last_longer() {
    let mut peer = federated();
    assert!(!peer.keep_within(in_secs(3)));
    let back = UnixMillis(NOW.0 - 1_000_000);
    assert!(peer.keep_within(back));
    assert_eq!(peer.until, Some(back.plus(Duration::from_secs(500))));
    assert_eq!(peer.renew_at, Some(back.plus(Duration::from_secs(440))));
    assert_eq!(peer.since, back);
}

#[test]
fn a_block_ends_everything_but_what_the_owner_set() {
    let (mut peer, rules) = (federated(), rules(Policy::Auto));
    peer.name = "bob".to_owned();
    peer.own_rights = Some(Rights::ALL);
    peer.block(in_secs(7));
    assert_eq!((peer.state, peer.since, peer.rights(&rules)), (State::Left, in_secs(7), Rights::NONE));
    peer.blocked = false;
    assert_eq!(peer.rights(&rules), Rights::ALL, "its own rights are kept");
}

#[test]
fn names_are_read_back() {
    for state in State::ALL {
        assert_eq!(State::from_name(state.name()), Some(state));
    }
    for asker in [AskedBy::Us, AskedBy::Them, AskedBy::Both] {
        assert_eq!(AskedBy::from_name(asker.name()), Some(asker));
    }
    for standing in [Standing::Auto, Standing::Request, Standing::Manual, Standing::Allowlist] {
        assert_eq!(Standing::from_name(standing.name()), Some(standing));
    }
}
