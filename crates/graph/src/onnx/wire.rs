//! The protobuf wire format: varints, fixed words and length-delimited bytes.
//!
//! An own reader rather than a generated one, because weights must not be copied on the way (every field is a slice
//! of the file), every fault must name its byte, and nothing may be allocated that the file does not hold. There is
//! no recursion: a message is entered by making a [`Reader`] over its bytes.

use super::error::{Load, LoadError};

/// Bytes of one message or field, with their place in the file.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bytes<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
}

/// Payload of one field.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Payload<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(Bytes<'a>),
    Fixed32(u32),
}

/// One field of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    pub number: u32,
    pub at: usize,
    pub payload: Payload<'a>,
}

impl<'a> Field<'a> {
    fn wrong(&self, want: &str) -> LoadError {
        LoadError::bad(format!("field {} is not {want}", self.number)).at_byte(self.at)
    }

    pub(crate) fn bytes(&self) -> Load<Bytes<'a>> {
        match self.payload {
            Payload::Bytes(b) => Ok(b),
            _ => Err(self.wrong("a byte string")),
        }
    }

    pub(crate) fn string(&self) -> Load<&'a str> {
        let b = self.bytes()?;
        std::str::from_utf8(b.bytes)
            .map_err(|e| LoadError::bad("a name is not UTF-8").at_byte(b.at + e.valid_up_to()))
    }

    pub(crate) fn int(&self) -> Load<i64> {
        match self.payload {
            Payload::Varint(v) => Ok(v as i64),
            _ => Err(self.wrong("an integer")),
        }
    }

    pub(crate) fn float(&self) -> Load<f32> {
        match self.payload {
            Payload::Fixed32(v) => Ok(f32::from_bits(v)),
            _ => Err(self.wrong("a float")),
        }
    }

    /// Appends the integers of a repeated field, packed or not.
    pub(crate) fn ints(&self, out: &mut Vec<i64>) -> Load<()> {
        match self.payload {
            Payload::Varint(v) => out.push(v as i64),
            Payload::Bytes(b) => {
                let mut reader = Reader::new(b);
                while !reader.is_empty() {
                    out.push(reader.varint()? as i64);
                }
            }
            _ => return Err(self.wrong("a list of integers")),
        }
        Ok(())
    }

    /// Appends the floats of a repeated field, packed or not.
    pub(crate) fn floats(&self, out: &mut Vec<f32>) -> Load<()> {
        match self.payload {
            Payload::Fixed32(v) => out.push(f32::from_bits(v)),
            Payload::Bytes(b) => {
                let (words, rest) = b.bytes.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(self.wrong("a whole number of floats"));
                }
                out.extend(words.iter().map(|w| f32::from_le_bytes(*w)));
            }
            _ => return Err(self.wrong("a list of floats")),
        }
        Ok(())
    }

    /// Appends the doubles of a repeated field, packed or not.
    pub(crate) fn doubles(&self, out: &mut Vec<f64>) -> Load<()> {
        match self.payload {
            Payload::Fixed64(v) => out.push(f64::from_bits(v)),
            Payload::Bytes(b) => {
                let (words, rest) = b.bytes.as_chunks::<8>();
                if !rest.is_empty() {
                    return Err(self.wrong("a whole number of doubles"));
                }
                out.extend(words.iter().map(|w| f64::from_le_bytes(*w)));
            }
            _ => return Err(self.wrong("a list of doubles")),
        }
        Ok(())
    }
}

