use super::*;

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn the_internet_is_reached_and_nothing_around_the_seller() {
    let reach = Reach::new(&nets(&["0.0.0.0/0", "::/0"]));
    assert!(reach.named().is_empty());
    for open in
        ["1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.32.0.1", "192.0.2.1"]
    {
        assert!(reach.permits(ip(open)), "{open}");
    }
    for open in ["223.255.255.255", "198.51.100.1", "2001:db8::1", "2606:4700::1111", "::ffff:1.1.1.1", "::2"]
    {
        assert!(reach.permits(ip(open)), "{open}");
    }
    for denied in [
        "0.0.0.0",
        "0.255.255.255",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.170",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fc00::1",
        "fdff::1",
        "fe80::1",
        "febf::1",
        "ff02::1",
        "64:ff9b::10.0.0.1",
        "2002:a00:1::1",
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.1",
    ] {
        assert!(!reach.permits(ip(denied)), "{denied}");
    }
}

#[test]
fn a_private_network_is_reached_where_it_is_named_and_no_further() {
    let reach = Reach::new(&nets(&["0.0.0.0/0", "192.168.5.77/24", "::ffff:10.1.0.0/112"]));
    assert_eq!(reach.named(), nets(&["10.1.0.0/16", "192.168.5.0/24"]));
    assert_eq!(reach.open(), nets(&["0.0.0.0/0"]));
    assert!(reach.permits(ip("192.168.5.1")) && reach.permits(ip("10.1.255.255")));
    assert!(reach.permits(ip("::ffff:192.168.5.1")));
    assert!(!reach.permits(ip("192.168.6.1")) && !reach.permits(ip("10.2.0.0")));
}

#[test]
fn what_is_not_named_at_all_is_not_reached() {
    let reach = Reach::new(&nets(&["198.51.100.0/24"]));
    assert!(reach.permits(ip("198.51.100.7")));
    assert!(!reach.permits(ip("198.51.101.7")) && !reach.permits(ip("2001:db8::1")));
    assert!(!Reach::new(&[]).permits(ip("1.1.1.1")));
}

#[test]
fn a_wider_network_does_not_name_what_lies_inside() {
    let reach = Reach::new(&nets(&["10.0.0.0/7", "192.0.0.0/8"]));
    assert!(reach.named().is_empty());
    assert!(reach.permits(ip("11.0.0.1")) && reach.permits(ip("192.0.2.1")));
    assert!(!reach.permits(ip("10.0.0.1")) && !reach.permits(ip("192.168.0.1")));
}

#[test]
fn no_set_overlaps_within_itself() {
    let reach = Reach::new(&nets(&["10.0.0.0/9", "10.128.0.0/9", "10.3.0.0/16", "1.0.0.0/8", "0.0.0.0/0"]));
    assert_eq!(reach.named(), nets(&["10.0.0.0/8"]));
    assert_eq!(reach.open(), nets(&["0.0.0.0/0"]));
    let denied = reach.denied();
    for (index, net) in denied.iter().enumerate() {
        for other in &denied[index + 1..] {
            assert!(!net.contains(other) && !other.contains(net), "{net} {other}");
        }
    }
}

#[test]
fn buyers_leave_out_what_is_private() {
    let allowed = nets(&[
        "0.0.0.0/0",
        "192.168.1.0/24",
        "10.0.0.0/8",
        "8.0.0.0/6",
        "::/0",
        "fd00::/8",
        "::ffff:10.0.0.0/104",
    ]);
    let (routes, left_out) = split_private(&allowed);
    assert_eq!(routes, nets(&["0.0.0.0/0", "8.0.0.0/6", "::/0"]));
    assert_eq!(left_out, nets(&["192.168.1.0/24", "10.0.0.0/8", "fd00::/8", "10.0.0.0/8"]));
    assert_eq!(split_private(&[]), (Vec::new(), Vec::new()));
}
