//! What the node does with a contract that it bought: `imp vpn up`, `down` and `auto-refresh`.

use imp_api::proto::imp::vpn::v1::{
    BringUpVpnRequest, Contract, SetVpnAutoRefreshRequest, TakeDownVpnRequest, Tunnel,
};

use super::contracts::{self, BOUGHT};
use crate::args::vpn::{Named, TunnelOptions};
use crate::cmd::ASKING;
use crate::failure::Failure;
use crate::output::{fields, or_dash};
use crate::session::Session;

pub(super) async fn up(session: &Session, contract: Named, options: TunnelOptions) -> Result<(), Failure> {
    let nonce = contracts::named(session, contract, BOUGHT).await?.nonce;
    let up = bring_up(session, nonce, options).await?;
    session.print(&up, |tunnel| {
        fields(&[
            ("interface", tunnel.interface.clone()),
            ("routes", or_dash(&tunnel.routes.join(", "))),
            ("left out", or_dash(&tunnel.left_out.join(", "))),
            ("dns", or_dash(&tunnel.dns_ip)),
        ])
    })
}

pub(super) async fn down(session: &Session, contract: Named) -> Result<(), Failure> {
    let request = TakeDownVpnRequest { nonce: contracts::named(session, contract, BOUGHT).await?.nonce };
    let answer = session.call("taking down", async move |node| node.take_down_vpn(request).await).await?;
    session.print(&answer, |_| "down".to_owned())
}

pub(super) async fn auto_refresh(session: &Session, contract: Named, limit: i64) -> Result<(), Failure> {
    let nonce = contracts::named(session, contract, BOUGHT).await?.nonce;
    let contract = set_auto_refresh(session, nonce, limit).await?;
    session.print(&contract, contracts::shown)
}

pub(super) async fn bring_up(
    session: &Session,
    nonce: String,
    options: TunnelOptions,
) -> Result<Tunnel, Failure> {
    let TunnelOptions { allow_private, keep_dns } = options;
    let request = BringUpVpnRequest { nonce, allow_private, keep_dns };
    session.call("bringing up", async move |node| node.bring_up_vpn(request).await).await
}

pub(super) async fn set_auto_refresh(
    session: &Session,
    nonce: String,
    limit_sat: i64,
) -> Result<Contract, Failure> {
    let request = SetVpnAutoRefreshRequest { nonce, limit_sat };
    session.call(ASKING, async move |node| node.set_vpn_auto_refresh(request).await).await
}

/// A tunnel in few words.
pub(super) fn summary(tunnel: &Tunnel) -> String {
    let left_out = match tunnel.left_out.is_empty() {
        true => String::new(),
        false => format!(", without {}", tunnel.left_out.join(", ")),
    };
    format!("{} for {}{left_out}", tunnel.interface, or_dash(&tunnel.routes.join(", ")))
}
