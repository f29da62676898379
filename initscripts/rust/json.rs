//! Reads one text out of a JSON object: enough for an initscript's input.

/// Arrays and objects in one another.
const DEPTH: u32 = 32;

/// The text under `key` in a JSON object; none when it has none, or is malformed up to there.
pub fn text(json: &str, key: &str) -> Option<String> {
    let mut reader = Reader { rest: json.as_bytes() };
    reader.expect(b'{')?;
    loop {
        let name = reader.text()?;
        reader.expect(b':')?;
        if name == key {
            return reader.text();
        }
        reader.skip(0)?;
        reader.expect(b',')?;
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// The next byte that is no white space; it is not behind us yet.
    #[inline(never)]
    fn peek(&mut self) -> Option<u8> {
        loop {
            let (first, rest) = self.rest.split_first()?;
            if !matches!(first, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(*first);
            }
            self.rest = rest;
        }
    }

    /// Whether the next token is `wanted`; then it is behind us.
    #[inline(never)]
    fn take(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        self.take(wanted).then(|| ())
    }

    #[inline(never)]
    fn text(&mut self) -> Option<String> {
        self.expect(b'"')?;
        let mut text = Vec::new();
        loop {
            match self.next()? {
                b'"' => return String::from_utf8(text).ok(),
                b'\\' => {
                    let escaped = self.escape()?;
                    text.extend_from_slice(escaped.encode_utf8(&mut [0; 4]).as_bytes());
                }
                control if control < b' ' => return None,
                other => text.push(other),
            }
        }
    }

    /// What an escape stands for. Half of a surrogate pair alone is an error.
    fn escape(&mut self) -> Option<char> {
        Some(match self.next()? {
            plain @ (b'"' | b'\\' | b'/') => char::from(plain),
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = self.hex()?;
                if !(0xd800..0xdc00).contains(&high) {
                    return char::from_u32(high);
                }
                if self.next()? != b'\\' || self.next()? != b'u' {
                    return None;
                }
                let low = self.hex()?.wrapping_sub(0xdc00);
                if low > 0x3ff {
                    return None;
                }
                return char::from_u32(0x10000 + ((high - 0xd800) << 10) + low);
            }
            _ => return None,
        })
    }

    #[inline(never)]
    fn hex(&mut self) -> Option<u32> {
        let mut value = 0;
        for _ in 0..4 {
            value = value * 16 + char::from(self.next()?).to_digit(16)?;
        }
        Some(value)
    }

    /// A value of any kind is behind us.
    fn skip(&mut self, depth: u32) -> Option<()> {
        let close = match self.peek()? {
            b'"' => return self.text().map(|_| ()),
            b'{' => b'}',
            b'[' => b']',
            _ => return self.word(),
        };
        if depth > DEPTH {
            return None;
        }
        self.next();
        if self.take(close) {
            return Some(());
        }
        loop {
            if close == b'}' {
                self.text()?;
                self.expect(b':')?;
            }
            self.skip(depth + 1)?;
            if !self.take(b',') {
                return self.expect(close);
            }
        }
    }

    /// A number or one of the three words is behind us.
    fn word(&mut self) -> Option<()> {
        let is_word = |it: &&u8| it.is_ascii_alphanumeric() || matches!(it, b'+' | b'-' | b'.');
        let length = self.rest.iter().take_while(is_word).count();
        self.rest = self.rest.get(length..)?;
        (length > 0).then(|| ())
    }
}
