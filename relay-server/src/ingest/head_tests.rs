//! Heads as real clients send them.

use super::*;
use proptest::prelude::*;

const FFMPEG_PUT: &str = "PUT /live.opus HTTP/1.1\r\nUser-Agent: Lavf/59.27.100\r\n\
    Accept: */*\r\nExpect: 100-continue\r\nConnection: close\r\nHost: 127.0.0.1:22001\r\n\
    Content-Type: audio/mpeg\r\nIcy-MetaData: 1\r\nIce-Public: 0\r\n\
    Authorization: Basic c291cmNlOmhhY2ttZQ==\r\n\r\n";
const FFMPEG_LEGACY: &str = "SOURCE /live.mp3 HTTP/1.1\r\nUser-Agent: Lavf/59.27.100\r\n\
    Accept: */*\r\nConnection: close\r\nHost: 127.0.0.1:22001\r\nContent-Type: audio/mpeg\r\n\
    Icy-MetaData: 1\r\nIce-Public: 0\r\nAuthorization: Basic c291cmNlOmhhY2ttZQ==\r\n\r\n";
const LIBSHOUT_OPTIONS: &str = "OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1:22001\r\n\
    Connection: Keep-Alive\r\nUser-Agent: oggfwd libshout/2.4.6\r\nUpgrade: TLS/1.0, HTTP/1.1\r\n\
    Connection: Upgrade\r\n\r\n";
const LIBSHOUT_POKE: &str = "PUT /live.opus HTTP/1.1\r\nHost: 127.0.0.1:22001\r\n\
    User-Agent: libshout/2.4.6\r\nContent-Type: application/ogg\r\nContent-Length: 0\r\n\r\n";
const LIBSHOUT_POKE_SOURCE: &str = "SOURCE /live.opus HTTP/1.0\r\nHost: 127.0.0.1:22001\r\n\
    User-Agent: libshout/2.4.6\r\nContent-Type: application/ogg\r\nContent-Length: 0\r\n\r\n";
const LIBSHOUT_PUT: &str = "PUT /live.opus HTTP/1.1\r\nHost: 127.0.0.1:22001\r\n\
    Authorization: Basic c291cmNlOmhhY2ttZQ==\r\nUser-Agent: libshout/2.4.6\r\n\
    Content-Type: application/ogg\r\nExpect: 100-continue\r\nice-public: 0\r\n\
    ice-name: no name\r\n\r\n";
const LIQUIDSOAP: &str = "SOURCE /liq.mp3 HTTP/1.0\r\nUser-Agent: Liquidsoap/2.1.3\r\n\
    Authorization: Basic c291cmNlOmhhY2ttZQ==\r\nice-name: liq\r\nContent-Type: audio/mpeg\r\n\r\n";
const BUTT_OLD: &str = "PUT /butt.mp3 HTTP/1.1\r\nHost: localhost:8000\r\n\
    User-Agent: butt 0.1.16\r\nContent-Type: audio/mpeg\r\nice-name: no name\r\nice-public: 0\r\n\
    ice-audio-info: ice-bitrate=128;ice-channels=2;ice-samplerate=44100\r\n\
    Authorization: Basic c291cmNlOmhhY2ttZQ==\r\n\r\n";
const BUTT_NEW: &str = "PUT /butt.opus HTTP/1.1\r\nHost: localhost:8000\r\n\
    User-Agent: butt 0.1.40\r\nExpect: 100-continue\r\nContent-Type: application/ogg\r\n\
    Authorization: Basic c291cmNlOmhhY2ttZQ==\r\n\r\n";
const DARKICE: &str = "SOURCE /dark.mp3 HTTP/1.0\nAuthorization: Basic c291cmNlOmhhY2ttZQ==\n\
    User-Agent: DarkIce/1.3 (http://code.google.com/p/darkice/)\nicy-name: é\n\
    content-type: audio/mpeg\n\n";
const CURL_T: &str = "PUT /curl.opus HTTP/1.1\r\nHost: 127.0.0.1:22001\r\n\
    Authorization: Basic c291cmNlOmhhY2ttZQ==\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\
    Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n";

fn ours(head: &str) -> Head {
    assert_eq!(
        sniff(head.as_bytes()),
        Verdict::Source(head.len()),
        "{head}"
    );
    // Whatever follows belongs to the body.
    let mut more = head.as_bytes().to_vec();
    more.extend_from_slice(b"OggS\0\0");
    assert_eq!(sniff(&more), Verdict::Source(head.len()));
    for cut in 0..head.len() {
        assert_eq!(sniff(&head.as_bytes()[..cut]), Verdict::More, "{cut}");
    }
    Head::parse(head.as_bytes()).expect(head)
}

#[test]
fn every_client_is_understood() {
    let head = ours(FFMPEG_PUT);
    assert_eq!((head.method, head.version), (Method::Put, Version::Http11));
    assert_eq!(head.target.path, "/live.opus");
    assert!(head.expects_continue() && !head.is_poke());
    let head = ours(FFMPEG_LEGACY);
    assert_eq!(head.method, Method::Source);
    assert!(!head.expects_continue());
    let head = ours(LIBSHOUT_OPTIONS);
    assert_eq!((head.method, &*head.target.path), (Method::Options, "*"));
    assert!(head.keeps_alive());
    for poke in [LIBSHOUT_POKE, LIBSHOUT_POKE_SOURCE] {
        let head = ours(poke);
        assert!(head.is_poke() && head.header("authorization").is_none());
    }
    assert!(ours(LIBSHOUT_PUT).expects_continue());
    let head = ours(LIQUIDSOAP);
    assert_eq!(head.version, Version::Http10);
    assert!(!ours(BUTT_OLD).expects_continue());
    assert!(ours(BUTT_NEW).expects_continue());
    let head = ours(DARKICE);
    assert_eq!(head.header("icy-name"), Some("é"));
    let ice = "SOURCE /m ICE/1.0\r\ncontent-type: audio/mpeg\r\n\r\n";
    assert_eq!(ours(ice).version, Version::Ice10);
}

