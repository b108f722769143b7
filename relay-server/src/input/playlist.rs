//! What to play: a file, a folder or a playlist.

use std::io;
use std::path::{Path, PathBuf};

/// Kinds of file that are played.
const KINDS: [&str; 11] = [
    "mp3", "opus", "ogg", "oga", "wav", "flac", "mp2", "m4a", "mp4", "m4b", "aac",
];
/// Folders within folders that are looked into.
const DEPTH: usize = 8;
/// Entries of one list.
const MOST: usize = 100_000;

/// Entries of an `.m3u`, `.m3u8` or `.pls` text, as they stand there.
fn parse(text: &str) -> Vec<&str> {
    let text = text.trim_start_matches('\u{feff}');
    let pls = text
        .lines()
        .any(|line| line.trim().eq_ignore_ascii_case("[playlist]"));
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    if !pls {
        return lines.filter(|line| !line.starts_with('#')).collect();
    }
    let mut entries: Vec<(u32, &str)> = lines
        .filter_map(|line| {
            let (key, value) = line.split_once('=')?;
            let number = key.trim().to_ascii_lowercase();
            Some((number.strip_prefix("file")?.parse().ok()?, value.trim()))
        })
        .collect();
    entries.sort_by_key(|(number, _)| *number);
    entries.into_iter().map(|(_, entry)| entry).collect()
}

fn kind(path: &Path) -> String {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.unwrap_or_default().to_ascii_lowercase()
}

/// The files to play, in order. What is missing is found out when it is played.
pub(crate) fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if std::fs::metadata(path)?.is_dir() {
        let mut found = Vec::new();
        folder(path, DEPTH, &mut found)?;
        return Ok(found);
    }
    if !matches!(kind(path).as_str(), "m3u" | "m3u8" | "pls") {
        return Ok(vec![path.to_owned()]);
    }
    let text = String::from_utf8_lossy(&std::fs::read(path)?).into_owned();
    let base = path.parent().unwrap_or(Path::new(""));
    let entries = parse(&text).into_iter().take(MOST);
    Ok(entries
        .map(|entry| base.join(entry.strip_prefix("file://").unwrap_or(entry)))
        .collect())
}

fn folder(path: &Path, depth: usize, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries: Result<Vec<_>, _> = std::fs::read_dir(path)?.collect();
    let mut paths: Vec<PathBuf> = entries?.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if found.len() >= MOST {
            break;
        }
        if path.is_dir() && depth > 0 {
            folder(&path, depth - 1, found)?;
        } else if KINDS.contains(&kind(&path).as_str()) {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_playlist_are_read() {
        let m3u = "\u{feff}#EXTM3U\r\n#EXTINF:3,Somebody - Song\r\na b.mp3\r\n\r\n/x/c.opus\r\n";
        assert_eq!(parse(m3u), ["a b.mp3", "/x/c.opus"]);
        let pls = "[playlist]\nNumberOfEntries=2\nFile2=b.mp3\nTitle1=x\nFile1=a.mp3\nFilex=no\n";
        assert_eq!(parse(pls), ["a.mp3", "b.mp3"]);
    }
}
