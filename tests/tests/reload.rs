//! SIGHUP: what the configuration names anew starts, what it no longer names
//! stops, and what it names as before goes on without anybody noticing.

mod relay_common;

use std::io::Write as _;
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use relay_common::{Socket, mount};
use serde_json::Value;
use tests::support::http::request;
use tests::support::{Pcm, Relay, Scratch};
use tokio_tungstenite::tungstenite::Message;

const LIMIT: Duration = Duration::from_secs(60);

fn free_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    socket.expect("a free port").port()
}

fn board(relay: &Relay, what: &str) -> Vec<Value> {
    let token = format!("Authorization: Bearer {}\r\n", Relay::TOKEN);
    let answer = request(relay.address, "GET", &format!("/api/{what}"), &token);
    serde_json::from_slice(&answer.body).expect("an array")
}

fn of<'b>(board: &'b [Value], mount: &str) -> Option<&'b Value> {
    board.iter().find(|entry| entry["mount"] == mount)
}

/// Waits until `holds`, at most [`LIMIT`].
fn until(relay: &Relay, what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + LIMIT;
    while !holds() {
        let log = relay.process.stderr();
        assert!(Instant::now() < until, "{what}: not yet; relay: {log}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// Writes the configuration anew and has it read.
fn reload(relay: &mut Relay, config: &str, said: &str) {
    let count = |relay: &Relay| relay.process.stderr().matches(said).count();
    let before = count(relay);
    std::fs::write(relay.scratch.file("relay.toml"), config).expect("write");
    relay.process.signal(1);
    until(relay, said, || count(relay) > before);
}

const READ: &str = "configuration read again";

#[test]
fn inputs_and_forwards_change_and_the_others_run_on() {
    let scratch = Scratch::new("reload");
    // It is not over before the test is: a repetition is another generation.
    Pcm::sine(48_000, 440.0, 60 * 48_000).write_wav(&scratch.file("a.wav"));
    let file = scratch.file("a.wav").display().to_string();
    let music = |name: &str| {
        format!("[[input]]\nkind = \"file\"\nmount = \"{name}\"\npath = \"{file}\"\nloop = true\n")
    };
    let voice = |port: u16| {
        format!(
            "[[input]]\nkind = \"udp\"\nmount = \"/voice.opus\"\nlisten = \"127.0.0.1:{port}\"\n\
             format = \"s16le\"\ntimeout = \"60s\"\n"
        )
    };
    let copy = |to: &UdpSocket| {
        let to = to.local_addr().expect("bound");
        format!("[[forward]]\nkind = \"udp\"\nmount = \"/voice.opus\"\nto = [\"{to}\"]\n")
    };
    let copies = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("a socket"));
    for socket in &copies {
        socket.set_read_timeout(Some(LIMIT)).expect("timeout");
    }
    let ports = [free_port(), free_port()];
    let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let speak = |port: u16| {
        for _ in 0..10 {
            sender
                .send_to(&[1; 320], ("127.0.0.1", port))
                .expect("send");
        }
    };
    let (stays, goes) = (music("/stays.opus"), music("/goes.opus"));
    let mut relay =
        Relay::with_config(&[&stays[..], &goes, &voice(ports[0]), &copy(&copies[0])].concat());
    for name in ["/stays.opus", "/goes.opus"] {
        relay.wait_for("/api/mounts", name, LIMIT);
    }
    speak(ports[0]);
    relay.wait_for("/api/mounts/voice.opus", "\"live\":true", LIMIT);
    let mut packet = [0; 2000];
    copies[0].recv(&mut packet).expect("a copy");
    let mut listener = Socket::open(&relay, "/stays.opus", Some("seamcast.v1"));
    listener.control("config");
    let before = mount(&relay, "/stays.opus");
    let gone = mount(&relay, "/goes.opus");

    // Another target: the input that copies to it runs on.
    let fresh = music("/comes.opus");
    reload(
        &mut relay,
        &[&stays[..], &voice(ports[0]), &copy(&copies[1]), &fresh].concat(),
        READ,
    );
    relay.wait_for("/api/mounts", "/comes.opus", LIMIT);
    relay.wait_for("/api/mounts/goes.opus", "\"state\":\"ended\"", LIMIT);
    assert_eq!(mount(&relay, "/goes.opus")["epoch"], gone["epoch"]);
    until(&relay, "the new target", || {
        let to = copies[1].local_addr().expect("bound").to_string();
        let forwards = board(&relay, "forwards");
        forwards.len() == 1 && forwards[0]["to"] == to
    });
    speak(ports[0]);
    copies[1].recv(&mut packet).expect("a copy");
    // The others may still be on their way.
    until(&relay, "every packet", || {
        let inputs = board(&relay, "inputs");
        of(&inputs, "/voice.opus").is_some_and(|input| input["packets"] == 20)
    });
    let inputs = board(&relay, "inputs");
    assert!(of(&inputs, "/goes.opus").is_none(), "{inputs:?}");
    let input = of(&inputs, "/voice.opus").expect("runs on");
    assert_eq!(input["starts"], 1);

    // Another port: the input starts again, and its listeners are held.
    reload(
        &mut relay,
        &[&stays[..], &voice(ports[1]), &fresh].concat(),
        READ,
    );
    until(&relay, "the new port", || {
        UdpSocket::bind(("127.0.0.1", ports[1])).is_err()
            && UdpSocket::bind(("127.0.0.1", ports[0])).is_ok()
    });
    let voice_epoch = mount(&relay, "/voice.opus")["epoch"].clone();
    speak(ports[1]);
    relay.wait_for("/api/mounts/voice.opus", "\"live\":true", LIMIT);
    assert_eq!(mount(&relay, "/voice.opus")["epoch"], voice_epoch);
    assert!(board(&relay, "forwards").is_empty());

    // What was named as before never noticed.
    let after = mount(&relay, "/stays.opus");
    for (key, value) in [("losses", 0), ("sources", 1)] {
        assert_eq!(after["stats"][key], value, "{after}");
    }
    assert_eq!(after["epoch"], before["epoch"]);
    assert_eq!(after["generation"], before["generation"]);
    let played = after["media_time"].as_f64() > before["media_time"].as_f64();
    assert!(played, "{after}");
    let head = after["head"].as_u64().expect("a number");
    loop {
        match listener.next().expect("it is still open") {
            Message::Text(text) => assert!(!text.contains("\"offline\""), "{text}"),
            Message::Binary(chunk) => {
                let (header, _) = seamcast_protocol::chunk::Header::decode(&chunk).expect("chunk");
                if header.seq + 1 >= head {
                    break;
                }
            }
            _ => {}
        }
    }
}

/// A source of silence, `secs` of it at once; it stays until it is dropped.
fn silence(relay: &Relay, query: &str, secs: usize) -> TcpStream {
    let mut source = TcpStream::connect(relay.address).expect("connected");
    let head = format!(
        "PUT /live.opus?format=s16le&rate=48000&channels=1{query} HTTP/1.1\r\nHost: x\r\n\
         Authorization: Bearer {}\r\n\r\n",
        Relay::PASSWORD
    );
    source.write_all(head.as_bytes()).expect("head");
    source.write_all(&vec![0; 96_000 * secs]).expect("audio");
    source
}

#[test]
fn properties_of_a_mount_change_while_it_runs() {
    let mount_of =
        |more: &str| format!("[[mount]]\npath = \"/live.opus\"\nsource_timeout = \"600s\"\n{more}");
    let mut relay = Relay::with_config(&mount_of("max_listeners = 5\n"));
    let first = silence(&relay, "&prebuffer=2s", 12);
    let holds = |relay: &Relay, key: &str, value: f64| {
        until(relay, key, || {
            relay.fetch("/api/mounts/live.opus").0 == 200
                && mount(relay, "/live.opus")[key].as_f64() == Some(value)
        });
    };
    let reaches = |relay: &Relay, secs: f64| {
        until(relay, "audio", || {
            relay.fetch("/api/mounts/live.opus").0 == 200
                && mount(relay, "/live.opus")["media_time"].as_f64() > Some(secs)
        });
    };
    reaches(&relay, 11.8);
    holds(&relay, "max_listeners", 5.0);
    holds(&relay, "prebuffer", 2.0);
    let mut listener = Socket::open(&relay, "/live.opus", Some("seamcast.v1"));
    listener.control("config");
    let before = mount(&relay, "/live.opus");

    // The configuration's word counts at once, but not above the source's own.
    let config =
        mount_of("max_listeners = 1\nprebuffer = \"7s\"\nhistory = \"3s\"\npublic = false\n");
    reload(&mut relay, &config, READ);
    holds(&relay, "max_listeners", 1.0);
    holds(&relay, "prebuffer", 2.0);
    assert_eq!(relay.fetch("/live.opus").0, 503);
    assert!(!relay.fetch("/api/mounts").1.contains("/live.opus"));

    // So does that of a source that takes over, in the same programme.
    let second = silence(&relay, "&max_listeners=3", 1);
    reaches(&relay, 12.7);
    holds(&relay, "max_listeners", 3.0);
    holds(&relay, "prebuffer", 7.0);
    let after = mount(&relay, "/live.opus");
    assert_eq!(after["epoch"], before["epoch"]);
    // The history is as short as is now wanted.
    let seqs = |about: &Value| {
        let of = |key: &str| about[key].as_u64().expect("a number");
        of("head") - of("oldest")
    };
    assert!(seqs(&before) >= 110, "{before}");
    assert!(seqs(&after) <= 40, "{after}");
    drop((first, second));
}

#[test]
fn a_configuration_with_mistakes_changes_nothing() {
    let scratch = Scratch::new("reload-bad");
    Pcm::sine(48_000, 440.0, 48_000).write_wav(&scratch.file("a.wav"));
    let file = scratch.file("a.wav").display().to_string();
    let config = format!(
        "max_mounts = 7\n[[input]]\nkind = \"file\"\nmount = \"/a.opus\"\npath = \"{file}\"\nloop = true\n"
    );
    let mut relay = Relay::with_config(&config);
    relay.wait_for("/api/mounts/a.opus", "\"live\":true", LIMIT);
    let before = mount(&relay, "/a.opus");
    let kept = "configuration kept as it was";
    reload(
        &mut relay,
        "[[input]]\nkind = \"rtp\"\nmount = \"/b.opus\"\nports = 3\n",
        kept,
    );
    let log = relay.process.stderr();
    assert!(log.contains("ports") && log.contains("4"), "{log}");
    assert_eq!(board(&relay, "inputs").len(), 1);
    // What cannot change while it runs is said, and the rest is taken.
    let later = format!("shards = 3\nlisten = \"127.0.0.1:1\"\n{config}");
    reload(&mut relay, &later, READ);
    let log = relay.process.stderr();
    assert!(
        log.contains("shards takes effect at the next start"),
        "{log}"
    );
    let after = mount(&relay, "/a.opus");
    assert_eq!(after["epoch"], before["epoch"]);
    assert_eq!(after["stats"]["sources"], 1, "{after}");
}

#[test]
fn a_command_that_is_no_longer_configured_ends_with_all_it_started() {
    let scratch = Scratch::new("reload-command");
    let pid = scratch.file("pid").display().to_string();
    // The shell waits for a program that it started.
    let mut relay = Relay::with_config(&format!(
        "[[input]]\nkind = \"command\"\nmount = \"/c.opus\"\nformat = \"s16le\"\n\
         command = \"cat /dev/zero | (echo $BASHPID; head -c 32000; sleep 600 & echo $! > {pid}; wait)\"\n"
    ));
    until(&relay, "the command", || {
        std::fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n'))
    });
    let pid = std::fs::read_to_string(&pid).expect("a number");
    let process = std::path::PathBuf::from(format!("/proc/{}", pid.trim()));
    assert!(process.exists());
    reload(&mut relay, "", READ);
    until(&relay, "the end of the command", || {
        let state = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
        state.is_empty() || state.contains(") Z ")
    });
    assert!(board(&relay, "inputs").is_empty());
}
