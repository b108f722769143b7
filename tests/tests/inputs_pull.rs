//! Streams of other servers: a speech service that talks in bursts, errors,
//! old SHOUTcast servers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tests::support::http::{Answer, answer, request};
use tests::support::{Program, Relay, Scratch, opusdec_decode, require};

const LIMIT: Duration = Duration::from_secs(30);

/// A stand-in: answers each request by what `answer` writes.
fn serve(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let (mut socket, answer) = (socket, answer.clone());
            std::thread::spawn(move || {
                let head = read_request(&mut socket);
                answer(&head, &mut socket);
            });
        }
    });
    address
}

/// Head and body of a request.
fn read_request(socket: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&all).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let is = name.eq_ignore_ascii_case("content-length");
                is.then(|| value.trim().parse::<usize>().ok())?
            });
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        match socket.read(&mut piece) {
            Ok(0) | Err(_) => return text,
            Ok(len) => all.extend_from_slice(&piece[..len]),
        }
    }
}

/// Sends `body` chunked, `piece` bytes at a time with pauses in between.
fn stream(socket: &mut TcpStream, kind: &str, body: &[u8], piece: usize, pause: Duration) {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    );
    let _ = socket.write_all(head.as_bytes());
    for part in body.chunks(piece) {
        let _ = socket.write_all(format!("{:x}\r\n", part.len()).as_bytes());
        let _ = socket.write_all(part);
        if socket.write_all(b"\r\n").is_err() {
            return;
        }
        std::thread::sleep(pause);
    }
    let _ = socket.write_all(b"0\r\n\r\n");
}

/// espeak-ng says something; ffmpeg makes it what a speech service sends.
fn speech(scratch: &Scratch, name: &str, arguments: &[&str]) -> Vec<u8> {
    require(&["espeak-ng", "ffmpeg", "opusdec"]);
    let wav = scratch.file("speech.wav");
    let text = "The relay takes speech as it comes. It comes in bursts. Nothing of it may be lost.";
    Program::new("espeak-ng")
        .arg("-w")
        .arg(&wav)
        .arg(text)
        .run()
        .expect("espeak-ng");
    let file = scratch.file(name);
    Program::new("ffmpeg")
        .args(["-v", "error", "-y", "-i"])
        .arg(&wav)
        .args(arguments)
        .arg(&file)
        .run()
        .expect("ffmpeg");
    std::fs::read(file).expect("speech")
}

fn post(relay: &Relay, path: &str, token: &str, body: &str) -> Answer {
    let mut socket = TcpStream::connect(relay.address).expect("connect");
    socket.set_read_timeout(Some(LIMIT)).expect("timeout");
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(head.as_bytes()).expect("write");
    answer(&mut socket)
}

#[test]
fn a_speech_services_answer_is_relayed_whole() {
    let scratch = Scratch::new("speech");
    // One-second pages, in bursts of several and slower than real time between.
    let opus = speech(
        &scratch,
        "a.opus",
        &["-ar", "48000", "-page_duration", "1000000"],
    );
    let body = opus.clone();
    let upstream = serve(move |head, socket| {
        assert!(
            head.starts_with("POST /v1/speak?key=sk-secret-2 HTTP/1.1\r\n"),
            "{head}"
        );
        assert!(
            head.contains("sk-secret-1") && head.ends_with("{\"text\":\"hello\"}"),
            "{head}"
        );
        stream(socket, "audio/ogg", &body, 4000, Duration::from_millis(120));
    });
    let relay = Relay::start();
    let order = format!(
        "{{\"url\":\"http://{upstream}/v1/speak?key=sk-secret-2\",\"headers\":{{\"Authorization\":\
         \"Bearer sk-secret-1\"}},\"body\":{{\"text\":\"hello\"}}}}"
    );
    let path = "/api/mounts/say.opus/pull";
    assert_eq!(post(&relay, path, "wrong", &order).status, 401);
    let answer = post(&relay, path, Relay::TOKEN, &order);
    assert_eq!(
        answer.status,
        202,
        "{}",
        String::from_utf8_lossy(&answer.body)
    );
    relay.wait_for("/api/mounts/say.opus", "\"state\":\"ended\"", LIMIT);
    let heard = scratch.file("heard.opus");
    relay.download("/say.opus?from=start", &heard);
    let (heard, sent) = (
        opusdec_decode(&heard),
        opusdec_decode(&scratch.file("a.opus")),
    );
    let (heard, sent) = (heard.expect("opusdec"), sent.expect("opusdec"));
    assert!(
        heard.samples == sent.samples,
        "{} of {} frames",
        heard.frames(),
        sent.frames()
    );
    assert!(
        !relay.process.stderr().contains("sk-secret"),
        "{}",
        relay.process.stderr()
    );
}

