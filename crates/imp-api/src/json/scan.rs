//! The first pass: where the first JSON value of a body begins and ends, and that it is well-formed.
//!
//! Without recursion, so that nesting costs memory and no stack. The words of the errors are those that clients of the
//! 2021 API may have seen (they were those of Go's encoding/json).

use super::{JsonError, MAX_DEPTH, Position};

const BEGIN_VALUE: &str = "looking for beginning of value";
const BEGIN_KEY: &str = "looking for beginning of object key string";

/// The letters of each word, with what is said where another stands.
const TRUE: &[(u8, &str)] = &[
    (b't', BEGIN_VALUE),
    (b'r', "in literal true (expecting 'r')"),
    (b'u', "in literal true (expecting 'u')"),
    (b'e', "in literal true (expecting 'e')"),
];
const FALSE: &[(u8, &str)] = &[
    (b'f', BEGIN_VALUE),
    (b'a', "in literal false (expecting 'a')"),
    (b'l', "in literal false (expecting 'l')"),
    (b's', "in literal false (expecting 's')"),
    (b'e', "in literal false (expecting 'e')"),
];
const NULL: &[(u8, &str)] = &[
    (b'n', BEGIN_VALUE),
    (b'u', "in literal null (expecting 'u')"),
    (b'l', "in literal null (expecting 'l')"),
    (b'l', "in literal null (expecting 'l')"),
];

/// The text up to the end of its first value, or nothing if it is blank. What follows the value is not looked at.
pub(super) fn first_value(text: &[u8]) -> Result<Option<&str>, JsonError> {
    let mut scanner = Scanner { text, at: 0, open: Vec::new() };
    if scanner.skip_blanks().is_none() {
        return Ok(None);
    }
    scanner.value()?;
    match std::str::from_utf8(&text[..scanner.at]) {
        Ok(value) => Ok(Some(value)),
        Err(error) => Err(JsonError::InvalidUtf8 { at: Position::of(text, error.valid_up_to()) }),
    }
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    /// The arrays and objects that are open here, outermost first.
    open: Vec<Container>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Container {
    Array,
    Object,
}

impl Scanner<'_> {
    /// One whole value, with everything in it.
    fn value(&mut self) -> Result<(), JsonError> {
        loop {
            if self.begin_value()? {
                continue;
            }
            // A value has ended; so may the containers around it.
            loop {
                let Some(container) = self.open.last().copied() else { return Ok(()) };
                let byte = self.token()?;
                match (container, byte) {
                    (Container::Array, b',') => {
                        self.at += 1;
                        break;
                    }
                    (Container::Object, b',') => {
                        self.at += 1;
                        self.key(BEGIN_KEY)?;
                        break;
                    }
                    (Container::Array, b']') | (Container::Object, b'}') => {
                        self.at += 1;
                        self.open.pop();
                    }
                    (Container::Array, _) => return Err(self.refuse("after array element")),
                    (Container::Object, _) => return Err(self.refuse("after object key:value pair")),
                }
            }
        }
    }

    /// The beginning of a value. True: a container that is not empty was opened and its first value comes next.
    fn begin_value(&mut self) -> Result<bool, JsonError> {
        match self.token()? {
            b'{' => {
                self.enter(Container::Object)?;
                if self.token()? == b'}' {
                    return Ok(self.leave());
                }
                self.key(BEGIN_KEY)?;
                Ok(true)
            }
            b'[' => {
                self.enter(Container::Array)?;
                if self.token()? == b']' {
                    return Ok(self.leave());
                }
                Ok(true)
            }
            b'"' => self.string().map(|()| false),
            b'-' | b'0'..=b'9' => self.number().map(|()| false),
            b't' => self.literal(TRUE).map(|()| false),
            b'f' => self.literal(FALSE).map(|()| false),
            b'n' => self.literal(NULL).map(|()| false),
            _ => Err(self.refuse(BEGIN_VALUE)),
        }
    }

    fn enter(&mut self, container: Container) -> Result<(), JsonError> {
        self.at += 1;
        if self.open.len() == MAX_DEPTH {
            return Err(JsonError::TooDeep);
        }
        self.open.push(container);
        Ok(())
    }

    /// Leaves a container right after it was entered. False, as a value has ended.
    fn leave(&mut self) -> bool {
        self.at += 1;
        self.open.pop();
        false
    }

    /// A key and its colon.
    fn key(&mut self, context: &'static str) -> Result<(), JsonError> {
        if self.token()? != b'"' {
            return Err(self.refuse(context));
        }
        self.string()?;
        if self.token()? != b':' {
            return Err(self.refuse("after object key"));
        }
        self.at += 1;
        Ok(())
    }

    fn literal(&mut self, word: &[(u8, &'static str)]) -> Result<(), JsonError> {
        for (letter, context) in word {
            if self.byte()? != *letter {
                return Err(self.refuse(context));
            }
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), JsonError> {
        if self.byte()? == b'-' {
            self.at += 1;
        }
        match self.byte()? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits(),
            _ => return Err(self.refuse("in numeric literal")),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if !self.byte()?.is_ascii_digit() {
                return Err(self.refuse("after decimal point in numeric literal"));
            }
            self.digits();
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte()?, b'+' | b'-') {
                self.at += 1;
            }
            if !self.byte()?.is_ascii_digit() {
                return Err(self.refuse("in exponent of numeric literal"));
            }
            self.digits();
        }
        Ok(())
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn string(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        loop {
            match self.byte()? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => self.escape()?,
                0..0x20 => return Err(self.refuse("in string literal")),
                _ => self.at += 1,
            }
        }
    }

    /// One escape, or two that are a surrogate pair.
    fn escape(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        self.at += 1;
        match self.byte()? {
            b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => {
                self.at += 1;
                return Ok(());
            }
            b'u' => self.at += 1,
            _ => return Err(self.refuse("in string escape code")),
        }
        let is_whole = match self.hex4()? {
            0xD800..=0xDBFF if self.byte()? == b'\\' => {
                self.at += 1;
                if self.byte()? == b'u' {
                    self.at += 1;
                    matches!(self.hex4()?, 0xDC00..=0xDFFF)
                } else {
                    false
                }
            }
            0xD800..=0xDFFF => false,
            _ => true,
        };
        if is_whole {
            return Ok(());
        }
        let escape = String::from_utf8_lossy(&self.text[start..start + 6]).into_owned();
        Err(JsonError::LoneSurrogate { escape, at: Position::of(self.text, start) })
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let mut code = 0;
        for _ in 0..4 {
            match char::from(self.byte()?).to_digit(16) {
                Some(digit) => code = code * 16 + digit,
                None => return Err(self.refuse("in \\u hexadecimal character escape")),
            }
            self.at += 1;
        }
        Ok(code)
    }

    /// The next byte that is no blank, not taken.
    fn token(&mut self) -> Result<u8, JsonError> {
        self.skip_blanks().ok_or(JsonError::UnexpectedEof)
    }

    fn skip_blanks(&mut self) -> Option<u8> {
        while matches!(self.peek()?, b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
        self.peek()
    }

    fn byte(&self) -> Result<u8, JsonError> {
        self.peek().ok_or(JsonError::UnexpectedEof)
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// The error that the byte at hand cannot stand here.
    fn refuse(&self, context: &'static str) -> JsonError {
        match self.peek() {
            Some(byte) => JsonError::Character { byte, context, at: Position::of(self.text, self.at) },
            None => JsonError::UnexpectedEof,
        }
    }
}