/// Walks the fields of one message.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(message: Bytes<'a>) -> Self {
        Reader {
            rest: message.bytes,
            at: message.at,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn take(&mut self, n: usize) -> Load<Bytes<'a>> {
        let Some((head, rest)) = self.rest.split_at_checked(n) else {
            let have = self.rest.len();
            let s = if n == 1 { "" } else { "s" };
            return Err(
                LoadError::bad(format!("the file ends early: {n} byte{s} wanted, {have} left"))
                    .at_byte(self.at),
            );
        };
        let out = Bytes {
            bytes: head,
            at: self.at,
        };
        self.rest = rest;
        self.at += n;
        Ok(out)
    }

    fn array<const N: usize>(&mut self) -> Load<[u8; N]> {
        let b = self.take(N)?;
        b.bytes
            .try_into()
            .map_err(|_| LoadError::bad("the file ends early").at_byte(b.at))
    }

    pub(crate) fn varint(&mut self) -> Load<u64> {
        let start = self.at;
        let mut value = 0u64;
        for i in 0..10 {
            let [byte] = self.array::<1>()?;
            let bits = u64::from(byte & 0x7f);
            if i == 9 && bits > 1 {
                break;
            }
            value |= bits << (7 * i);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(LoadError::bad("an integer is longer than 64 bits").at_byte(start))
    }

    /// The next field, or `None` at the end of the message.
    pub(crate) fn next(&mut self) -> Load<Option<Field<'a>>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let at = self.at;
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).ok().filter(|n| (1..1 << 29).contains(n));
        let Some(number) = number else {
            return Err(LoadError::bad("not an ONNX file: a field number is out of range").at_byte(at));
        };
        let payload = match key & 7 {
            0 => Payload::Varint(self.varint()?),
            1 => Payload::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).map_err(|_| {
                    LoadError::bad("a field is longer than this machine can address").at_byte(at)
                })?;
                Payload::Bytes(self.take(length)?)
            }
            5 => Payload::Fixed32(u32::from_le_bytes(self.array()?)),
            other => {
                return Err(
                    LoadError::bad(format!("not an ONNX file: wire type {other} is not used")).at_byte(at),
                );
            }
        };
        Ok(Some(Field { number, at, payload }))
    }
}

/// Writes one message.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    fn raw_varint(&mut self, mut v: u64) {
        while v >= 0x80 {
            self.out.push(v as u8 | 0x80);
            v >>= 7;
        }
        self.out.push(v as u8);
    }

    fn key(&mut self, field: u32, wire: u64) {
        self.raw_varint(u64::from(field) << 3 | wire);
    }

    pub(crate) fn int(&mut self, field: u32, v: i64) {
        self.key(field, 0);
        self.raw_varint(v as u64);
    }

    pub(crate) fn float(&mut self, field: u32, v: f32) {
        self.key(field, 5);
        self.out.extend_from_slice(&v.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, field: u32, v: &[u8]) {
        self.key(field, 2);
        self.raw_varint(v.len() as u64);
        self.out.extend_from_slice(v);
    }

    pub(crate) fn string(&mut self, field: u32, v: &str) {
        self.bytes(field, v.as_bytes());
    }

    pub(crate) fn message(&mut self, field: u32, build: impl FnOnce(&mut Writer)) {
        let mut inner = Writer::default();
        build(&mut inner);
        self.bytes(field, &inner.out);
    }

    /// Appends fields written elsewhere.
    pub(crate) fn append(&mut self, fields: Writer) {
        self.out.extend_from_slice(&fields.out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut w = Writer::default();
        w.int(1, -5);
        w.float(2, 0.5);
        w.message(3, |m| m.string(1, "name"));
        // Packed: 0, 300, −1.
        w.bytes(4, &[&[0, 0xac, 2][..], &[0xff; 9], &[1]].concat());
        let bytes = w.into_bytes();
        let mut r = Reader::new(Bytes { bytes: &bytes, at: 0 });
        assert_eq!(r.next().unwrap().unwrap().int().unwrap(), -5);
        assert_eq!(r.next().unwrap().unwrap().float().unwrap(), 0.5);
        let inner = r.next().unwrap().unwrap().bytes().unwrap();
        let name = Reader::new(inner).next().unwrap().unwrap();
        assert_eq!(name.string().unwrap(), "name");
        let mut list = Vec::new();
        r.next().unwrap().unwrap().ints(&mut list).unwrap();
        assert_eq!(list, [0, 300, -1]);
        assert!(r.next().unwrap().is_none());
    }

    #[test]
    fn lengths_beyond_the_end_name_the_byte() {
        let e = Reader::new(Bytes {
            bytes: &[0x0a, 0x7f, 1],
            at: 100,
        })
        .next()
        .unwrap_err();
        assert_eq!(e.byte(), Some(102));
        assert!(e.to_string().contains("127 bytes wanted, 1 left"), "{e}");
        assert!(
            Reader::new(Bytes {
                bytes: &[0x80; 11],
                at: 0
            })
            .next()
            .is_err()
        );
        assert!(
            Reader::new(Bytes {
                bytes: &[0x0b],
                at: 0
            })
            .next()
            .is_err()
        );
    }
}
