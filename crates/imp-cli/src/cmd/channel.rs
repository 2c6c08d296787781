//! `imp channel`.

use imp_api::proto::imp::node::v1::{
    Channel, CloseChannelRequest, ListChannelsRequest, ListChannelsResponse, OpenChannelRequest,
};

use super::ASKING;
use crate::args::node::ChannelCommand;
use crate::confirm::confirm;
use crate::failure::Failure;
use crate::output::Column::{Number, Text};
use crate::output::{fields, or_dash, table};
use crate::session::Session;

pub(crate) async fn run(session: &Session, command: ChannelCommand) -> Result<(), Failure> {
    match command {
        ChannelCommand::List => list(session).await,
        ChannelCommand::Open { node, capacity, push, announce, key } => {
            let request = OpenChannelRequest {
                pubkey: session.pubkey(node.node).await?,
                address: node.address,
                capacity_sat: capacity,
                push_sat: push.unwrap_or_default(),
                announce,
                idempotency_key: key.key,
            };
            let answer = session.call("opening", async move |node| node.open_channel(request).await).await?;
            session.print(&answer, |answer| fields(&[("id", &answer.user_channel_id)]))
        }
        ChannelCommand::Close { id, force, yes } => {
            if force {
                let question =
                    format!("close channel {id} without the other node, slowly and for more fees?");
                confirm(yes.yes, &question)?;
            }
            let request = CloseChannelRequest { user_channel_id: id, force };
            let answer = session.call("closing", async move |node| node.close_channel(request).await).await?;
            session.print(&answer, |_| "closing".to_owned())
        }
    }
}

pub(super) async fn list(session: &Session) -> Result<(), Failure> {
    let answer = session.call(ASKING, async |node| node.list_channels(ListChannelsRequest {}).await).await?;
    session.print(&answer, channels)
}

fn channels(answer: &ListChannelsResponse) -> String {
    if answer.channels.is_empty() {
        return "no channels".to_owned();
    }
    let row = |channel: &Channel| {
        [
            channel.pubkey.clone(),
            channel.capacity_sat.to_string(),
            channel.outbound_sat.to_string(),
            channel.inbound_sat.to_string(),
            state(channel).to_owned(),
            channel.user_channel_id.clone(),
            or_dash(&channel.funding),
        ]
    };
    let columns = [
        Text("PEER"),
        Number("CAPACITY"),
        Number("CAN SEND"),
        Number("CAN RECEIVE"),
        Text("STATE"),
        Text("ID"),
        Text("FUNDING"),
    ];
    table(columns, &answer.channels.iter().map(row).collect::<Vec<_>>())
}

const fn state(channel: &Channel) -> &'static str {
    match (channel.ready, channel.usable) {
        (_, true) => "usable",
        (true, false) => "peer away",
        (false, false) => "opening",
    }
}
