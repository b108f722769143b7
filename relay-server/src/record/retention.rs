//! Removing recordings that are too old or too much.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Settings;
use super::segment::beside;

/// Removes finished recordings beyond the bounds of `settings`, oldest first;
/// `current` is being written and stays.
///
/// # Errors
/// What the disk says; the rest is tried again next time.
pub(super) fn prune(
    folder: &Path,
    settings: &Settings,
    current: Option<&Path>,
    now: SystemTime,
) -> io::Result<()> {
    if settings.keep.is_zero() && settings.keep_bytes == 0 {
        return Ok(());
    }
    let mut recordings = Vec::new();
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        let media = path.extension().is_some_and(|e| e == "opus" || e == "mp3");
        if media && Some(path.as_path()) != current {
            let metadata = fs::metadata(&path)?;
            // Recordings of a mount below this one, such as /a/b.opus below /a.
            if metadata.is_dir() {
                continue;
            }
            recordings.push((metadata.modified()?, metadata.len(), path));
        }
    }
    for path in excess(recordings, settings, now) {
        for extension in ["index", "journal", "titles.json"] {
            match fs::remove_file(beside(&path, extension)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::remove_file(&path)?;
        tracing::info!(path = %path.display(), "old recording removed");
    }
    Ok(())
}

/// Which of the recordings (last write, bytes, path) go.
fn excess(
    mut recordings: Vec<(SystemTime, u64, PathBuf)>,
    settings: &Settings,
    now: SystemTime,
) -> Vec<PathBuf> {
    recordings.sort();
    let mut total: u64 = recordings.iter().map(|(_, len, _)| len).sum();
    let mut gone = Vec::new();
    for (modified, len, path) in recordings {
        let age = now.duration_since(modified).unwrap_or_default();
        let old = !settings.keep.is_zero() && age > settings.keep;
        let much = settings.keep_bytes != 0 && total > settings.keep_bytes;
        if old || much {
            total -= len;
            gone.push(path);
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn mounts_below_are_left_alone() {
        let folder = std::env::temp_dir().join(format!("seamcast-prune-{}", std::process::id()));
        let below = folder.join("b.opus");
        fs::create_dir_all(&below).expect("folder");
        fs::write(folder.join("old.opus"), "x").expect("file");
        fs::write(below.join("own.opus"), "x").expect("file");
        let settings = Settings {
            keep: Duration::from_secs(10),
            ..Settings::default()
        };
        let later = SystemTime::now() + Duration::from_secs(1000);
        let outcome = prune(&folder, &settings, None, later);
        let left = (
            folder.join("old.opus").exists(),
            below.join("own.opus").exists(),
        );
        fs::remove_dir_all(&folder).expect("clean");
        assert!(outcome.is_ok(), "{outcome:?}");
        assert_eq!(left, (false, true));
    }

    #[test]
    fn the_oldest_go_first() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let file =
            |age, len, name: &str| (now - Duration::from_secs(age), len, PathBuf::from(name));
        let files = || vec![file(10, 100, "c"), file(500, 100, "a"), file(100, 100, "b")];
        let settings = |keep, keep_bytes| Settings {
            keep: Duration::from_secs(keep),
            keep_bytes,
            ..Settings::default()
        };
        assert_eq!(
            excess(files(), &settings(200, 0), now),
            [PathBuf::from("a")]
        );
        assert_eq!(
            excess(files(), &settings(0, 150), now),
            [PathBuf::from("a"), PathBuf::from("b")]
        );
        assert_eq!(
            excess(files(), &settings(0, 300), now),
            Vec::<PathBuf>::new()
        );
    }
}
