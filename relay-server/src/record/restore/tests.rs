//! Recordings after a power cut: what was written last is cut off, or zeros,
//! or whatever the disk made of it, in any of the files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::super::journal::{BLOCK, Record};
use super::super::shelf::tests::{Broadcast, random, same};
use super::super::tape::tests::{POLICY, Source, folder};
use super::super::tape::{Policy, Tape};
use super::{Kept, restore};
use crate::config::Config;
use crate::mount::log::{Entry, Kind as EntryKind, Past as _};

/// The files of a recording, by name.
type Disk = BTreeMap<String, Vec<u8>>;

fn read(folder: &Path) -> Disk {
    let files = std::fs::read_dir(folder).expect("folder").flatten();
    files
        .map(|file| {
            let name = file.file_name().into_string().expect("a name");
            (name, std::fs::read(file.path()).expect("a file"))
        })
        .collect()
}

fn write(folder: &Path, disk: &Disk) {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder).expect("folder");
    for (name, bytes) in disk {
        std::fs::write(folder.join(name), bytes).expect("a file");
    }
}

/// What a power cut may do to a file; `None` for one that is gone.
fn damage(file: &mut Option<Vec<u8>>, seed: &mut u64) {
    let Some(bytes) = file else { return };
    let at = random(seed, bytes.len() as u64 + 1) as usize;
    let sector = [1, 64, 512, 4096][random(seed, 4) as usize];
    let end = (at / sector * sector + sector).clamp(at, bytes.len());
    let start = (at / sector * sector).min(bytes.len());
    match random(seed, 8) {
        0 | 1 => bytes.truncate(at),
        // The length was written, the content was not.
        2 | 3 => bytes[start..].fill(0),
        4 => bytes[start..end].fill(0),
        5 => bytes[start..end].iter_mut().for_each(|b| *b = !*b),
        6 => bytes.clear(),
        _ => *file = None,
    }
}

/// The entries of a recording that are whole, and so are all before them.
fn whole(name: &str, before: &Disk, after: &Disk) -> Vec<u64> {
    let journal = format!("{name}.journal");
    let (old, new) = (&before[&journal], after.get(&journal));
    let (old_media, new_media) = (&before[name], after.get(name));
    let (Some(new), Some(new_media)) = (new, new_media) else {
        return Vec::new();
    };
    let mut entries = Vec::new();
    let mut chunks = 0;
    let mut at = 0;
    while let Some(record) = old.get(at..).and_then(Record::decode) {
        let end = at + record.blocks() as usize * BLOCK;
        let from = record.offset as usize;
        let media = from..from + record.len as usize;
        let is_chunk = record.kind == super::Kind::Chunk;
        if new.get(at..end) != Some(&old[at..end])
            || (is_chunk && new_media.get(media.clone()) != Some(&old_media[media]))
        {
            break;
        }
        if record.kind.is_entry() {
            entries.push(record.index);
        }
        chunks += usize::from(is_chunk);
        at = end;
    }
    // Without a chunk a file is nothing to go on from.
    match chunks {
        0 => Vec::new(),
        _ => entries,
    }
}

fn served(kept: &Kept) -> Vec<Arc<Entry>> {
    let mut all: Vec<Arc<Entry>> = Vec::new();
    loop {
        let next = all.last().map_or(0, |last| last.index + 1);
        let run = kept.shelf.read(next).expect("what is kept can be read");
        if run.is_empty() {
            return all;
        }
        all.extend(run);
    }
}

fn again(root: &Path) -> Kept {
    let mut kept = restore(root, &Config::default(), SystemTime::now());
    assert_eq!(kept.len(), 1, "a programme that was not ended goes on");
    kept.remove(0)
}

/// The source comes back, a little is recorded, and the relay is killed.
fn go_on(kept: &Kept, folder: &Path, name: &str) -> Vec<Arc<Entry>> {
    let log = &kept.mount.log;
    let now = Instant::now();
    let shelf = kept.shelf.clone();
    let mut tape = Tape::new(log.clone(), "/a.opus", folder, shelf, None, now);
    let first = log.head().next;
    Source::into_log(log.clone()).append(7);
    tape.advance(now, &POLICY, |extension| format!("{name}.{extension}"))
        .expect("disk");
    let mut entries = Vec::new();
    assert!(log.read(first, 99, &mut entries));
    entries
}

