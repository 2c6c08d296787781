//! The rules of one interface, as nftables has them.
//!
//! ```text
//!  prerouting (mangle)   from buyers: forged senders, IPv6, and this machine's own addresses, before anybody's DNAT
//!                        could make other addresses of them
//!  input                 from buyers: pings to the tunnel's address, and addresses of this machine that are named
//!  forward ─┬─ from_buyers   named, denied, open: in this order, as imp_core::vpn::reach says
//!           ├─ to_buyers     answers
//!           └─ interfaces that were opened for this: answers, and what somebody forwards on purpose; this
//!              machine was no router for its neighbours before, and does not become one
//!  postrouting           what buyers send leaves under this machine's address
//! ```
//!
//! Buyers have IPv4 addresses only, so that all IPv6 of theirs is forged. A chain with a base stands beside those of other
//! tables: what ours accepts another can still drop.

use std::collections::{BTreeSet, HashSet};
use std::net::Ipv4Addr;

use imp_core::vpn::reach::{DENIED_TCP_PORT, Reach};
use ipnet::{IpNet, Ipv4Net};
use nftables::batch::Batch;
use nftables::expr::{
    CT, CTDir, Expression, Fib, FibFlag, FibResult, Meta, MetaKey, NamedExpression, Payload, PayloadField,
    Prefix, RT, RTKey, SetItem, TcpOption,
};
use nftables::schema::{Chain, NfCmd, NfListObject, Nftables, Rule, Set, SetType, SetTypeValue, Table};
use nftables::stmt::{JumpTarget, Limit, Mangle, Match, Meter, Operator, Statement};
use nftables::types::{NfChainPolicy, NfChainType, NfFamily, NfHook};

use super::{ExitSpec, server_in};

/// How the names of tables begin; the interface follows.
pub(super) const TABLE_PREFIX: &str = "imp_";

/// The set of interfaces that forward only since this was set up.
pub(super) const OPENED: &str = "opened";

/// How the name of the set begins that tells whose table it is; the mark of its owner follows.
const MARK_PREFIX: &str = "owner_";

/// Pings of one buyer that are answered in a second, and at once.
const PINGS_PER_SEC: u32 = 20;

/// What passes at once above the limit on speed: two of the largest packets that the kernel puts together.
const BURST_BYTES: u32 = 131_072;

/// The table of an interface.
pub(super) fn table_name(interface: &str) -> String {
    format!("{TABLE_PREFIX}{interface}")
}

/// The name of the empty set that is in the tables of one owner only.
pub(super) fn mark_name(mark: &str) -> String {
    format!("{MARK_PREFIX}{mark}")
}

/// What takes the table of an interface away, whether or not it is there.
pub(super) fn removal(interface: &str) -> Nftables<'static> {
    let mut batch = Batch::new();
    remove(&mut batch, table_name(interface));
    batch.to_nftables()
}

fn remove(batch: &mut Batch<'static>, name: String) {
    let table = NfListObject::Table(Table { family: NfFamily::INet, name: name.into(), handle: None });
    // What is not there cannot be deleted; what is there can be added.
    batch.add(table.clone());
    batch.delete(table);
}

/// What puts the table of an interface, in one transaction. `opened` are the interfaces that were made to forward for it. If
/// there was none, this fails where somebody has put one meanwhile.
pub(super) fn replacement(
    spec: &ExitSpec,
    opened: &[String],
    mark: &str,
    is_there: bool,
) -> Nftables<'static> {
    let name = table_name(&spec.interface);
    let mut draft = Draft { table: name.clone(), batch: Batch::new() };
    let table =
        NfListObject::Table(Table { family: NfFamily::INet, name: name.clone().into(), handle: None });
    if is_there {
        remove(&mut draft.batch, name);
        draft.batch.add(table);
    } else {
        draft.batch.add_cmd(NfCmd::Create(table));
    }
    draft.names(mark_name(mark), &[]);
    draft.names(OPENED.to_owned(), opened);
    draft.prerouting(spec);
    draft.input(spec);
    draft.forward(spec);
    draft.by_buyers(spec);
    draft.for_buyers(spec);
    draft.postrouting(spec);
    draft.batch.to_nftables()
}

