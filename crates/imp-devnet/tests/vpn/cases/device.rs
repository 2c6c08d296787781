//! The seller's interface agrees with its contracts.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::lab::{DEVICE, Lab, SELLER, wait_for};
use crate::reach::wait_through;
use crate::tools::Tools;

/// Within what an interface that somebody changed is right again, with a little for the tools that look.
const SOON: Duration = Duration::from_millis(1200);

/// A key that nobody has a contract for.
const STRANGER: &str = "c3RyYW5nZXIgc3RyYW5nZXIgc3RyYW5nZXIgc3RyYW4=";

fn peers(lab: &Lab) -> String {
    lab.run(SELLER, "wg", &["show", DEVICE, "peers"])
}

pub(crate) async fn peers_that_somebody_changed_by_hand_are_put_right(lab: Arc<Lab>) {
    let deal = lab.buy("alice").await;
    let tunnel = Tools::up(&lab, &deal).await;
    wait_through(&lab.host("alice")).await;
    let key = deal.config.get("pubkey");
    let before = peers(&lab);
    assert!(before.contains(key));

    lab.run(SELLER, "wg", &["set", DEVICE, "peer", key, "remove"]);
    let removed = Instant::now();
    wait_for("the peer", || async { peers(&lab).contains(key).then_some(()) }).await;
    assert!(removed.elapsed() < SOON, "it took {:?}", removed.elapsed());
    wait_through(&lab.host("alice")).await;

    lab.run(SELLER, "wg", &["set", DEVICE, "peer", STRANGER, "allowed-ips", "10.157.83.250/32"]);
    let added = Instant::now();
    wait_for("no stranger", || async { (!peers(&lab).contains(STRANGER)).then_some(()) }).await;
    assert!(added.elapsed() < SOON, "it took {:?}", added.elapsed());

    // Somebody gives the peer another address.
    lab.run(SELLER, "wg", &["set", DEVICE, "peer", key, "allowed-ips", "10.157.83.250/32"]);
    let address = deal.config.get("clientIp").split('/').next().unwrap();
    let moved = Instant::now();
    let right = || async {
        let allowed = lab.run(SELLER, "wg", &["show", DEVICE, "allowed-ips"]);
        allowed.lines().any(|line| line == format!("{key}\t{address}/32")).then_some(())
    };
    wait_for("its own address", right).await;
    assert!(moved.elapsed() < SOON, "it took {:?}", moved.elapsed());
    tunnel.begin_anew();
    wait_through(&lab.host("alice")).await;
    drop(tunnel);
}
