//! Tunnels of what was bought, as the owner wants them.

use imp_api::error::Code;
use imp_node::error::Error;
use imp_node::service::vpn::{BringUp, TunnelView};

use super::{HOUR_MS, Pair, contract, is, refresh};
use crate::lab::{TestNode, wait_for};

async fn up(node: &TestNode, nonce: &str, wish: BringUp) -> Result<TunnelView, Error> {
    let nonce = nonce.to_owned();
    node.call(async move |services| services.vpn.unwrap().bring_up(&nonce, wish).await).await
}

async fn down(node: &TestNode, nonce: &str) -> Result<(), Error> {
    let nonce = nonce.to_owned();
    node.call(async move |services| services.vpn.unwrap().take_down(&nonce).await).await
}

fn count(pair: &Pair) -> usize {
    pair.buyers.tunnels.up_now().len()
}

#[tokio::test]
async fn a_tunnel_stands_by_wish_and_while_its_contract_has_time() {
    let pair = Pair::start().await;
    let nonce = pair.buy().await;
    let tunnel = up(&pair.alice, &nonce, BringUp::default()).await.unwrap();
    assert_eq!(
        (tunnel.routes.as_slice(), tunnel.dns_ip.as_str()),
        (["0.0.0.0/0".to_owned()].as_slice(), "8.8.8.8")
    );
    assert_eq!(up(&pair.alice, &nonce, BringUp::default()).await.unwrap().interface, tunnel.interface);
    assert_eq!(contract(&pair.alice, &nonce).await.unwrap().tunnel.unwrap().interface, tunnel.interface);
    let kept = up(&pair.alice, &nonce, BringUp { keep_dns: true, ..BringUp::default() }).await.unwrap();
    assert_eq!((kept.dns_ip.as_str(), count(&pair)), ("", 1));

    let server = contract(&pair.alice, &nonce).await.unwrap().server_public_key.parse().unwrap();
    pair.buyers.devices.traffic(&kept.interface, &server, 30, 40);
    wait_for("the meter", async || contract(&pair.alice, &nonce).await.unwrap().sent_bytes == 40).await;

    pair.clock.step(HOUR_MS);
    is(&pair.alice, &nonce, "expired").await;
    wait_for("it to go down", async || count(&pair) == 0).await;
    let error = up(&pair.alice, &nonce, BringUp::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    // With more time it stands again, until it is taken down.
    refresh(&pair.alice, pair.bob.id, &nonce).await.unwrap();
    wait_for("it to come up", async || count(&pair) == 1).await;
    down(&pair.alice, &nonce).await.unwrap();
    down(&pair.alice, &nonce).await.unwrap();
    assert_eq!(count(&pair), 0);
    assert!(contract(&pair.alice, &nonce).await.unwrap().tunnel.is_none());
}

#[tokio::test]
async fn a_tunnel_is_down_while_the_node_is_and_up_after_it() {
    let mut pair = Pair::start().await;
    let nonce = pair.buy().await;
    up(&pair.alice, &nonce, BringUp::default()).await.unwrap();
    pair.alice.stop().await;
    assert_eq!(count(&pair), 0);
    pair.alice = pair.alice.restart().await;
    wait_for("it to come up", async || count(&pair) == 1).await;
    // After a kill, what was left is taken away first.
    pair.alice.kill();
    pair.buyers.tunnels.crash();
    let clean_ups = pair.buyers.tunnels.clean_ups();
    pair.alice = pair.alice.restart().await;
    wait_for("it to come up", async || count(&pair) == 1).await;
    assert_eq!(pair.buyers.tunnels.clean_ups(), clean_ups + 1);
    // And whose interface somebody deletes, it gets another one.
    let interface = pair.buyers.tunnels.up_now()[0].interface.clone();
    let made = pair.buyers.devices.made();
    assert!(pair.buyers.devices.kill(&interface));
    wait_for("another one", async || pair.buyers.devices.made() == made + 1).await;
}

#[tokio::test]
async fn what_does_not_come_up_is_said_and_not_wished_for() {
    let mut pair = Pair::start().await;
    let nonce = pair.buy().await;
    pair.buyers.tunnels.refuse(Some("no such route"));
    let error = up(&pair.alice, &nonce, BringUp::default()).await.unwrap_err();
    assert!(
        error.code() == Code::FailedPrecondition && error.to_string().contains("no such route"),
        "{error}"
    );
    pair.buyers.tunnels.refuse(None);
    pair.alice = pair.alice.restart().await;
    is(&pair.alice, &nonce, "active").await;
    assert!(contract(&pair.alice, &nonce).await.unwrap().tunnel.is_none());
    assert_eq!(up(&pair.alice, "unknown", BringUp::default()).await.unwrap_err().code(), Code::NotFound);
}
