//! The access log: one line for each listener that left, as Apache's combined
//! format with the seconds it stayed at the end, which is what Icecast writes
//! and what its log analysers read.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crate::fanout::{Farewell, Left};
use crate::server::Counters;

/// Lines that may wait for the disk, some 200 bytes each: as many as may leave
/// at once in the largest relays.
const QUEUE: usize = 65_536;
/// Most bytes of what a client says of itself.
const FIELD: usize = 256;
/// How often the file is looked for under its name: it may have been moved.
const LOOK: Duration = Duration::from_secs(1);

/// What is known of a listener when it comes.
#[derive(Clone, Debug, Default)]
pub struct Visit {
    /// Its address.
    pub peer: Option<IpAddr>,
    /// The user name it gave, if any.
    pub user: String,
    /// The mount's path and the query, without a token.
    pub target: String,
    /// `HTTP/1.0` or `HTTP/1.1`.
    pub version: &'static str,
    /// What it was answered: 200, or 101 to a WebSocket.
    pub status: u16,
    /// The page it is on.
    pub referer: String,
    /// Its `User-Agent`.
    pub agent: String,
}

/// The line for a visit that ended at `at`.
pub fn line(visit: &Visit, left: Left, at: SystemTime) -> String {
    // "Sun, 22 Nov 2026 07:03:46 GMT", in the order that logs have.
    let date = httpdate::fmt_http_date(at);
    let mut parts = date.split(' ').skip(1);
    let mut part = || parts.next().unwrap_or_default();
    let (day, month, year, time) = (part(), part(), part(), part());
    format!(
        "{} - {} [{day}/{month}/{year}:{time} +0000] \"GET {} {}\" {} {} \"{}\" \"{}\" {}\n",
        visit
            .peer
            .map_or_else(|| "-".to_owned(), |peer| peer.to_string()),
        field(&visit.user).replace(' ', "+"),
        field(&visit.target),
        visit.version,
        visit.status,
        left.bytes,
        field(&visit.referer),
        field(&visit.agent),
        left.stayed.as_secs(),
    )
}

/// A client's text, so that it can neither end its field nor its line.
fn field(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    let mut clean = String::new();
    for c in text.chars() {
        if clean.len() >= FIELD {
            break;
        }
        match c {
            '"' | '\\' => clean.extend(['\\', c]),
            c if c.is_control() => clean.extend(c.escape_default()),
            c => clean.push(c),
        }
    }
    clean
}

/// A query without the tokens in it.
pub fn without_tokens(query: &str) -> String {
    let open = |pair: &&str| !pair.starts_with("token=");
    let pairs: Vec<&str> = query.split('&').filter(open).collect();
    pairs.join("&")
}

/// An open access log, and the thread that writes it.
#[derive(Debug)]
pub struct AccessLog {
    lines: Mutex<Option<SyncSender<String>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    lost: Arc<AtomicU64>,
}

impl AccessLog {
    /// Opens the file at `path`, at whose end lines are added.
    ///
    /// # Errors
    /// When it cannot be opened, or would be served: `data_dir` is what everybody may fetch.
    pub fn open(path: &Path, data_dir: Option<&Path>) -> io::Result<Arc<Self>> {
        let shown = path.display();
        let with = |error: &io::Error| {
            let why = format!("cannot open {shown}; choose another with access_log: {error}");
            io::Error::new(error.kind(), why)
        };
        let file = Target::open(path).map_err(|error| with(&error))?;
        let real = path.canonicalize().map_err(|error| with(&error))?;
        let served = data_dir.and_then(|root| root.canonicalize().ok());
        if served.is_some_and(|root| real.starts_with(root)) {
            let why = format!("access_log {shown} is in data_dir, whose files are served; move it");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let (lines, queue) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let counter = lost.clone();
        let writer = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write(file, &queue, &counter))?;
        Ok(Arc::new(Self {
            lines: Mutex::new(Some(lines)),
            writer: Mutex::new(Some(writer)),
            lost,
        }))
    }

    /// What to call when the visitor leaves.
    pub fn farewell(self: &Arc<Self>, visit: Visit) -> Farewell {
        let log = self.clone();
        Box::new(move |left| log.add(line(&visit, left, SystemTime::now())))
    }

