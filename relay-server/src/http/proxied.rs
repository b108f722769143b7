//! Who asks, when a proxy asks for them.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

use crate::config::Network;

/// The client's address and whether it speaks TLS: what the nearest of our proxies says it is. Everything left of that in
/// `X-Forwarded-For` is what the client itself claims. Its port is not told, and 0.
pub(super) fn client(
    peer: SocketAddr,
    secure: bool,
    headers: &HeaderMap,
    proxies: &[Network],
) -> (SocketAddr, bool) {
    let ours = |ip: IpAddr| proxies.iter().any(|network| network.contains(ip));
    if !ours(peer.ip()) {
        return (peer, secure);
    }
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let said = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
    let mut client = peer;
    for ip in said.map_while(address) {
        client = SocketAddr::new(ip, 0);
        if !ours(ip) {
            break;
        }
    }
    let scheme = headers.get("x-forwarded-proto");
    (client, scheme.map_or(secure, |scheme| scheme == "https"))
}

/// An address, as some write it with a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let ported = || text.parse().ok().map(|address: SocketAddr| address.ip());
    bare.parse().ok().or_else(ported)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, lines: &[&str]) -> String {
        let proxies = ["127.0.0.1", "10.0.0.0/8"];
        let proxies = proxies.map(|text| Network::parse(text).expect("a network"));
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", line.parse().expect("a header"));
        }
        let peer = format!("{peer}:4711").parse().expect("an address");
        client(peer, false, &headers, &proxies).0.to_string()
    }

    #[test]
    fn a_stranger_is_not_believed() {
        assert_eq!(seen("192.0.2.1", &["203.0.113.9"]), "192.0.2.1:4711");
    }

    #[test]
    fn a_proxy_of_ours_tells_what_the_client_speaks() {
        let proxies = [Network::parse("127.0.0.1").expect("an address")];
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-proto", "https".parse().expect("a header"));
        let secure = |peer: &str| {
            let peer = peer.parse().expect("an address");
            client(peer, false, &headers, &proxies).1
        };
        assert!(secure("127.0.0.1:80") && !secure("192.0.2.1:80"));
    }

    #[test]
    fn the_nearest_of_our_proxies_tells() {
        assert_eq!(seen("127.0.0.1", &[]), "127.0.0.1:4711");
        assert_eq!(seen("127.0.0.1", &["203.0.113.9"]), "203.0.113.9:0");
        // What stands left of it may be the client's own invention.
        assert_eq!(
            seen("127.0.0.1", &["1.1.1.1, 203.0.113.9, 10.1.2.3"]),
            "203.0.113.9:0"
        );
        assert_eq!(
            seen("127.0.0.1", &["1.1.1.1", "203.0.113.9"]),
            "203.0.113.9:0"
        );
        assert_eq!(seen("10.9.9.9", &["[2001:db8::7]:443"]), "[2001:db8::7]:0");
        assert_eq!(seen("10.9.9.9", &["2001:db8::7"]), "[2001:db8::7]:0");
        assert_eq!(
            seen("127.0.0.1", &["203.0.113.9:55, 10.0.0.1"]),
            "203.0.113.9:0"
        );
        assert_eq!(
            seen("127.0.0.1", &["8.8.8.8, unknown, 10.0.0.1"]),
            "10.0.0.1:0"
        );
        assert_eq!(seen("127.0.0.1", &["nonsense"]), "127.0.0.1:4711");
    }
}