#[test]
fn errors_of_the_upstream_are_clear_and_keep_secrets() {
    let upstream = serve(|head, socket| {
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let (status, more, body) = match path.as_str() {
            "/401" => (
                "401 Unauthorized",
                "",
                "{\"error\":\"bad key sk-secret-1\"}",
            ),
            "/429" => ("429 Too Many Requests", "Retry-After: 7\r\n", "slow down"),
            "/500" => ("500 Internal Server Error", "", "broken"),
            _ => (
                "200 OK",
                "Content-Type: text/html\r\n",
                "<html>hello</html>",
            ),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\n{more}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let _ = socket.write_all(head.as_bytes());
    });
    let relay = Relay::start();
    let pull = |path: &str| {
        let order = format!(
            "{{\"url\":\"http://{upstream}{path}\",\"headers\":{{\"Authorization\":\"Bearer sk-secret-1\"}}}}"
        );
        let answer = post(&relay, "/api/mounts/x.opus/pull", Relay::TOKEN, &order);
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!body.contains("sk-secret"), "{body}");
        (answer.status, answer.header("retry-after"), body)
    };
    let (status, _, body) = pull("/401");
    assert!(
        status == 502 && body.contains("\"upstream_status\":401"),
        "{body}"
    );
    assert!(body.contains("bad key"), "{body}");
    let (status, retry, _) = pull("/429");
    assert_eq!((status, retry.as_deref()), (429, Some("7")));
    assert_eq!(pull("/500").0, 502);
    let (status, _, body) = pull("/html");
    assert!(status == 502 && body.contains("text/html"), "{body}");
    let refused = post(
        &relay,
        "/api/mounts/x.opus/pull",
        Relay::TOKEN,
        "{\"url\":\"http://127.0.0.1:1/\"}",
    );
    assert_eq!(refused.status, 502);
    for wrong in [
        "{",
        "{\"url\":\"gopher://x\"}",
        "{\"url\":\"http://x/\",\"colour\":1}",
    ] {
        assert_eq!(
            post(&relay, "/api/mounts/x.opus/pull", Relay::TOKEN, wrong).status,
            400,
            "{wrong}"
        );
    }
    assert!(
        !relay.process.stderr().contains("sk-secret"),
        "{}",
        relay.process.stderr()
    );
}

#[test]
fn an_answer_that_breaks_off_is_a_lost_source() {
    let scratch = Scratch::new("cut");
    let opus = speech(&scratch, "a.opus", &["-ar", "48000"]);
    let upstream = serve(move |_, socket| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: audio/ogg\r\nContent-Length: {}\r\n\r\n",
            opus.len()
        );
        let _ = socket.write_all(head.as_bytes());
        let _ = socket.write_all(&opus[..opus.len() / 2]);
    });
    let relay = Relay::start();
    let order = format!("{{\"url\":\"http://{upstream}/\"}}");
    assert_eq!(
        post(&relay, "/api/mounts/x.opus/pull", Relay::TOKEN, &order).status,
        202
    );
    relay.wait_for("/api/mounts/x.opus", "\"state\":\"offline\"", LIMIT);
    let token = format!("Authorization: Bearer {}\r\n", Relay::TOKEN);
    let inputs = request(relay.address, "GET", "/api/inputs", &token);
    let inputs = String::from_utf8_lossy(&inputs.body).into_owned();
    assert!(inputs.contains("broke off"), "{inputs}");
}

#[test]
fn a_pull_can_be_stopped() {
    let scratch = Scratch::new("stop");
    let mp3 = speech(&scratch, "a.mp3", &["-b:a", "64k"]);
    let upstream = serve(move |_, socket| {
        stream(socket, "audio/mpeg", &mp3, 500, Duration::from_millis(200));
    });
    let relay = Relay::start();
    let order = format!("{{\"url\":\"http://{upstream}/\"}}");
    assert_eq!(
        post(&relay, "/api/mounts/x.mp3/pull", Relay::TOKEN, &order).status,
        202
    );
    relay.wait_for("/api/mounts/x.mp3", "\"live\":true", LIMIT);
    let token = format!("Authorization: Bearer {}\r\n", Relay::TOKEN);
    let stop = || request(relay.address, "DELETE", "/api/mounts/x.mp3/pull", &token).status;
    assert_eq!(stop(), 204);
    relay.wait_for("/api/mounts/x.mp3", "\"state\":\"ended\"", LIMIT);
    assert_eq!(stop(), 404);
}

