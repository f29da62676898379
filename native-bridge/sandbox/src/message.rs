//! workerd's configuration as the Cap'n Proto message that it is: written here because a text that embeds a module of 14 MB
//! takes workerd a tenth of a second to read, and a message does not.
//!
//! Every struct of that schema that we need has its union's tag in the first two bytes of its data, and otherwise pointers.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Bytes of a text or of data: a pointer has 29 bits for them.
const MOST_BYTES: u64 = (1 << 29) - 2;
const WORD: usize = 8;

/// What a pointer leads to.
pub(crate) enum Value {
    Null,
    Struct(Struct),
    Structs(Vec<Struct>),
    Text(String),
    Texts(Vec<String>),
    /// What a file has: as a text, which a NUL follows, or as data.
    File {
        path: PathBuf,
        bytes: u64,
        text: bool,
    },
}

pub(crate) struct Struct {
    /// Of its union.
    pub(crate) tag: u16,
    pub(crate) pointers: Vec<Value>,
}

/// Writes a message of one segment into a new file.
pub(crate) fn write(root: Value, to: &Path) -> io::Result<()> {
    let mut message = Message { words: vec![0], files: Vec::new() };
    message.put(root, 0)?;
    // Files lie behind all structs.
    let mut end = message.words.len();
    for (at, path, bytes, text) in std::mem::take(&mut message.files) {
        let count = bytes + u64::from(text);
        message.point(at, end, 1, 2 | (count << 3))?;
        let words = usize::try_from(count).unwrap_or(usize::MAX).div_ceil(WORD);
        end = end.checked_add(words).ok_or_else(too_large)?;
        message.files.push((words * WORD, path, bytes, text));
    }
    let mut file = File::create(to)?;
    let size = u32::try_from(end).map_err(|_| too_large())?;
    let mut head = Vec::with_capacity(WORD * (1 + message.words.len()));
    head.extend_from_slice(&0_u32.to_le_bytes());
    head.extend_from_slice(&size.to_le_bytes());
    for word in &message.words {
        head.extend_from_slice(&word.to_le_bytes());
    }
    file.write_all(&head)?;
    for (room, path, bytes, _) in message.files {
        let copied = io::copy(&mut File::open(&path)?.take(bytes), &mut file)?;
        if copied != bytes {
            return Err(io::Error::other(format!("{} became shorter", path.display())));
        }
        let padding = room - usize::try_from(bytes).unwrap_or(room).min(room);
        file.write_all(&[0; WORD][..padding.min(WORD)])?;
    }
    Ok(())
}

struct Message {
    words: Vec<u64>,
    /// Where the pointer is (later: how much room it has), the file, its bytes, and whether it is a text.
    files: Vec<(usize, PathBuf, u64, bool)>,
}

impl Message {
    /// Puts a value, to which the pointer at word `at` leads.
    fn put(&mut self, value: Value, at: usize) -> io::Result<()> {
        match value {
            Value::Null => Ok(()),
            Value::Texts(all) => {
                let target = self.room(all.len());
                self.point(at, target, 1, 6 | ((all.len() as u64) << 3))?;
                all.into_iter().enumerate().try_for_each(|(index, one)| self.put(Value::Text(one), target + index))
            }
            Value::Struct(one) => {
                let target = self.room(1 + one.pointers.len());
                self.point(at, target, 0, size_of_struct(one.pointers.len()))?;
                self.fill(one, target)
            }
            Value::Structs(all) => {
                let pointers = all.iter().map(|one| one.pointers.len()).max().unwrap_or(0);
                let each = 1 + pointers;
                let target = self.room(1 + all.len() * each);
                self.point(at, target, 1, 7 | (((all.len() * each) as u64) << 3))?;
                self.words[target] = ((all.len() as u64) << 2) | (size_of_struct(pointers) << 32);
                all.into_iter().enumerate().try_for_each(|(index, one)| self.fill(one, target + 1 + index * each))
            }
            Value::Text(text) => {
                let bytes = text.len() + 1;
                let target = self.room(bytes.div_ceil(WORD));
                for (index, byte) in text.bytes().enumerate() {
                    self.words[target + index / WORD] |= u64::from(byte) << (8 * (index % WORD));
                }
                self.point(at, target, 1, 2 | ((bytes as u64) << 3))
            }
            Value::File { path, bytes, text } => {
                if bytes > MOST_BYTES {
                    return Err(too_large());
                }
                self.files.push((at, path, bytes, text));
                Ok(())
            }
        }
    }

    fn fill(&mut self, one: Struct, target: usize) -> io::Result<()> {
        self.words[target] = one.tag.into();
        one.pointers.into_iter().enumerate().try_for_each(|(index, value)| self.put(value, target + 1 + index))
    }

    fn room(&mut self, words: usize) -> usize {
        let target = self.words.len();
        self.words.resize(target + words, 0);
        target
    }

    /// A pointer at word `at` to word `target`: its kind, and what stands in its upper half.
    fn point(&mut self, at: usize, target: usize, kind: u64, upper: u64) -> io::Result<()> {
        let offset = target - at - 1;
        if offset >= 1 << 29 || upper >> 32 != 0 {
            return Err(too_large());
        }
        self.words[at] = kind | ((offset as u64) << 2) | (upper << 32);
        Ok(())
    }
}

/// One word of data, and pointers.
fn size_of_struct(pointers: usize) -> u64 {
    1 | ((pointers as u64) << 16)
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "the application's modules are too large")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_laid_out_as_the_encoding_says() {
        let folder = std::env::temp_dir();
        let (source, to) =
            (folder.join(format!("hs-m-{}", std::process::id())), folder.join(format!("hs-o-{}", std::process::id())));
        std::fs::write(&source, b"123456789").unwrap();
        let file = Value::File { path: source.clone(), bytes: 9, text: true };
        let list = Value::Structs(vec![
            Struct { tag: 3, pointers: vec![Value::Text("ab".into())] },
            Struct { tag: 4, pointers: vec![Value::Null] },
        ]);
        let texts = Value::Texts(vec!["c".into()]);
        write(Value::Struct(Struct { tag: 2, pointers: vec![file, list, texts] }), &to).unwrap();
        let bytes = std::fs::read(&to).unwrap();
        let words: Vec<u64> = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        assert_eq!(words[0], 15 << 32);
        assert_eq!(words[1], (1 | (3 << 16)) << 32);
        assert_eq!(words[2], 2);
        assert_eq!(words[3], 1 | (10 << 2) | ((2 | (10 << 3)) << 32));
        assert_eq!(words[4], 1 | (1 << 2) | ((7 | (4 << 3)) << 32));
        assert_eq!(words[5], 1 | (6 << 2) | ((6 | (1 << 3)) << 32));
        assert_eq!(words[6], (2 << 2) | ((1 | (1 << 16)) << 32));
        assert_eq!(words[7..11], [3, 1 | (2 << 2) | ((2 | (3 << 3)) << 32), 4, 0]);
        assert_eq!(words[12], 1 | ((2 | (2 << 3)) << 32));
        assert_eq!(&bytes[88..96], b"ab\0\0\0\0\0\0");
        assert_eq!(&bytes[104..], b"c\0\0\0\0\0\0\x00123456789\0\0\0\0\0\0\0");
        for path in [source, to] {
            std::fs::remove_file(path).unwrap();
        }
    }
}