    fn add(&self, line: String) {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        // Full when the disk stands still: listeners' threads do not wait for it.
        if lines
            .as_ref()
            .is_none_or(|lines| lines.try_send(line).is_err())
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines that could not be written.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Writes what there is, and no more after it.
    pub fn finish(&self) {
        let lines = self
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(lines);
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the thread of the access log had failed; its last lines are lost");
        }
    }
}

/// A file that is found again under its name after somebody moved it away.
struct Target {
    path: PathBuf,
    file: File,
    looked: Instant,
}

impl Target {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            looked: Instant::now(),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            let same = |a: std::fs::Metadata, b: std::fs::Metadata| {
                (a.dev(), a.ino()) == (b.dev(), b.ino())
            };
            let there = self.path.metadata().ok().zip(self.file.metadata().ok());
            if !there.is_some_and(|(a, b)| same(a, b)) {
                *self = Self::open(&self.path)?;
            }
        }
        self.file.write_all(bytes)
    }
}

fn write(mut target: Target, queue: &Receiver<String>, lost: &AtomicU64) {
    let mut failures = 0;
    while let Ok(first) = queue.recv() {
        let mut lines = 1;
        let mut bytes = first.into_bytes();
        while bytes.len() < 1 << 16
            && let Ok(more) = queue.try_recv()
        {
            lines += 1;
            bytes.extend_from_slice(more.as_bytes());
        }
        if let Err(error) = target.write(&bytes) {
            lost.fetch_add(lines, Ordering::Relaxed);
            failures += 1;
            if Counters::is_worth_a_line(failures) {
                let path = target.path.display();
                tracing::warn!(%path, %error, lines, "cannot write the access log; make room on that disk");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit() -> Visit {
        Visit {
            peer: Some(IpAddr::from([192, 0, 2, 7])),
            user: String::new(),
            target: "/live.opus?from=-30".to_owned(),
            version: "HTTP/1.1",
            status: 200,
            referer: "https://radio.example/".to_owned(),
            agent: "VLC/3.0.20 LibVLC/3.0.20".to_owned(),
        }
    }

    fn left() -> Left {
        Left {
            bytes: 123_456,
            stayed: Duration::from_millis(61_900),
        }
    }

    #[test]
    fn a_line_is_as_icecast_writes_it() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        assert_eq!(
            line(&visit(), left(), at),
            "192.0.2.7 - - [09/Sep/2001:01:46:40 +0000] \"GET /live.opus?from=-30 HTTP/1.1\" 200 123456 \
             \"https://radio.example/\" \"VLC/3.0.20 LibVLC/3.0.20\" 61\n"
        );
    }

    #[test]
    fn no_client_ends_its_field_or_its_line() {
        let odd = Visit {
            user: "a b\"".to_owned(),
            agent: format!("x\" 200 1\n10.0.0.1 - \\{}", "y".repeat(1000)),
            referer: String::new(),
            ..visit()
        };
        let line = line(&odd, left(), SystemTime::UNIX_EPOCH);
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.contains(r#" - a+b\" ["#), "{line}");
        assert!(
            line.contains(r#""-" "x\" 200 1\n10.0.0.1 - \\yyy"#),
            "{line}"
        );
        assert!(line.len() < 600, "{}", line.len());
    }

    #[test]
    fn tokens_are_left_out_of_queries() {
        assert_eq!(
            without_tokens("from=5&token=secret&mode=live"),
            "from=5&mode=live"
        );
        assert_eq!(without_tokens("token=secret"), "");
        assert_eq!(without_tokens("mytoken=1"), "mytoken=1");
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew() {
        let folder = std::env::temp_dir().join(format!("seamcast-access-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("access.log");
        let mut target = Target::open(&path).expect("opened");
        target.write(b"one\n").expect("written");
        std::fs::rename(&path, folder.join("access.log.1")).expect("moved");
        target.looked -= LOOK;
        target.write(b"two\n").expect("written");
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("text");
        assert_eq!(
            (read("access.log.1").as_str(), read("access.log").as_str()),
            ("one\n", "two\n")
        );
        let served = AccessLog::open(&path, Some(&folder)).expect_err("it would be served");
        assert!(served.to_string().contains("data_dir"), "{served}");
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
