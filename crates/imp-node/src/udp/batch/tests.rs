//! What is joined.

use super::*;

fn piece(at: Range<usize>, stride: usize) -> Piece {
    Piece { at, stride, ecn: None }
}

#[test]
fn packets_of_one_length_are_joined_up_to_the_first_shorter_one() {
    let pieces = [piece(0..100, 100), piece(200..300, 100), piece(400..450, 50), piece(500..600, 100)];
    assert_eq!(joinable(&pieces, 64), 3);
    assert_eq!(joinable(&pieces[2..], 64), 1, "a longer one does not follow a shorter one");
    assert_eq!(joinable(&pieces, 2), 2, "no more than the system takes");
}

#[test]
fn a_message_that_ends_in_a_short_packet_is_the_last_of_its_call() {
    let pieces = [piece(0..250, 100), piece(300..400, 100)];
    assert_eq!(joinable(&pieces, 64), 1);
    let pieces = [piece(300..400, 100), piece(0..250, 100), piece(500..600, 100)];
    assert_eq!(joinable(&pieces, 64), 2);
    let pieces = [piece(0..300, 300), piece(400..600, 100)];
    assert_eq!(joinable(&pieces, 64), 1, "two packets are not one short one");
}

#[test]
fn what_cannot_be_joined_goes_alone() {
    assert_eq!(joinable(&[piece(0..0, 0), piece(5..5, 0)], 64), 1, "empty packets");
    assert_eq!(joinable(&[piece(0..9, 9), piece(5..5, 0)], 64), 1, "an empty packet after another");
    assert_eq!(joinable(&[piece(0..1_453, 1_453), piece(5_000..6_453, 1_453)], 64), 1, "too long");
    let marked = Piece { ecn: Some(EcnCodepoint::Ce), ..piece(200..300, 100) };
    assert_eq!(joinable(&[piece(0..100, 100), marked], 64), 1, "marked by a router");
    let long = [piece(0..64_000, 1_000), piece(70_000..72_000, 1_000)];
    assert_eq!(joinable(&long, 128), 1, "more bytes than a call may have");
}

#[test]
fn an_address_that_is_gone_costs_a_socket_nothing_but_the_address() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let _in_runtime = runtime.enter();
    for (here, any, gone) in [("127.0.0.1", "0.0.0.0", "203.0.113.9"), ("::1", "::", "2001:db8::9")] {
        let at = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 0);
        let Ok(receiver) = std::net::UdpSocket::bind(at(here)) else {
            assert!(here == "::1", "every host has IPv4");
            continue;
        };
        let to = receiver.local_addr().unwrap();
        let mut socket = Socket::new(std::net::UdpSocket::bind(at(any)).unwrap()).unwrap();
        let most = socket.most_joined();
        let gone = Some(gone.parse().unwrap());
        send(Route { socket: &socket, to, from: gone }, b"hello", None, None).unwrap();
        assert_eq!(receiver.recv(&mut [0; 9]).unwrap(), 5, "it goes out from another address");
        assert!(socket.has_lost_address());
        assert_eq!(socket.most_joined(), most, "many packets still go out in one call");
        send(Route { socket: &socket, to, from: None }, b"hello", None, None).unwrap();
        assert!(!socket.has_lost_address());
    }
}