#[test]
fn framed_bodies_and_own_routes_are_hypers() {
    assert_eq!(sniff(CURL_T.as_bytes()), Verdict::Http);
    let framed = "POST /x.mp3 HTTP/1.1\r\ncontent-length: 12\r\n\r\n";
    assert_eq!(sniff(framed.as_bytes()), Verdict::Http);
    for own in [
        "/api/mounts/x/pull",
        "/admin/metadata?mode=updinfo",
        "/v1/audio/speech",
    ] {
        let head = format!("POST {own} HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(sniff(head.as_bytes()), Verdict::Http, "{own}");
    }
    assert_eq!(sniff(b"GET / HTTP/1.1\r\nHost: x\r\n"), Verdict::More);
    assert_eq!(sniff(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), Verdict::Http);
    assert_eq!(sniff(b"\x16\x03\x01"), Verdict::Http);
    assert_eq!(
        sniff(b"OPTIONS /api/mounts HTTP/1.1\r\n\r\n"),
        Verdict::Http
    );
}

#[test]
fn hostile_heads_are_refused() {
    let both = "PUT /m HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(sniff(both.as_bytes()), Verdict::Source(both.len()));
    let why = Head::parse(both.as_bytes()).expect_err("ambiguous");
    assert_eq!(why.status(), 400);
    assert!(why.to_string().contains("together"), "{why}");
    let mut long = b"SOURCE /m HTTP/1.0\r\nx: ".to_vec();
    long.resize(MAX_HEAD + 1, b'a');
    assert_eq!(sniff(&long), Verdict::TooLong);
    let many = format!("SOURCE /m HTTP/1.0\r\n{}\r\n", "a: b\r\n".repeat(101));
    assert_eq!(
        Head::parse(many.as_bytes()).map_err(|e| e.status()),
        Err(431)
    );
    for bad in [
        "SOURCE /m HTTP/1.0\r\n folded: x\r\n\r\n",
        "SOURCE /m HTTP/1.0\r\nno colon\r\n\r\n",
        "SOURCE /m HTTP/2.0\r\n\r\n",
        "SOURCE /m\r\n\r\n",
        "SOURCE /../etc HTTP/1.0\r\n\r\n",
        "SOURCE /m HTTP/1.0\r\nContent-Length: -1\r\n\r\n",
        "SOURCE / HTTP/1.0\r\n\r\n",
    ] {
        assert_eq!(
            Head::parse(bad.as_bytes()).map_err(|e| e.status()),
            Err(400),
            "{bad}"
        );
    }
}

#[test]
fn faults_of_other_requests_are_told() {
    for sound in [
        CURL_T,
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "\r\nGET http://x/a?b=%20c HTTP/1.0\n\n",
        "OPTIONS /api/mounts HTTP/1.1\r\nx: \u{e9}\r\n\r\n",
    ] {
        assert_eq!(sniff(sound.as_bytes()), Verdict::Http, "{sound}");
        assert_eq!(check(sound.as_bytes()), Ok(()), "{sound}");
    }
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101));
    for (bad, status, word) in [
        ("\x16\x03\x01", 400, "PUT /mount HTTP/1.1"),
        ("PRI * HTTP/2.0\r\n\r\n", 400, "HTTP/2.0"),
        ("GET /a b HTTP/1.1\r\n\r\n", 400, "/a b"),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n", 400, "no colon"),
        ("GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400, "\"x\""),
        (&many, 431, "at most 100"),
    ] {
        assert_eq!(sniff(bad.as_bytes()), Verdict::Http, "{bad}");
        let why = check(bad.as_bytes()).expect_err(bad);
        assert_eq!(why.status(), status, "{bad}");
        assert!(why.to_string().contains(word), "{why}");
    }
    // What never becomes a head is not waited for.
    assert_eq!(sniff(&[b'a'; MAX_METHOD + 1]), Verdict::Http);
    let mut long = b"GET / HTTP/1.1\r\nx: ".to_vec();
    long.resize(MAX_HEAD + 1, b'a');
    assert_eq!(sniff(&long), Verdict::TooLong);
}

#[test]
fn icy_login() {
    let bytes = b"hackme\r\nicy-name:Radio\r\ncontent-type: audio/mpeg\r\n\r\nrest";
    assert_eq!(icy_password(bytes), Some(("hackme".into(), 8)));
    let (icy, len) = parse_icy(bytes).expect("whole").expect("sound");
    assert_eq!((icy.password.as_str(), len), ("hackme", bytes.len() - 4));
    assert_eq!(icy.headers[0], ("icy-name".into(), "Radio".into()));
    assert!(!format!("{icy:?}").contains("hackme"));
    assert!(parse_icy(b"hackme\r\nicy-").is_none());
}

proptest! {
    #[test]
    fn never_panics(bytes: Vec<u8>) {
        if let Verdict::Source(len) = sniff(&bytes) {
            let _ = Head::parse(&bytes[..len]);
        }
        let _ = Head::parse(&bytes);
        let _ = check(&bytes);
        let _ = parse_icy(&bytes);
    }

    #[test]
    fn never_panics_near_the_real_thing(at in 0usize..300, byte: u8, which in 0usize..4) {
        let mut bytes = [FFMPEG_PUT, LIBSHOUT_POKE, DARKICE, CURL_T][which].as_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Verdict::Source(len) = sniff(&bytes) {
            let _ = Head::parse(&bytes[..len]);
        }
        let _ = check(&bytes);
    }
}