/// A table as it is written.
struct Draft {
    table: String,
    batch: Batch<'static>,
}

impl Draft {
    /// A set of interfaces.
    fn names(&mut self, name: String, interfaces: &[String]) {
        let names: Vec<_> = interfaces.iter().map(|name| Expression::String(name.clone().into())).collect();
        self.batch.add(NfListObject::Set(Box::new(Set {
            family: NfFamily::INet,
            table: self.table.clone().into(),
            name: name.into(),
            set_type: SetTypeValue::Single(SetType::Ifname),
            elem: (!names.is_empty()).then(|| names.into()),
            ..Set::default()
        })));
    }

    /// A chain that packets come by, before most chains of others at the same place.
    fn base(&mut self, name: &'static str, kind: NfChainType, hook: NfHook, priority: i32) {
        self.batch.add(NfListObject::Chain(Chain {
            family: NfFamily::INet,
            table: self.table.clone().into(),
            name: name.into(),
            _type: Some(kind),
            hook: Some(hook),
            prio: Some(priority),
            policy: Some(NfChainPolicy::Accept),
            ..Chain::default()
        }));
    }

    /// A chain that others lead to.
    fn chain(&mut self, name: &'static str) {
        self.batch.add(NfListObject::Chain(Chain {
            family: NfFamily::INet,
            table: self.table.clone().into(),
            name: name.into(),
            ..Chain::default()
        }));
    }