/// Where callers bring a key of their own, it is no relay's password: no mount but the
/// relay's own for speech is theirs to take.
#[test]
fn speech_with_the_callers_key_feeds_no_other_mount() {
    let scratch = Scratch::new("own-key");
    let opus = speech(&scratch, "a.opus", &["-ar", "48000"]);
    let upstream = serve(move |head, socket| {
        assert!(head.contains("Bearer callers-key"), "{head}");
        assert!(!head.contains(Relay::PASSWORD), "{head}");
        stream(socket, "audio/ogg", &opus, 10_000, Duration::ZERO);
    });
    let relay = Relay::with_config(&format!(
        "speech_url = \"http://{upstream}/v1/audio/speech\"\nopen_mounts = false\n\
         [[mount]]\npath = \"/live.opus\"\n"
    ));
    let body = "{\"input\":\"hello\",\"response_format\":\"opus\"}";
    let token = format!("?token={}", Relay::PASSWORD);
    for (query, mount, status) in [
        ("", "", 200),
        ("", "X-Seamcast-Mount: /live.opus\r\n", 401),
        ("?token=wrong", "X-Seamcast-Mount: /live.opus\r\n", 401),
        (&token, "X-Seamcast-Mount: /other.opus\r\n", 403),
        (&token, "X-Seamcast-Mount: /live.opus\r\n", 200),
    ] {
        let mut socket = TcpStream::connect(relay.address).expect("connect");
        socket.set_read_timeout(Some(LIMIT)).expect("timeout");
        let request = format!(
            "POST /v1/audio/speech{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{mount}\
             Authorization: Bearer callers-key\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(request.as_bytes()).expect("write");
        let answer = answer(&mut socket);
        let said = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, status, "{query} {mount}: {said}");
    }
    relay.wait_for("/api/mounts/speech.opus", "\"state\":\"ended\"", LIMIT);
    relay.wait_for("/api/mounts/live.opus", "\"state\":\"ended\"", LIMIT);
}