#[test]
fn a_power_cut_takes_only_what_was_torn() {
    let (mut broadcast, policy): (Broadcast, Policy) = Broadcast::new("power", 3000);
    broadcast.append(&policy, 80);
    let before = read(&broadcast.folder.join("recordings/a.opus"));
    let names = ["0001.opus", "0002.opus", "0003.opus"];
    let root = folder("power-cut");
    let inside = root.join("a.opus");
    let mut seed = 11;
    for round in 0..300 {
        let mut after = before.clone();
        for name in &names[1..] {
            for extension in ["", ".journal", ".index", ".titles.json"] {
                let name = format!("{name}{extension}");
                if random(&mut seed, 3) == 0 {
                    let mut file = after.remove(&name);
                    damage(&mut file, &mut seed);
                    after.extend(file.map(|bytes| (name, bytes)));
                }
            }
        }
        write(&inside, &after);
        let kept = again(&root);
        let got = served(&kept);
        for entry in &got {
            if let Some(live) = broadcast.all.get(entry.index as usize) {
                same(live, entry);
            }
        }
        let holds = |index: &u64| got.iter().any(|entry| entry.index == *index);
        for name in names {
            let whole = whole(name, &before, &after);
            assert!(whole.iter().all(holds), "round {round}: {name} {whole:?}");
        }
        // Nobody gets a number again that a listener may have.
        let log = &kept.mount.log;
        let last = broadcast.all.last().expect("entries");
        assert!(log.head().next_seq > last.seq, "round {round}");
        for name in names {
            let path: PathBuf = inside.join(name);
            if path.exists() {
                super::super::index::rebuild_file(&path).expect("an index");
            }
        }
        // It goes on, and everything is there after the next one.
        if round % 4 == 0 {
            let more = go_on(&kept, &inside, "0004");
            let kept = again(&root);
            let now = served(&kept);
            let old = |all: &[Arc<Entry>]| all.iter().filter(|e| e.seq <= last.seq).count();
            assert_eq!(old(&now), old(&got), "round {round}");
            for live in more {
                let again = now.iter().find(|entry| entry.index == live.index);
                let again = again.unwrap_or_else(|| panic!("round {round}: {live:?}"));
                same(&live, again);
            }
        }
    }
    let _ = std::fs::remove_dir_all(root);
}

/// A rotation was under way: the new file has a name and nothing else.
#[test]
fn an_empty_newest_file_does_not_hide_the_one_before_it() {
    let (mut broadcast, policy) = Broadcast::new("power-rotation", 0);
    broadcast.append(&policy, 20);
    let root = broadcast.folder.join("recordings");
    for extension in ["opus", "opus.journal", "opus.index"] {
        std::fs::write(root.join(format!("a.opus/0002.{extension}")), "").expect("a file");
    }
    let kept = again(&root);
    let chunks = |all: &[Arc<Entry>]| {
        let is_chunk = |entry: &&Arc<Entry>| matches!(entry.kind, EntryKind::Chunk(_));
        all.iter().filter(is_chunk).count()
    };
    assert_eq!(chunks(&served(&kept)), 20);
    // Nor does it hide what is older when there is something newer.
    go_on(&kept, &root.join("a.opus"), "0003");
    assert_eq!(chunks(&served(&again(&root))), 27);
}

/// The clock was set back, or not set yet after a start.
#[test]
fn a_later_recording_with_an_earlier_name_comes_after_the_others() {
    let (mut broadcast, policy) = Broadcast::new("clock", 0);
    broadcast.append(&policy, 20);
    let root = broadcast.folder.join("recordings");
    let more = go_on(&again(&root), &root.join("a.opus"), "0000");
    let kept = again(&root);
    let all = served(&kept);
    assert_eq!(all.first().map(|first| first.index), Some(0));
    for live in &more {
        let again = all.iter().find(|entry| entry.index == live.index);
        same(live, again.expect("it is part of the timeline"));
    }
    let last = more.last().expect("entries");
    let head = kept.mount.log.head();
    assert!(
        head.next > last.index && head.next_seq > last.seq,
        "given once"
    );
}