    fn rule<const N: usize>(&mut self, chain: &'static str, statements: [Statement<'static>; N]) {
        self.batch.add(NfListObject::Rule(Rule {
            family: NfFamily::INet,
            table: self.table.clone().into(),
            chain: chain.into(),
            expr: Vec::from(statements).into(),
            ..Rule::default()
        }));
    }

    fn prerouting(&mut self, spec: &ExitSpec) {
        let chain = "prerouting";
        self.base(chain, NfChainType::Filter, NfHook::Prerouting, -150);
        self.rule(chain, [is_not(meta(MetaKey::Iifname), text(&spec.interface)), accept()]);
        self.rule(chain, [is_not(meta(MetaKey::Nfproto), text("ipv4")), drop()]);
        self.rule(chain, [is_not(ip("saddr"), buyers(spec)), drop()]);
        self.rule(chain, [is(ip("saddr"), servers(spec)), drop()]);
        for statements in self.to_this_machine(spec) {
            self.rule(chain, statements);
        }
        let own = ["local", "broadcast", "multicast", "anycast"].map(|kind| SetItem::Element(text(kind)));
        self.rule(chain, [is(fib_type(), named(NamedExpression::Set(own.into()))), drop()]);
    }

    fn input(&mut self, spec: &ExitSpec) {
        let chain = "input";
        self.base(chain, NfChainType::Filter, NfHook::Input, -10);
        self.rule(chain, [is_not(meta(MetaKey::Iifname), text(&spec.interface)), accept()]);
        let too_many = Limit { inv: Some(true), burst: Some(PINGS_PER_SEC), ..per_second(PINGS_PER_SEC) };
        self.rule(chain, [is(icmp_type(), text("echo-request")), meter("pings", "saddr", too_many), drop()]);
        for statements in self.to_this_machine(spec) {
            self.rule(chain, statements);
        }
        self.rule(chain, [drop()]);
    }

    /// What buyers may send to this machine itself.
    fn to_this_machine(&self, spec: &ExitSpec) -> Vec<[Statement<'static>; 3]> {
        let mut rules = vec![
            // Answers to this machine; what a buyer has begun does not become one by being answered.
            [is_in(ct("state"), &["established", "related"]), is(ct("direction"), text("reply")), accept()],
            [is(ip("daddr"), servers(spec)), is(icmp_type(), text("echo-request")), accept()],
        ];
        // A network that is wider than one address is meant for those behind this machine.
        for single in spec.allowed.iter().filter(|net| net.prefix_len() == 32) {
            if let IpNet::V4(single) = single {
                let from = is(meta(MetaKey::Iifname), text(&spec.interface));
                rules.push([from, is(ip("daddr"), address(single.addr())), accept()]);
            }
        }
        rules
    }

    fn forward(&mut self, spec: &ExitSpec) {
        self.chain("from_buyers");
        self.chain("to_buyers");
        let chain = "forward";
        self.base(chain, NfChainType::Filter, NfHook::Forward, -10);
        self.rule(chain, [is(meta(MetaKey::Iifname), text(&spec.interface)), goto("from_buyers")]);
        self.rule(chain, [is(meta(MetaKey::Oifname), text(&spec.interface)), goto("to_buyers")]);
        let from_opened = || is(meta(MetaKey::Iifname), text("@opened"));
        self.rule(chain, [from_opened(), is_in(ct("status"), &["dnat"]), accept()]);
        self.rule(chain, [from_opened(), is(ct("direction"), text("original")), drop()]);
        self.rule(chain, [from_opened(), is_in(ct("state"), &["invalid", "untracked"]), drop()]);
    }

    fn by_buyers(&mut self, spec: &ExitSpec) {
        let chain = "from_buyers";
        let reach = Reach::new(&spec.allowed);
        // Address translation leaves out what belongs to no connection, so that it would leave under a buyer's address.
        self.rule(chain, [is_in(ct("state"), &["invalid", "untracked"]), drop()]);
        self.rule(chain, [is_not(meta(MetaKey::Nfproto), text("ipv4")), drop()]);
        self.rule(chain, [is_not(ip("saddr"), buyers(spec)), drop()]);
        self.rule(chain, [is(meta(MetaKey::Oifname), text(&spec.interface)), drop()]);
        self.rule(chain, [is(tcp("dport"), Expression::Number(DENIED_TCP_PORT.into())), drop()]);
        self.limit(chain, "up", "saddr", spec);
        self.rule(chain, clamp());
        for (nets, verdict) in [(reach.named(), accept()), (reach.denied(), drop()), (reach.open(), accept())]
        {
            let nets: Vec<Ipv4Net> = nets
                .iter()
                .filter_map(|net| match net {
                    IpNet::V4(net) => Some(*net),
                    IpNet::V6(_) => None,
                })
                .collect();
            if nets.iter().any(|net| net.prefix_len() == 0) {
                self.rule(chain, [verdict]);
            } else if !nets.is_empty() {
                let items = nets.into_iter().map(|net| SetItem::Element(network(IpNet::V4(net)))).collect();
                self.rule(chain, [is(ip("daddr"), named(NamedExpression::Set(items))), verdict]);
            }
        }
        self.rule(chain, [drop()]);
    }

    fn for_buyers(&mut self, spec: &ExitSpec) {
        let chain = "to_buyers";
        self.limit(chain, "down", "daddr", spec);
        self.rule(chain, clamp());
        self.rule(chain, [is_in(ct("state"), &["established", "related"]), accept()]);
        self.rule(chain, [drop()]);
    }

    /// Drops what one buyer has above the limit on speed.
    fn limit(&mut self, chain: &'static str, name: &'static str, buyer: &'static str, spec: &ExitSpec) {
        if let Some(bytes_per_sec) = spec.bytes_per_sec {
            self.rule(chain, [meter(name, buyer, above(bytes_per_sec)), drop()]);
        }
    }

    fn postrouting(&mut self, spec: &ExitSpec) {
        let chain = "postrouting";
        self.base(chain, NfChainType::NAT, NfHook::Postrouting, 100);
        self.rule(
            chain,
            [
                is(ip("saddr"), buyers(spec)),
                is_not(meta(MetaKey::Oifname), text(&spec.interface)),
                Statement::Masquerade(None),
            ],
        );
    }
}

/// What is more than so much in a second.
fn above(bytes_per_sec: u64) -> Limit<'static> {
    let (rate, unit) = u32::try_from(bytes_per_sec).map_or_else(
        |_| (u32::try_from(bytes_per_sec.div_ceil(1 << 20)).unwrap_or(u32::MAX), "mbytes"),
        |bytes| (bytes.max(1), "bytes"),
    );
    Limit {
        rate_unit: Some(unit.into()),
        burst: Some(BURST_BYTES),
        burst_unit: Some("bytes".into()),
        inv: Some(true),
        ..per_second(rate)
    }
}

fn per_second(rate: u32) -> Limit<'static> {
    Limit { rate, rate_unit: None, per: Some("second".into()), burst: None, burst_unit: None, inv: None }
}