#[test]
fn speech_answers_the_caller_and_feeds_a_mount() {
    let scratch = Scratch::new("proxy");
    let wav = speech(&scratch, "a.wav", &["-ar", "24000", "-ac", "1"]);
    let opus = speech(&scratch, "a.opus", &["-ar", "48000"]);
    let (streamed_wav, streamed_opus) = (wav.clone(), opus.clone());
    let upstream = serve(move |head, socket| {
        assert!(head.contains("Bearer upstream-key"), "{head}");
        if head.contains("\"nobody\"") {
            let _ = socket.write_all(
                b"HTTP/1.1 400 Bad Request\r\nContent-Length: 21\r\n\r\n{\"error\":\"no voice\"}\r\n",
            );
        } else if head.contains("\"wav\"") {
            let mut wav = streamed_wav.clone();
            // As streaming services write it: a length that nobody knew.
            wav[4..8].fill(0xff);
            let data = wav.windows(4).position(|w| w == b"data").expect("data");
            wav[data + 4..data + 8].fill(0xff);
            stream(socket, "audio/wav", &wav, 9001, Duration::from_millis(50));
        } else {
            stream(
                socket,
                "audio/ogg",
                &streamed_opus,
                3000,
                Duration::from_millis(50),
            );
        }
    });
    let relay = Relay::with_config(&format!(
        "speech_url = \"http://{upstream}/v1/audio/speech\"\nspeech_key = \"upstream-key\"\n"
    ));
    let say = |key: &str, body: &str, out: &str| {
        let done = Program::new("curl")
            .args(["-sS", "-o"])
            .arg(scratch.file(out))
            .args([
                "-w",
                "%{http_code}",
                "-H",
                &format!("Authorization: Bearer {key}"),
            ])
            .args(["-H", "Content-Type: application/json", "-d", body])
            .arg(relay.url("/v1/audio/speech"))
            .run()
            .expect("curl");
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    assert_eq!(say("wrong", "{}", "none"), "401");
    // A page of another origin may name the mount, and is told it.
    let preflight = "Origin: https://page.example\r\nAccess-Control-Request-Method: POST\r\n";
    let allowed = request(relay.address, "OPTIONS", "/v1/audio/speech", preflight);
    for list in [
        "access-control-allow-headers",
        "access-control-expose-headers",
    ] {
        let names = allowed.header(list).unwrap_or_default();
        assert!(names.contains("X-Seamcast-Mount"), "{list}: {names}");
    }
    let body = "{\"model\":\"tts-1\",\"input\":\"hello\",\"voice\":\"alloy\",\"response_format\":\"opus\"}";
    assert_eq!(say(Relay::PASSWORD, body, "said.opus"), "200");
    assert!(
        std::fs::read(scratch.file("said.opus")).expect("said") == opus,
        "the caller's bytes"
    );
    relay.wait_for("/api/mounts/speech.opus", "\"state\":\"ended\"", LIMIT);
    relay.download("/speech.opus?from=start", &scratch.file("heard.opus"));
    let heard = opusdec_decode(&scratch.file("heard.opus")).expect("opusdec");
    let said = opusdec_decode(&scratch.file("said.opus")).expect("opusdec");
    assert!(
        heard.samples == said.samples,
        "{} of {}",
        heard.frames(),
        said.frames()
    );

    let wanted = body.replace("\"opus\"", "\"wav\"");
    assert_eq!(say(Relay::PASSWORD, &wanted, "said.wav"), "200");
    assert_eq!(
        std::fs::read(scratch.file("said.wav")).expect("said").len(),
        wav.len()
    );
    relay.wait_for("/api/mounts/speech.opus", "\"state\":\"ended\"", LIMIT);
    relay.download("/speech.opus?from=start", &scratch.file("heard.opus"));
    let heard = opusdec_decode(&scratch.file("heard.opus"))
        .expect("opusdec")
        .frames();
    let frames = (wav.len() - 44) / 2 * 2;
    assert!(heard.abs_diff(frames) < 100, "{heard} of {frames} frames");

    let unknown = body.replace("alloy", "nobody");
    assert_eq!(say(Relay::PASSWORD, &unknown, "error"), "400");
    let error = std::fs::read_to_string(scratch.file("error")).expect("error");
    assert!(error.contains("no voice"), "{error}");
}

#[test]
fn an_old_shoutcast_server_is_fetched_on_demand_with_its_titles() {
    let scratch = Scratch::new("icy");
    let mp3 = speech(
        &scratch,
        "a.mp3",
        &["-b:a", "64k", "-id3v2_version", "0", "-write_xing", "0"],
    );
    let upstream = serve(move |head, socket| {
        assert!(
            head.to_ascii_lowercase().contains("icy-metadata: 1"),
            "{head}"
        );
        let _ = socket.write_all(
            b"ICY 200 OK\r\nicy-name: Old radio\r\nContent-Type: audio/mpeg\r\nicy-metaint: 1000\r\n\r\n",
        );
        for (at, piece) in mp3.chunks_exact(1000).cycle().take(400).enumerate() {
            let mut title = format!("StreamTitle='Song {}';", at / 20).into_bytes();
            title.resize(32, 0);
            let _ = socket.write_all(piece);
            if socket
                .write_all(&[2])
                .and_then(|()| socket.write_all(&title))
                .is_err()
            {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let relay = Relay::with_config(&format!(
        "[[input]]\nkind = \"http\"\nmount = \"/radio.mp3\"\nurl = \"http://{upstream}/;\"\non_demand = true\n"
    ));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(
        relay.fetch("/api/mounts/radio.mp3").0,
        404,
        "nobody listens yet"
    );
    let heard = scratch.file("heard.mp3");
    let done = Program::new("curl")
        .args(["-sS", "--max-time", "4", "-o"])
        .arg(&heard)
        .arg(relay.url("/radio.mp3"))
        .finish()
        .expect("curl");
    assert_eq!(done.status.code(), Some(28), "it plays on: {}", done.stderr);
    let (_, mount) = relay.fetch("/api/mounts/radio.mp3");
    assert!(
        mount.contains("\"title\":\"Song ") && mount.contains("Old radio"),
        "{mount}"
    );
    // No metadata among the audio: every frame decodes.
    let faults = Program::new("mpg123")
        .args(["-q", "-t"])
        .arg(&heard)
        .finish()
        .expect("mpg123");
    assert!(!faults.stderr.contains("Illegal"), "{}", faults.stderr);
    assert!(mount.contains("\"faults\":0"), "{mount}");
    // Nobody listens any more: it is let go.
    relay.wait_for("/api/mounts/radio.mp3", "\"state\":\"ended\"", LIMIT);
}
