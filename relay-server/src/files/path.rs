//! From a request path to an open file below the root, and nowhere else.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};

/// Longest decoded path accepted; Linux's own limit.
const MAX_PATH: usize = 4096;

/// Decodes the part of a request path below `/files/` into a relative path.
///
/// `None` for anything that is not plainly a file's name: empty, `.` and `..`
/// segments, dot files, encoded slashes, backslashes, NULs and malformed
/// escapes. All of these are answered like a missing file.
pub(crate) fn relative(raw: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for segment in raw.split('/') {
        let decoded = percent_decode(segment)?;
        if decoded.is_empty() || decoded.starts_with(b".") {
            return None;
        }
        if decoded.iter().any(|&b| b == 0 || b == b'/' || b == b'\\') {
            return None;
        }
        path.push(OsStr::from_bytes(&decoded));
    }
    (path.as_os_str().len() <= MAX_PATH).then_some(path)
}

fn percent_decode(segment: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            other => other,
        });
    }
    Some(out)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// The directory whose files are served, held open so that renaming it or a
/// parent cannot redirect requests.
#[derive(Debug)]
pub(crate) struct Root {
    dir: OwnedFd,
    path: PathBuf,
    /// Device and inode of files that are never served.
    hidden: Vec<(u64, u64)>,
}

impl Root {
    /// Opens the root.
    ///
    /// # Errors
    /// When `path` is not a directory that can be read.
    pub(crate) fn open(path: &Path, hidden: &[PathBuf]) -> io::Result<Self> {
        let path = path.canonicalize()?;
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(&path, flags, Mode::empty())?;
        let hidden = hidden.iter().filter_map(|path| path.metadata().ok());
        let hidden = hidden.map(|file| (file.dev(), file.ino())).collect();
        Ok(Self { dir, path, hidden })
    }

    /// The root's own path, without symbolic links.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where an open file really is: who writes it does not know of links to it.
    pub(crate) fn path_of(&self, file: &File, relative: &Path) -> PathBuf {
        let found = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
        found
            .ok()
            .filter(|path| path.starts_with(&self.path))
            .unwrap_or_else(|| self.path.join(relative))
    }

    /// Opens a regular file below the root for reading. The kernel itself
    /// refuses to leave the root (`openat2` with `RESOLVE_BENEATH`), so there
    /// is no moment between a check and the use.
    ///
    /// # Errors
    /// `NotFound` for everything that must look like a missing file: links out
    /// of the root, directories, FIFOs, devices.
    pub(crate) fn open_file(&self, relative: &Path) -> io::Result<File> {
        // NONBLOCK: opening a FIFO must not hang.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let opened = loop {
            match rustix::fs::openat2(&self.dir, relative, flags, Mode::empty(), resolve) {
                // A rename raced with the resolution.
                Err(rustix::io::Errno::AGAIN) => {}
                other => break other,
            }
        };
        let file = match opened {
            Ok(fd) => File::from(fd),
            Err(rustix::io::Errno::NOSYS) => self.open_checked(relative)?,
            Err(
                errno @ (rustix::io::Errno::MFILE
                | rustix::io::Errno::NFILE
                | rustix::io::Errno::ACCESS),
            ) => {
                return Err(errno.into());
            }
            Err(_) => return Err(io::ErrorKind::NotFound.into()),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() || self.hidden.contains(&(metadata.dev(), metadata.ino())) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(file)
    }

    /// For kernels before 5.6 or sandboxes without `openat2`.
    fn open_checked(&self, relative: &Path) -> io::Result<File> {
        let full = self.path.join(relative).canonicalize()?;
        if !full.starts_with(&self.path) || !full.metadata()?.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        File::open(full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn plain_names_pass() {
        assert_eq!(relative("a/b.opus"), Some(PathBuf::from("a/b.opus")));
        assert_eq!(
            relative("sp%20ace%C3%A9.mp3"),
            Some(PathBuf::from("sp aceé.mp3"))
        );
    }

    #[test]
    fn everything_else_does_not() {
        for raw in [
            "",
            "/",
            "a//b",
            "../x",
            "a/../x",
            "%2e%2e/x",
            "a%2fb",
            "a%2Fb",
            "a%5cb",
            "a\\b",
            ".hidden",
            "a/.git/config",
            "%2ehidden",
            "nul%00",
            "bad%",
            "bad%2",
            "bad%zz",
            "a/.",
        ] {
            assert_eq!(relative(raw), None, "{raw:?}");
        }
        assert_eq!(relative(&"x".repeat(5000)), None);
    }

    #[test]
    fn links_may_not_leave_the_root() -> io::Result<()> {
        let base = std::env::temp_dir().join(format!("seamcast-path-{}", std::process::id()));
        let root_dir = base.join("root");
        std::fs::create_dir_all(root_dir.join("sub"))?;
        std::fs::write(base.join("secret"), "secret")?;
        std::fs::write(root_dir.join("sub/inside"), "inside")?;
        symlink("../secret", root_dir.join("out"))?;
        symlink(base.join("secret"), root_dir.join("absolute"))?;
        symlink("sub/inside", root_dir.join("in"))?;
        std::fs::write(root_dir.join("hidden.toml"), "password")?;
        symlink("hidden.toml", root_dir.join("hidden.mp3"))?;
        symlink("/proc/self/root/etc/passwd", root_dir.join("magic"))?;
        let root = Root::open(&root_dir, &[root_dir.join("hidden.toml")])?;
        assert!(root.open_file(Path::new("in")).is_ok());
        assert!(root.open_checked(Path::new("in")).is_ok());
        for bad in [
            "out",
            "absolute",
            "magic",
            "hidden.toml",
            "hidden.mp3",
            "hidden.toml",
            "hidden.mp3",
            "sub",
            "missing",
            "sub/inside/x",
        ] {
            assert!(
                root.open_file(Path::new(bad))
                    .is_err_and(|e| e.kind() == io::ErrorKind::NotFound),
                "{bad}"
            );
            assert!(
                bad.starts_with("hidden") || root.open_checked(Path::new(bad)).is_err(),
                "{bad}"
            );
        }
        std::fs::remove_dir_all(base)
    }
}
