use serde_json::{Value, json};

use super::*;

fn spec(allowed: &[&str]) -> ExitSpec {
    ExitSpec {
        interface: "imp0".to_owned(),
        subnet: "10.7.0.0/24".parse().unwrap(),
        earlier: Vec::new(),
        allowed: allowed.iter().map(|net| net.parse().unwrap()).collect(),
        bytes_per_sec: None,
    }
}

fn made(spec: &ExitSpec, opened: &[String]) -> Nftables<'static> {
    replacement(spec, opened, "1f", true)
}

/// The rules of a chain, in order.
fn rules(rules: &Nftables<'_>, chain: &str) -> Vec<Value> {
    let json = serde_json::to_value(rules).unwrap();
    let all = json["nftables"].as_array().unwrap().iter().filter_map(|object| object["add"].get("rule"));
    all.filter(|rule| rule["chain"] == chain).map(|rule| rule["expr"].clone()).collect()
}

/// What `from_buyers` does with destinations: addresses, and accept or drop.
fn verdicts(allowed: &[&str]) -> Vec<(Vec<String>, String)> {
    let rules = rules(&made(&spec(allowed), &[]), "from_buyers");
    let of_destinations = rules.iter().filter_map(|rule| {
        let statements = rule.as_array().unwrap();
        let verdict = statements.last().unwrap().as_object().unwrap().keys().next().unwrap().clone();
        let nets = match statements.as_slice() {
            [_] => vec!["all".to_owned()],
            [is, _] if is["match"]["left"]["payload"] == json!({"protocol": "ip", "field": "daddr"}) => {
                let set = is["match"]["right"]["set"].as_array().unwrap();
                let net = |item: &Value| {
                    format!("{}/{}", item["prefix"]["addr"].as_str().unwrap(), item["prefix"]["len"])
                };
                set.iter().map(net).collect()
            }
            _ => return None,
        };
        Some((nets, verdict))
    });
    of_destinations.collect()
}

#[test]
fn the_table_is_replaced_in_one_transaction() {
    let json = serde_json::to_value(made(&spec(&["0.0.0.0/0"]), &[])).unwrap();
    let table = json!({"table": {"family": "inet", "name": "imp_imp0"}});
    let commands = json["nftables"].as_array().unwrap();
    let mark = commands[3]["add"]["set"]["name"].as_str();
    assert_eq!(mark, Some("owner_1f"));
    assert_eq!(commands[..3], [json!({"add": table}), json!({"delete": table}), json!({"add": table})]);
    for command in &commands[3..] {
        let object = command["add"].as_object().unwrap().values().next().unwrap();
        assert_eq!((&object["family"], &object["table"]), (&json!("inet"), &json!("imp_imp0")));
    }
}

#[test]
fn where_there_was_none_the_table_is_made_only_if_there_still_is_none() {
    let json = serde_json::to_value(replacement(&spec(&["0.0.0.0/0"]), &[], "1f", false)).unwrap();
    assert_eq!(json["nftables"][0]["create"]["table"]["name"], "imp_imp0");
}

#[test]
fn networks_of_earlier_buyers_are_theirs_too_also_where_they_overlap() {
    let earlier = ["10.7.0.0/16", "10.9.0.0/24"].map(|net| net.parse().unwrap()).to_vec();
    let table = made(&ExitSpec { earlier, ..spec(&["0.0.0.0/0"]) }, &[]);
    let prerouting = rules(&table, "prerouting");
    let set = |rule: &Value| rule[0]["match"]["right"]["set"].as_array().unwrap().len();
    assert_eq!((set(&prerouting[2]), set(&prerouting[3])), (2, 2), "{prerouting:?}");
}

