//! `/files/` beside nginx serving the same finished file: the same status,
//! the same headers that matter, the same bytes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use tests::support::http::{Answer, request};
use tests::support::{Program, Relay, Running, Scratch, require};

const LEN: usize = 200_003;

/// Parts of a multipart/byteranges body: their `Content-Range` and bytes.
fn parts(answer: &Answer) -> Vec<(String, Vec<u8>)> {
    let content_type = answer.header("content-type").unwrap_or_default();
    let Some((_, boundary)) = content_type.split_once("boundary=") else {
        return Vec::new();
    };
    let text: String = answer.body.iter().map(|&b| char::from(b)).collect();
    let mut parts = Vec::new();
    for part in text.split(&format!("\r\n--{boundary}")) {
        if let Some((head, body)) = part.split_once("\r\n\r\n") {
            let range = head.lines().find_map(|l| l.strip_prefix("Content-Range: "));
            let bytes = body.chars().map(|c| c as u8).collect();
            parts.push((range.unwrap_or_default().to_owned(), bytes));
        }
    }
    parts
}

/// nginx on a free port, serving `root` under `/files/`.
fn nginx(root: &Path) -> (Running, SocketAddr, Scratch) {
    let address = TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a port");
    let scratch = Scratch::new("nginx");
    let dir = scratch.path().display();
    let config = scratch.file("nginx.conf");
    let text = format!(
        "daemon off; pid {dir}/pid; error_log {dir}/error.log; user root; worker_processes 1; events {{}}\n\
         http {{ access_log off; if_modified_since before; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;\n\
         types {{ audio/mpeg mp3; }} server {{ listen {address}; location /files/ {{ alias {}/; }} }} }}\n",
        root.display()
    );
    std::fs::write(&config, text).expect("config");
    let server = Program::new("nginx")
        .arg("-c")
        .arg(&config)
        .limit(Duration::from_secs(600))
        .spawn()
        .expect("nginx");
    let until = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).is_err() {
        assert!(
            Instant::now() < until,
            "nginx did not start: {}",
            server.stderr()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    (server, address, scratch)
}

/// A file that was written an hour ago; closed once, as finished files are.
fn old_file(path: &Path, bytes: &[u8]) {
    let mut file = std::fs::File::create(path).expect("create");
    file.write_all(bytes).expect("write");
    let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    file.set_modified(hour_ago).expect("mtime");
}

#[test]
fn a_finished_file_is_served_as_nginx_serves_it() {
    require(&["nginx"]);
    let relay = Relay::start();
    let bytes: Vec<u8> = (0..LEN as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let file = relay.scratch.file("song.mp3");
    old_file(&file, &bytes);
    // The close that follows must be seen before the first request.
    relay.wait_for_finished("/files/song.mp3");
    let (_server, peer, _scratch) = nginx(relay.scratch.path());

    let tag_of = |address| {
        request(address, "HEAD", "/files/song.mp3", "")
            .header("etag")
            .expect("etag")
    };
    let (ours_tag, peer_tag) = (tag_of(relay.address), tag_of(peer));
    let date = request(peer, "HEAD", "/files/song.mp3", "")
        .header("last-modified")
        .expect("date");
    let case = |method: &'static str, headers: &str| (method, headers.to_owned());
    let cases = [
        case("GET", ""),
        case("HEAD", ""),
        case("GET", "Range: bytes=0-0\r\n"),
        case("GET", "Range: bytes=0-\r\n"),
        case("GET", "Range: bytes=100-199\r\n"),
        case("GET", "Range: bytes=199000-\r\n"),
        case("GET", "Range: bytes=-1\r\n"),
        case("GET", "Range: bytes=-500000\r\n"),
        case("GET", "Range: bytes=150000-999999\r\n"),
        case("GET", "Range: bytes=200002-200002\r\n"),
        case("GET", "Range: bytes=200003-\r\n"),
        case("GET", "Range: bytes=-0\r\n"),
        case("GET", "Range: bytes=5-2\r\n"),
        case("GET", "Range: bytes=abc\r\n"),
        case("GET", "Range: bytes=99999999999999999999-\r\n"),
        case("GET", "Range: bytes=0-1,5-9\r\n"),
        case("GET", "Range: bytes=10-19,0-4,-5\r\n"),
        case("GET", "Range: bytes=0-1,300000-\r\n"),
        case("GET", "Range: bytes=0-,0-\r\n"),
        case("GET", "Range: seconds=1-2\r\n"),
        case("GET", "Range: bytes=0-9\r\nIf-Range: TAG\r\n"),
        case("GET", "Range: bytes=0-9\r\nIf-Range: \"other\"\r\n"),
        case("GET", "Range: bytes=0-9\r\nIf-Range: DATE\r\n"),
        case(
            "GET",
            "Range: bytes=0-9\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
        ),
        case("GET", "If-None-Match: TAG\r\n"),
        case("GET", "If-None-Match: \"other\"\r\n"),
        case("GET", "If-Modified-Since: DATE\r\n"),
        case(
            "GET",
            "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
        ),
        case("GET", "If-Match: TAG\r\n"),
        case("GET", "If-Match: \"other\"\r\n"),
        case("HEAD", "If-None-Match: TAG\r\n"),
        // Suffixes, spaces, other spellings.
        case("GET", "Range: bytes=-200003\r\n"),
        case("GET", "Range: bytes=-\r\n"),
        case("GET", "Range: bytes=0-9, 20-29\r\n"),
        case("GET", "Range: bytes= 0-9\r\n"),
        case("GET", "Range: bytes=-5,-10\r\n"),
        case("GET", "Range: bytes=0-9,-0\r\n"),
        case("GET", "Range: bytes=300000-,400000-\r\n"),
        case("GET", "Range: bytes=0-9,x\r\n"),
        case("GET", "Range: bytes=9007199254740991-\r\n"),
        // Overlapping ranges, in and out of order, whole in sum or more.
        case("GET", "Range: bytes=0-99,50-149\r\n"),
        case("GET", "Range: bytes=50-149,0-99,75-80\r\n"),
        case("GET", "Range: bytes=0-100001,100001-\r\n"),
        case("GET", "Range: bytes=0-100000,100001-\r\n"),
        // Validators: weak, any, several; with a range.
        case("GET", "Range: bytes=0-9\r\nIf-Range: W/TAG\r\n"),
        case("GET", "Range: bytes=0-1,5-9\r\nIf-Range: TAG\r\n"),
        case("GET", "Range: bytes=0-1,5-9\r\nIf-Range: \"other\"\r\n"),
        case("GET", "Range: bytes=300000-\r\nIf-Range: \"other\"\r\n"),
        case("GET", "If-Range: \"other\"\r\n"),
        case("GET", "Range: bytes=0-9\r\nIf-None-Match: TAG\r\n"),
        case("GET", "Range: bytes=0-9\r\nIf-Match: \"other\"\r\n"),
        case("GET", "Range: bytes=0-9\r\nIf-Match: TAG\r\n"),
        case("GET", "If-None-Match: W/TAG\r\n"),
        case("GET", "If-None-Match: \"other\", TAG\r\n"),
        case("GET", "If-None-Match: *\r\n"),
        case("GET", "If-Match: *\r\n"),
        case("GET", "If-Match: W/TAG\r\n"),
        case("GET", "If-Match: \"other\", TAG\r\n"),
        case(
            "GET",
            "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
        ),
        case(
            "GET",
            "If-Modified-Since: Fri, 31 Dec 2100 23:59:59 GMT\r\n",
        ),
        case("GET", "If-Modified-Since: yesterday\r\n"),
        case("GET", "If-Unmodified-Since: DATE\r\n"),
        case(
            "GET",
            "If-None-Match: \"other\"\r\nIf-Modified-Since: DATE\r\n",
        ),
        case("HEAD", "If-Match: \"other\"\r\n"),
        case("HEAD", "If-Modified-Since: DATE\r\n"),
        // Other methods.
        case("POST", "Content-Length: 0\r\n"),
        case("DELETE", ""),
        case("PATCH", "Content-Length: 0\r\n"),
    ];
    for (method, headers) in &cases {
        let with = |tag: &str| headers.replace("TAG", tag).replace("DATE", &date);
        let ours = request(relay.address, method, "/files/song.mp3", &with(&ours_tag));
        let theirs = request(peer, method, "/files/song.mp3", &with(&peer_tag));
        let what = format!(
            "{method} {headers:?}\nours:\n{}\nnginx:\n{}",
            ours.head, theirs.head
        );
        assert_eq!(ours.status, theirs.status, "{what}");
        if ours.status == 304 {
            // RFC 9110 §8.6: no length but that of the 200; §15.4.5: caching as there.
            assert_eq!(ours.header("content-length"), None, "{what}");
            let caching = ours.header("cache-control");
            assert_eq!(caching.as_deref(), Some("no-cache"), "{what}");
        }
        if ours.status >= 400 {
            assert_eq!(
                ours.header("content-range"),
                theirs.header("content-range"),
                "{what}"
            );
            continue;
        }
        let multipart = theirs
            .header("content-type")
            .is_some_and(|t| t.starts_with("multipart"));
        if multipart {
            assert_eq!(parts(&ours), parts(&theirs), "{what}");
            assert!(parts(&ours).len() > 1, "{what}");
            continue;
        }
        for name in [
            "content-length",
            "content-range",
            "content-type",
            "last-modified",
            "accept-ranges",
        ] {
            if let Some(theirs) = theirs.header(name) {
                assert_eq!(ours.header(name), Some(theirs), "{name} of {what}");
            }
        }
        assert!(ours.body == theirs.body, "bodies of {what}");
    }

    // Where we differ, and why.
    let different = [
        // RFC 9110 §14.2: a range means nothing in a HEAD.
        ("HEAD", "Range: bytes=0-9\r\n".to_owned(), 200, 206),
        // Answered for scripts of other origins.
        ("OPTIONS", String::new(), 204, 405),
        // §14.1.1: one bad range makes all of them so; none is no better.
        ("GET", "Range: bytes=0-9,5-2\r\n".to_owned(), 416, 206),
        ("GET", "Range: bytes=\r\n".to_owned(), 416, 200),
        // §14.1.2: beyond the end is up to the end, however far.
        (
            "GET",
            "Range: bytes=0-18446744073709551615\r\n".to_owned(),
            206,
            416,
        ),
        // §17.15: so many tiny parts are an attack.
        (
            "GET",
            format!("Range: bytes={}0-0\r\n", "0-0,".repeat(64)),
            400,
            206,
        ),
        // RFC 6585 §5: 20 kB are more than either takes, and this says why.
        (
            "GET",
            format!("Range: bytes={}0-0\r\n", "0-0,".repeat(5000)),
            431,
            400,
        ),
    ];
    for (method, headers, mine, peers) in different {
        let ours = request(relay.address, method, "/files/song.mp3", &headers);
        let theirs = request(peer, method, "/files/song.mp3", &headers);
        let statuses = (ours.status, theirs.status);
        assert_eq!(statuses, (mine, peers), "{method} {headers:.200}");
    }
}

#[test]
fn nothing_outside_the_root_can_be_seen() {
    let relay = Relay::start();
    std::fs::write(relay.scratch.file(".hidden"), "secret").expect("write");
    std::os::unix::fs::symlink("/etc/passwd", relay.scratch.file("passwd.mp3")).expect("link");
    let missing = request(relay.address, "GET", "/files/missing.mp3", "");
    assert_eq!(missing.status, 404);
    for path in [
        "/files/.hidden",
        "/files/%2ehidden",
        "/files/passwd.mp3",
        "/files/../../etc/passwd",
        "/files/%2e%2e/%2e%2e/etc/passwd",
        "/files/..%2f..%2fetc/passwd",
        "/files//etc/passwd",
        "/files/%00",
        "/files/a%00.mp3",
        "/files/.",
        "/files/",
        "/files/%zz",
    ] {
        let answer = request(relay.address, "GET", path, "");
        assert_eq!(
            (answer.status, &answer.body),
            (404, &missing.body),
            "{path}"
        );
    }
}

#[test]
fn hostile_ranges_are_refused_within_bounds() {
    let relay = Relay::start();
    old_file(&relay.scratch.file("a.mp3"), &[7; 1000]);
    relay.wait_for_finished("/files/a.mp3");
    let many = format!("Range: bytes={}0-1\r\n", "0-1,".repeat(500));
    assert_eq!(
        request(relay.address, "GET", "/files/a.mp3", &many).status,
        400
    );
    let overflow = "Range: bytes=18446744073709551616-18446744073709551617\r\n";
    assert_eq!(
        request(relay.address, "GET", "/files/a.mp3", overflow).status,
        416
    );
    for query in [
        "?pos=-1",
        "?pos=nan",
        "?wait=x",
        "?format=s16le",
        "?format=zip&rate=1",
    ] {
        let answer = request(relay.address, "GET", &format!("/files/a.mp3{query}"), "");
        assert_eq!(answer.status, 400, "{query}: {}", answer.head);
    }
    assert_eq!(
        request(
            relay.address,
            "PUT",
            "/files/a.mp3",
            "Content-Length: 0\r\n"
        )
        .status,
        405
    );
}

#[test]
fn a_file_cut_short_while_being_read_ends_the_connection() {
    let relay = Relay::start();
    let path = relay.scratch.file("big.mp3");
    old_file(&path, &vec![1; 64 << 20]);
    relay.wait_for_finished("/files/big.mp3");
    let mut socket = TcpStream::connect(relay.address).expect("connect");
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("timeout");
    socket
        .write_all(b"GET /files/big.mp3 HTTP/1.1\r\nHost: x\r\n\r\n")
        .expect("write");
    let mut first = [0; 1000];
    socket.read_exact(&mut first).expect("the beginning");
    std::fs::File::options()
        .write(true)
        .open(&path)
        .and_then(|f| f.set_len(1000))
        .expect("truncate");
    let mut rest = Vec::new();
    // A reset or an early end; never the promised length, never a hang.
    let _ = socket.read_to_end(&mut rest);
    assert!(rest.len() < 64 << 20);
    assert_eq!(request(relay.address, "GET", "/healthz", "").status, 200);
}

trait Finished {
    fn wait_for_finished(&self, path: &str);
}

impl Finished for Relay {
    /// Waits until the relay knows the file's total length.
    fn wait_for_finished(&self, path: &str) {
        // Let the notifications of the writing itself pass first.
        std::thread::sleep(Duration::from_millis(500));
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let answer = request(self.address, "GET", path, "Range: bytes=0-0\r\n");
            if answer
                .header("content-range")
                .is_some_and(|r| !r.ends_with('*'))
            {
                return;
            }
            assert!(
                Instant::now() < until,
                "{path} never finished: {}",
                answer.head
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
