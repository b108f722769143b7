//! What plays on a mount while no source is there.

use std::path::PathBuf;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// Nothing: the mount is silent, and ends after its grace.
    #[default]
    Nothing,
    /// Another mount of this relay.
    Mount(String),
    /// A file, folder or playlist, again and again.
    File(PathBuf),
}

impl Fallback {
    /// Reads `/mount`, `file:PATH` or nothing.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::Nothing);
        }
        if let Some(path) = text.strip_prefix("file:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                "" => Err("file: names no file; write file:standby.mp3".to_owned()),
                path => Ok(Self::File(path.into())),
            };
        }
        crate::mount::check_name(text)
            .map(|()| Self::Mount(text.to_owned()))
            .map_err(|why| format!("{text:?} is no mount ({why}); a file is file:PATH"))
    }

    /// As it is written; `None` when there is none.
    pub fn show(&self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Mount(name) => Some(name.clone()),
            Self::File(path) => Some(format!("file:{}", path.display())),
        }
    }

    /// Whether anything plays.
    pub fn is_some(&self) -> bool {
        *self != Self::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_and_files_are_told_apart() {
        for (text, expected) in [
            ("", Fallback::Nothing),
            ("/standby.opus", Fallback::Mount("/standby.opus".into())),
            ("file:a/b.mp3", Fallback::File("a/b.mp3".into())),
            ("file:/a/b.mp3", Fallback::File("/a/b.mp3".into())),
        ] {
            let read = Fallback::parse(text).expect(text);
            assert_eq!(read, expected);
            assert_eq!(read.show().unwrap_or_default(), text);
        }
        assert_eq!(
            Fallback::parse("file:///a.mp3"),
            Ok(Fallback::File("/a.mp3".into()))
        );
        for wrong in ["standby.opus", "file:", "/api/x"] {
            assert!(Fallback::parse(wrong).is_err(), "{wrong}");
        }
    }
}