#[test]
fn denied_ranges_come_before_what_is_open_and_after_what_is_named() {
    let verdicts = verdicts(&["0.0.0.0/0", "192.168.7.0/24"]);
    let (nets, ends): (Vec<_>, Vec<_>) = verdicts.into_iter().unzip();
    assert_eq!(ends, ["accept", "drop", "accept", "drop"]);
    assert_eq!(nets[0], ["192.168.7.0/24"]);
    assert!(nets[1].contains(&"192.168.0.0/16".to_owned()) && nets[1].len() == 10);
    assert_eq!((&nets[2], &nets[3]), (&vec!["all".to_owned()], &vec!["all".to_owned()]));
}

#[test]
fn without_an_allowed_network_all_is_dropped() {
    let ends: Vec<String> = verdicts(&[]).into_iter().map(|(_, end)| end).collect();
    assert_eq!(ends, ["drop", "drop"]);
    let ends: Vec<String> = verdicts(&["2000::/3"]).into_iter().map(|(_, end)| end).collect();
    assert_eq!(ends, ["drop", "drop"]);
}

#[test]
fn mail_other_buyers_and_forged_senders_are_dropped_before_anything_is_accepted() {
    let rules = rules(&made(&spec(&["0.0.0.0/0"]), &[]), "from_buyers");
    let accepts =
        |rule: &Value| rule.as_array().unwrap().iter().any(|statement| statement.get("accept").is_some());
    let first = rules.iter().position(accepts).unwrap();
    for left in [
        json!({"payload": {"protocol": "tcp", "field": "dport"}}),
        json!({"payload": {"protocol": "ip", "field": "saddr"}}),
        json!({"meta": {"key": "oifname"}}),
        json!({"meta": {"key": "nfproto"}}),
        json!({"ct": {"key": "state"}}),
    ] {
        let at = rules.iter().position(|rule| rule[0]["match"]["left"] == left).unwrap();
        assert!(at < first && rules[at][1].get("drop").is_some(), "{left}");
    }
}

#[test]
fn speed_is_limited_for_each_buyer_and_way_only_if_it_is_set() {
    let unlimited = serde_json::to_string(&made(&spec(&["0.0.0.0/0"]), &[])).unwrap();
    assert!(!unlimited.contains("\"up\"") && !unlimited.contains("\"down\""));
    for (bytes_per_sec, rate, unit) in
        [(1, 1, "bytes"), (125_000, 125_000, "bytes"), (12_500_000_000, 11_921, "mbytes")]
    {
        let spec = ExitSpec { bytes_per_sec: Some(bytes_per_sec), ..spec(&["0.0.0.0/0"]) };
        let table = made(&spec, &[]);
        for (chain, name, buyer) in [("from_buyers", "up", "saddr"), ("to_buyers", "down", "daddr")] {
            let rules = rules(&table, chain);
            let rule = rules.iter().find(|rule| rule[0]["meter"]["name"] == name).unwrap();
            assert_eq!(rule[0]["meter"]["key"]["payload"]["field"], buyer);
            let limit = &rule[0]["meter"]["stmt"]["limit"];
            assert_eq!((&limit["rate"], &limit["rate_unit"]), (&json!(rate), &json!(unit)));
            assert!(rule[1].get("drop").is_some());
        }
    }
}

#[test]
fn own_addresses_are_let_through_only_one_by_one() {
    let table = made(&spec(&["0.0.0.0/0", "10.0.0.0/8", "203.0.113.5/32"]), &[]);
    for chain in ["prerouting", "input"] {
        let rules = rules(&table, chain);
        let to: Vec<&Value> = rules
            .iter()
            .filter(|rule| rule.as_array().unwrap().last().unwrap().get("accept").is_some())
            .flat_map(|rule| rule.as_array().unwrap())
            .filter(|statement| statement["match"]["left"]["payload"]["field"] == "daddr")
            .map(|statement| &statement["match"]["right"])
            .collect();
        assert_eq!(to, [&json!("10.7.0.1"), &json!("203.0.113.5")], "{chain}");
        assert!(rules.last().unwrap().as_array().unwrap().last().unwrap().get("drop").is_some());
    }
}
