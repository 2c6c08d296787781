//! What a seller's node leaves on its machine.

use std::fs;
use std::sync::Arc;

use imp_devnet::netns::Namespace;
use rustix::process::Signal;

use crate::lab::{DEVICE, Lab, SELLER, TABLE, wait_for};
use crate::reach::{is_cut_off, wait_through};
use crate::tools::Tools;

fn tables(lab: &Lab) -> String {
    lab.run(SELLER, "nft", &["list", "tables"])
}

/// Which of the interfaces that were there before forward.
fn forwarding(seller: &Namespace) -> Vec<String> {
    let read = |interface: &str| {
        let variable = format!("/proc/sys/net/ipv4/conf/{interface}/forwarding");
        fs::read_to_string(variable).unwrap().trim().to_owned()
    };
    seller.enter(|| ["all", "default", "home", "wan", "world"].map(read).to_vec()).unwrap()
}

pub(crate) async fn rules_outlive_a_crash_and_go_with_a_stop(lab: Arc<Lab>) {
    let deal = lab.buy("alice").await;
    let (alice, seller) = (lab.host("alice"), lab.host(SELLER));
    let tunnel = Tools::up(&lab, &deal).await;
    wait_through(&alice).await;

    lab.end(SELLER, Signal::KILL).await;
    assert!(tables(&lab).contains(TABLE), "rules stand while nobody minds them");
    assert!(is_cut_off(&alice).await);
    lab.start_node(SELLER, &[]).await;
    tunnel.begin_anew();
    wait_through(&alice).await;

    lab.end(SELLER, Signal::TERM).await;
    assert!(!tables(&lab).contains(TABLE), "{}", tables(&lab));
    assert!(!lab.run(SELLER, "ip", &["-brief", "link"]).contains(DEVICE));
    assert_eq!(forwarding(&seller), ["0"; 5], "as before the node ran for the first time");
    assert!(is_cut_off(&alice).await);

    // A stop after a crash puts back what the run before has changed.
    lab.start_node(SELLER, &[]).await;
    tunnel.begin_anew();
    wait_through(&alice).await;
    lab.end(SELLER, Signal::KILL).await;
    assert_ne!(forwarding(&seller), ["0"; 5]);
    lab.start_node(SELLER, &[("IMP_VPN_SELL", "false")]).await;
    // It sells no more, and carries what it sold.
    tunnel.begin_anew();
    wait_through(&alice).await;
    lab.end(SELLER, Signal::TERM).await;
    assert_eq!(forwarding(&seller), ["0"; 5]);
    assert!(!tables(&lab).contains(TABLE));
    drop(tunnel);
    lab.start_node(SELLER, &[]).await;
    wait_for("rules", || async { tables(&lab).contains(TABLE).then_some(()) }).await;
}
