//! ICY metadata inside a SHOUTcast stream: a length byte and a text after
//! every `icy-metaint` bytes of audio.

/// Takes the metadata out of a stream.
#[derive(Debug)]
pub struct Deinterleaver {
    interval: usize,
    state: State,
    titles: Vec<String>,
}

#[derive(Debug)]
enum State {
    /// Bytes of audio until the next block.
    Audio(usize),
    /// A block's bytes, and how many it has.
    Block(Vec<u8>, usize),
}

impl Deinterleaver {
    /// For a stream that promised metadata after every `interval` bytes.
    pub fn new(interval: usize) -> Self {
        let interval = interval.max(1);
        Self {
            interval,
            state: State::Audio(interval),
            titles: Vec::new(),
        }
    }

    /// Takes the next bytes, cut anywhere, and appends their audio to `audio`.
    pub fn push(&mut self, mut bytes: &[u8], audio: &mut Vec<u8>) {
        while let Some((&first, after)) = bytes.split_first() {
            match &mut self.state {
                State::Audio(0) => {
                    bytes = after;
                    self.state = match usize::from(first) * 16 {
                        0 => State::Audio(self.interval),
                        len => State::Block(Vec::with_capacity(len), len),
                    };
                }
                State::Audio(left) => {
                    let take = (*left).min(bytes.len());
                    audio.extend_from_slice(&bytes[..take]);
                    *left -= take;
                    bytes = &bytes[take..];
                }
                State::Block(block, len) => {
                    let take = (*len - block.len()).min(bytes.len());
                    block.extend_from_slice(&bytes[..take]);
                    bytes = &bytes[take..];
                    if block.len() == *len {
                        self.titles.extend(title(block));
                        self.state = State::Audio(self.interval);
                    }
                }
            }
        }
    }

    /// Titles that came since the last call, oldest first.
    pub fn titles(&mut self) -> Vec<String> {
        std::mem::take(&mut self.titles)
    }
}

/// `StreamTitle='…';`, which may hold quotes itself. UTF-8, else Latin-1.
fn title(block: &[u8]) -> Option<String> {
    const KEY: &[u8] = b"StreamTitle='";
    let start = block.windows(KEY.len()).position(|w| w == KEY)? + KEY.len();
    let rest = &block[start..];
    let end = rest.windows(2).position(|w| w == b"';");
    let end = end.or_else(|| rest.iter().rposition(|b| *b == b'\''))?;
    let text = &rest[..end];
    Some(match std::str::from_utf8(text) {
        Ok(text) => text.to_owned(),
        Err(_) => text.iter().map(|&byte| char::from(byte)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_is_whole_however_it_is_cut() {
        let mut stream = b"0123456789".to_vec();
        stream.push(3);
        let mut block = b"StreamTitle='It's \xe4';StreamUrl='x';".to_vec();
        block.resize(48, 0);
        stream.extend_from_slice(&block);
        stream.extend_from_slice(b"abcdefghij\0KLM");
        for size in [1, 2, 7, 100] {
            let (mut audio, mut icy) = (Vec::new(), Deinterleaver::new(10));
            stream.chunks(size).for_each(|p| icy.push(p, &mut audio));
            assert_eq!(audio, b"0123456789abcdefghijKLM", "pieces of {size}");
            assert_eq!(icy.titles(), ["It's ä"]);
        }
    }
}
