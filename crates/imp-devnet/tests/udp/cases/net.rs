//! Whether the internet of the other cases is what they take it for.

use std::sync::Arc;

use crate::internet::{RELAY, ROUTER_A, ROUTER_B, STRANGER};
use crate::lab::Lab;
use crate::program::{Program, to};

pub(crate) async fn routers_hide_their_users(lab: Arc<Lab>) {
    let internet = &lab.internet;
    let listener = Program::at(&internet.relay, to(RELAY, 0));
    for (host, seen_as) in
        [(&internet.user_a, ROUTER_A), (&internet.user_b, ROUTER_B), (&internet.stranger, STRANGER)]
    {
        let program = Program::on(host);
        program.send(b"who am I", to(RELAY, listener.port())).await;
        let from = listener.expect(b"who am I").await;
        assert_eq!(from.ip(), seen_as);
        // The way back is open to who was spoken to ..
        listener.send(b"you", from).await;
        assert_eq!(program.expect(b"you").await, to(RELAY, listener.port()));
        // .. and to nobody else.
        if seen_as != STRANGER {
            let stranger = Program::connected(&internet.stranger, from).await;
            stranger.expect_refusal(from).await;
        }
    }
    // The core takes what has a wrong sender, so that it is the relay that has to look.
    for posed in ["10.9.9.9", "198.51.100.77"] {
        let posed = posed.parse().unwrap();
        internet.let_stranger_pose_as(posed).unwrap();
        let program = Program::at(&internet.stranger, to(posed, 0));
        program.send(b"somebody else", to(RELAY, listener.port())).await;
        assert_eq!(listener.expect(b"somebody else").await, to(posed, program.port()));
    }
}
