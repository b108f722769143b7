//! Fingerprints of inputs, so that a second start rebuilds nothing.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Folders never part of anybody's inputs.
const SKIPPED: [&str; 4] = ["node_modules", "target", "dist", ".git"];

/// FNV-1a over names and contents: no security is needed, only "is it the same".
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    /// The fingerprint of files and folders (recursively), in a fixed order.
    pub(crate) fn of(paths: &[PathBuf]) -> Result<Self> {
        let mut sum = Self(0xcbf2_9ce4_8422_2325);
        for path in paths {
            sum.add_path(path)?;
        }
        Ok(sum)
    }

    /// Adds something that is not a file: a flag, another fingerprint.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        // Ends the field: "ab" + "c" differs from "a" + "bc".
        self.0 = (self.0 ^ bytes.len() as u64).wrapping_mul(0x0000_0100_0000_01b3);
    }

    fn add_path(&mut self, path: &Path) -> Result<()> {
        self.add(path.to_string_lossy().as_bytes());
        if path.is_dir() {
            let mut children: Vec<PathBuf> = fs::read_dir(path)
                .with_context(|| format!("cannot list {}", path.display()))?
                .filter_map(|entry| entry.ok().map(|entry| entry.path()))
                .filter(|child| {
                    !child
                        .file_name()
                        .is_some_and(|name| SKIPPED.iter().any(|skipped| name == *skipped))
                })
                .collect();
            children.sort();
            for child in children {
                self.add_path(&child)?;
            }
        } else if path.is_file() {
            let bytes =
                fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            self.add(&bytes);
        }
        Ok(())
    }

    /// As text, for the stamp file.
    pub(crate) fn hex(&self) -> String {
        format!("{:016x}", self.0)
    }
}

fn stamp_file(name: &str) -> PathBuf {
    crate::sh::target().join("xtask").join(name)
}

/// Whether the stamp `name` says that these inputs were already built.
pub(crate) fn is_fresh(name: &str, fingerprint: &Fingerprint) -> bool {
    fs::read_to_string(stamp_file(name)).is_ok_and(|text| text == fingerprint.hex())
}

/// Remembers that these inputs are built.
pub(crate) fn remember(name: &str, fingerprint: &Fingerprint) -> Result<()> {
    let file = stamp_file(name);
    if let Some(dir) = file.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(&file, fingerprint.hex()).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_run_into_each_other() {
        let sum = |fields: &[&str]| {
            let mut sum = Fingerprint(1);
            for field in fields {
                sum.add(field.as_bytes());
            }
            sum.hex()
        };
        assert_ne!(sum(&["ab", "c"]), sum(&["a", "bc"]));
        assert_eq!(sum(&["ab", "c"]), sum(&["ab", "c"]));
    }
}
