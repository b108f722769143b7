//! `/files/` while a file is renamed, removed, replaced or cut short under
//! its readers: what they began with to its end, or a clear error.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tests::support::http::{Answer, request};
use tests::support::{Encoding, Pcm, Program, Relay, Scratch, encode, require};

fn bytes(len: usize, seed: u32) -> Vec<u8> {
    (0..len as u32)
        .map(|i| ((i ^ seed).wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

/// A file that is being written, with its writer, and one who follows it.
fn followed(relay: &Relay, begun: &[u8]) -> (File, JoinHandle<(Answer, Duration)>) {
    followed_as(relay, "g.raw", begun)
}

/// The same, by some name of the file `g.raw`.
fn followed_as(relay: &Relay, name: &str, begun: &[u8]) -> (File, JoinHandle<(Answer, Duration)>) {
    let mut file = File::create(relay.scratch.file("g.raw")).expect("create");
    file.write_all(begun).expect("write");
    let address = relay.address;
    let path = format!("/files/{name}?wait=50");
    let following = std::thread::spawn(move || {
        let began = Instant::now();
        let answer = request(address, "GET", &path, "");
        (answer, began.elapsed())
    });
    std::thread::sleep(Duration::from_millis(500));
    assert!(!following.is_finished(), "nothing follows");
    (file, following)
}

/// It ended well before its patience did.
fn ended(following: JoinHandle<(Answer, Duration)>) -> Answer {
    let (answer, took) = following.join().expect("an answer");
    assert!(took < Duration::from_secs(40), "{took:?}");
    assert_eq!(answer.status, 200);
    answer
}

#[test]
fn rotated_while_being_followed() {
    let relay = Relay::start();
    let (first, second) = (bytes(100_000, 1), bytes(50_000, 2));
    let (_writer, following) = followed(&relay, &first);
    std::fs::rename(relay.scratch.file("g.raw"), relay.scratch.file("g.raw.1")).expect("rename");
    let mut next = File::create(relay.scratch.file("g.raw")).expect("create");
    next.write_all(&second).expect("write");
    assert!(ended(following).body == first);
    // Both go on being served, each as itself.
    assert!(request(relay.address, "GET", "/files/g.raw", "").body == second);
    assert!(request(relay.address, "GET", "/files/g.raw.1", "").body == first);
}

#[test]
fn followed_by_the_name_of_a_link_to_its_end() {
    let relay = Relay::start();
    std::os::unix::fs::symlink("g.raw", relay.scratch.file("latest.raw")).expect("link");
    let whole = bytes(200_000, 1);
    let (first, second) = whole.split_at(100_000);
    let (mut writer, following) = followed_as(&relay, "latest.raw", first);
    writer.write_all(second).expect("write");
    drop(writer);
    assert!(ended(following).body == whole);
}

#[test]
fn removed_while_being_followed() {
    let relay = Relay::start();
    let first = bytes(100_000, 1);
    let (_writer, following) = followed(&relay, &first);
    std::fs::remove_file(relay.scratch.file("g.raw")).expect("remove");
    assert!(ended(following).body == first);
    assert_eq!(
        request(relay.address, "GET", "/files/g.raw", "").status,
        404
    );
}

#[test]
fn cut_short_while_being_followed() {
    let relay = Relay::start();
    let first = bytes(100_000, 1);
    let (writer, following) = followed(&relay, &first);
    writer.set_len(10).expect("truncate");
    assert!(ended(following).body == first);
}

#[test]
fn replaced_between_two_ranges() {
    let relay = Relay::start();
    let (first, second) = (bytes(100_000, 1), bytes(100_000, 2));
    let path = relay.scratch.file("g.raw");
    let mut writer = File::create(&path).expect("create");
    writer.write_all(&first).expect("write");
    let begun = request(
        relay.address,
        "GET",
        "/files/g.raw",
        "Range: bytes=0-999\r\n",
    );
    let tag = begun.header("etag").expect("a tag");
    assert!(begun.body == first[..1000]);
    let go_on = || {
        let headers = format!("Range: bytes=1000-1999\r\nIf-Range: {tag}\r\n");
        request(relay.address, "GET", "/files/g.raw", &headers)
    };
    assert!((go_on().status, &go_on().body[..]) == (206, &first[1000..2000]));
    // Another file in its place, then other content in the same file.
    let replace = |write: &dyn Fn(&Path)| {
        write(&path);
        let answer = go_on();
        assert_eq!(answer.status, 200, "{}", answer.head);
        assert!(answer.body == second);
    };
    replace(&|path| {
        let aside = relay.scratch.file("new.raw");
        std::fs::write(&aside, &second).expect("write");
        std::fs::rename(aside, path).expect("rename");
    });
    replace(&|path| {
        let mut file = File::options().write(true).open(path).expect("open");
        file.set_len(0).expect("truncate");
        file.write_all(&second).expect("write");
    });
}

#[test]
fn positions_in_a_file_that_was_cut_short() {
    require(&["ffmpeg"]);
    let relay = Relay::start();
    let scratch = Scratch::new("cut-short");
    let noise = Pcm::noise(48_000, 1, 48_000 * 6, 0.3, 3);
    for (name, encoding) in [
        (
            "a.opus",
            Encoding::Opus(&["-b:a", "64k", "-page_duration", "100000"]),
        ),
        ("a.mp3", Encoding::Mp3(&["-b:a", "64k"])),
    ] {
        let whole = scratch.file(name);
        encode(&noise, encoding, &whole).expect("encode");
        let whole = std::fs::read(whole).expect("encoded");
        std::fs::write(relay.scratch.file(name), &whole[..whole.len() * 2 / 3]).expect("write");
        let served = |pos: f64| {
            let path = format!("/files/{name}?pos={pos}");
            let answer = request(relay.address, "GET", &path, "");
            assert_eq!(answer.status, 200, "{}", answer.head);
            answer.body
        };
        let decoded = Program::new("ffmpeg")
            .args([
                "-v", "error", "-i", "pipe:0", "-f", "s16le", "-ac", "1", "-",
            ])
            .input(served(2.0))
            .run()
            .expect("ffmpeg");
        let seconds = decoded.stdout.len() as f64 / 96_000.0;
        assert!((1.5..2.5).contains(&seconds), "{name}: {seconds} s");
        // Beyond the cut there is nothing but headers.
        assert!(served(5.0).len() < 1000, "{name}");
    }
    // Not even a header is left.
    std::fs::write(relay.scratch.file("b.wav"), b"RIFF\0\0\0\0WAVEfmt ").expect("write");
    let answer = request(relay.address, "GET", "/files/b.wav?pos=1", "");
    assert_eq!(answer.status, 400, "{}", answer.head);
}