/// Counts for each address of a buyer by itself.
fn meter(name: &'static str, buyer: &'static str, limit: Limit<'static>) -> Statement<'static> {
    Statement::Meter(Meter { name: name.into(), key: ip(buyer), stmt: Box::new(Statement::Limit(limit)) })
}

/// Has TCP connections use no larger packets than the way allows in either direction, for what would tell them is often
/// lost.
fn clamp() -> [Statement<'static>; 2] {
    let size = TcpOption { name: "maxseg".into(), field: Some("size".into()) };
    [
        is_in(tcp("flags"), &["syn"]),
        Statement::Mangle(Mangle {
            key: named(NamedExpression::TcpOption(size)),
            value: named(NamedExpression::RT(RT { key: RTKey::MTU, family: None })),
        }),
    ]
}

fn accept() -> Statement<'static> {
    Statement::Accept(None)
}

fn drop() -> Statement<'static> {
    Statement::Drop(None)
}

fn goto(chain: &'static str) -> Statement<'static> {
    Statement::Goto(JumpTarget { target: chain.into() })
}

fn is(left: Expression<'static>, right: Expression<'static>) -> Statement<'static> {
    Statement::Match(Match { left, right, op: Operator::EQ })
}

fn is_not(left: Expression<'static>, right: Expression<'static>) -> Statement<'static> {
    Statement::Match(Match { left, right, op: Operator::NEQ })
}

/// Whether one of these bits is set.
fn is_in(left: Expression<'static>, bits: &[&'static str]) -> Statement<'static> {
    let right = match bits {
        [bit] => text(bit),
        bits => Expression::List(bits.iter().map(|bit| text(bit)).collect()),
    };
    Statement::Match(Match { left, right, op: Operator::IN })
}

fn named(expression: NamedExpression<'static>) -> Expression<'static> {
    Expression::Named(expression)
}

fn text(text: &str) -> Expression<'static> {
    Expression::String(text.to_owned().into())
}

fn meta(key: MetaKey) -> Expression<'static> {
    named(NamedExpression::Meta(Meta { key }))
}

fn field(protocol: &'static str, field: &'static str) -> Expression<'static> {
    let field = PayloadField { protocol: protocol.into(), field: field.into() };
    named(NamedExpression::Payload(Payload::PayloadField(field)))
}

fn ip(name: &'static str) -> Expression<'static> {
    field("ip", name)
}

fn tcp(name: &'static str) -> Expression<'static> {
    field("tcp", name)
}

fn icmp_type() -> Expression<'static> {
    field("icmp", "type")
}

/// What the connection of a packet is.
fn ct(key: &'static str) -> Expression<'static> {
    named(NamedExpression::CT(CT { key: key.into(), family: None, dir: None::<CTDir> }))
}

/// What the packet's destination is to this machine, by any of its interfaces.
fn fib_type() -> Expression<'static> {
    named(NamedExpression::Fib(Fib { result: FibResult::Type, flags: HashSet::from([FibFlag::Daddr]) }))
}

fn address(address: Ipv4Addr) -> Expression<'static> {
    text(&address.to_string())
}

/// The addresses that buyers may have.
fn buyers(spec: &ExitSpec) -> Expression<'static> {
    let networks = Ipv4Net::aggregate(&spec.networks().collect());
    one_of(networks.into_iter().map(|net| network(IpNet::V4(net))))
}

/// This machine's addresses in the tunnel.
fn servers(spec: &ExitSpec) -> Expression<'static> {
    let servers: BTreeSet<_> = spec.networks().map(server_in).collect();
    one_of(servers.into_iter().map(address))
}

fn one_of(items: impl ExactSizeIterator<Item = Expression<'static>>) -> Expression<'static> {
    let mut items: Vec<_> = items.collect();
    match items.len() {
        1 => items.remove(0),
        _ => named(NamedExpression::Set(items.into_iter().map(SetItem::Element).collect())),
    }
}

fn network(net: IpNet) -> Expression<'static> {
    let addr = Box::new(text(&net.network().to_string()));
    named(NamedExpression::Prefix(Prefix { addr, len: net.prefix_len().into() }))
}

#[cfg(test)]
mod tests;
