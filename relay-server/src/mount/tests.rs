use seamcast_media::pcm::SampleFormat;
use seamcast_media::units::{MediaDuration, MediaTime};
use seamcast_media::wav::Format;

use super::*;
use crate::ingest::media_type::Declared;
use crate::ingest::pcm::Settings;
use crate::ingest::session::{Config, codec_for};

const FORMAT: Format = Format {
    sample: SampleFormat::S16le,
    sample_rate: 48_000,
    channels: 1,
};

fn mount() -> Arc<Mount> {
    let state = State::new(1, Instant::now());
    Mount::new("/m.opus", config::Mount::default(), state, None)
}

/// A source that sends samples.
struct Source {
    id: SourceId,
    session: Arc<Mutex<Session>>,
    stop: watch::Sender<Stop>,
}

impl Source {
    fn connect(mount: &Mount) -> Self {
        let settings = mount.settings();
        let session = Session::new(Config {
            declared: Declared::Pcm(FORMAT),
            encode: Settings {
                codec: codec_for(&mount.name, settings.encode),
                bitrate: settings.bitrate,
                complexity: settings.complexity,
                chunk_ms: 100,
            },
            chunk: MediaDuration::from_millis(100),
        });
        Self {
            id: mount.connect(true).expect("takeover is on"),
            session: Arc::new(Mutex::new(session.expect("a sound format"))),
            stop: watch::Sender::new(Stop::No),
        }
    }

    fn begin(&self, mount: &Mount) -> Option<Begin> {
        let info = SourceInfo::default();
        let begin = mount.begin(self.id, info, &self.session, self.stop.clone())?;
        let mut session = self.session.lock().expect("sound");
        session.begin(begin.start, begin.serial);
        Some(begin)
    }

    /// Sends a second of audio.
    fn send(&self, mount: &Mount) -> bool {
        let mut session = self.session.lock().expect("sound");
        session.push(&[0; 96_000]).expect("samples");
        mount.drain(self.id, &mut session)
    }
}

#[test]
fn a_source_that_comes_too_late_disturbs_nobody() {
    let mount = mount();
    let (older, newer) = (Source::connect(&mount), Source::connect(&mount));
    assert!(newer.begin(&mount).is_some());
    assert!(newer.send(&mount));
    assert!(older.begin(&mount).is_none(), "a newer one is on air");
    assert_eq!(*newer.stop.borrow(), Stop::No);
    let before = mount.log.head().next_seq;
    assert!(newer.send(&mount), "still on air");
    assert!(mount.log.head().next_seq > before + 5, "and heard");
}

#[test]
fn the_source_before_is_told_and_what_it_has_pending_is_kept() {
    let mount = mount();
    let (older, newer) = (Source::connect(&mount), Source::connect(&mount));
    assert!(older.begin(&mount).is_some() && older.send(&mount));
    let begin = newer.begin(&mount).expect("it is newer");
    assert_eq!(begin.start, mount.log.head().end);
    assert_eq!(*older.stop.borrow(), Stop::TakenOver);
    let edge = mount.log.head().next;
    older.send(&mount);
    assert_eq!(mount.log.head().next, edge, "not on air any more");
}

#[test]
fn a_programme_that_is_replaced_at_once_is_still_recorded() {
    let registry = Registry::default();
    let settings = config::Mount {
        record: true,
        ..config::Mount::default()
    };
    let now = Instant::now();
    let open = || registry.open("/m.opus", &settings, 9, now).expect("room");
    let quick = |mount: &Mount| {
        let source = Source::connect(mount);
        assert!(source.begin(mount).is_some() && source.send(mount));
        mount.finish(source.id, now);
    };
    let first = open();
    quick(&first);
    let second = open();
    assert!(!Arc::ptr_eq(&first, &second), "another programme");
    let unseen = registry.take_unseen();
    assert!(matches!(&unseen[..], [only] if Arc::ptr_eq(only, &first)));
    quick(&second);
    second.note_recording(crate::record::Stats::default(), None);
    open();
    assert!(registry.take_unseen().is_empty(), "the recorder has it");
}

#[test]
fn tags_that_are_too_much_are_left_out() {
    let mount = mount();
    let source = Source::connect(&mount);
    assert!(source.begin(&mount).is_some());
    let tag = |name: &str, len| (name.to_owned(), "x".repeat(len));
    let tags = vec![
        tag("picture", 100_000),
        tag("another", 60_000),
        tag("title", 5),
    ];
    let at = seamcast_media::units::MediaTime::ZERO;
    mount.append(
        source.id,
        seamcast_media::chunk::Output::Tags { at, tags },
        None,
    );
    assert!(mount.tag("PICTURE").is_some());
    assert_eq!(mount.tag("ANOTHER"), None);
    assert_eq!(mount.tag("TITLE").as_deref(), Some("xxxxx"));
}

/// Every listener gets them, and a recording's journal must be able to hold them.
#[test]
fn tags_are_bounded_whoever_sets_them() {
    let mount = mount();
    let source = Source::connect(&mount);
    assert!(source.begin(&mount).is_some());
    let worst = |len: usize| "\u{1}".repeat(len);
    let own = seamcast_media::chunk::Output::Tags {
        at: MediaTime::ZERO,
        tags: vec![("LYRICS".into(), worst(120 << 10))],
    };
    assert!(mount.append(source.id, own, None));
    mount.set_tags((0..64).map(|n| (format!("{n}"), worst(2048))));
    let tags = mount.log.current_tags().expect("tags");
    assert!(tags.tags.len() > 1 && tags.tags.contains_key("LYRICS"));
    assert!(tags.frame.len() < 1 << 20, "{} bytes", tags.frame.len());
    // A tag that is replaced or removed makes room.
    mount.set_tags([("LYRICS".to_owned(), String::new())]);
    mount.set_tags([("TITLE".to_owned(), "now".to_owned())]);
    let tags = mount.log.current_tags().expect("tags");
    assert_eq!(tags.tags["TITLE"], "now");
}
