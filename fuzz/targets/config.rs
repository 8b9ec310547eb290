//! A configuration file of a command.

use lowbit::config::{Key, Setting, Takes, read, write};

#[rustfmt::skip]
pub const WORDS: &[&str] = &[
    "threads = ", "quiet = true", "tensor-type = [", "grid = ", "\"", "\"\"\"", "'''", "[a]", "[[a]]", "{", "}", "]", ",", "=", ".", "#",
    "1e400", "-nan", "inf", "0x7fffffffffffffff", "9223372036854775808", "1979-05-27T07:32:00Z", "\\u001b", "\r\n", "\0", "[[[[[[[[",
];

pub fn target(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let key = |name: &str, takes| Key {
        name: name.into(),
        takes,
    };
    let keys = [
        key("quiet", Takes::Switch),
        key("grid", Takes::One),
        key("threads", Takes::One),
        key("tensor-type", Takes::Many),
    ];
    match read(text, "quantize", &keys) {
        Err(e) => assert!(!e.is_empty() && e.len() < 2_000, "{e}"),
        Ok(settings) => {
            let named: Vec<(Key, Setting)> = settings
                .iter()
                .map(|(name, s)| {
                    let key = keys.iter().find(|k| k.name == *name);
                    (key.expect("a key that is known").clone(), s.clone())
                })
                .collect();
            let again = write(&named);
            let second = read(&again, "quantize", &keys);
            assert_eq!(second.as_ref(), Ok(&settings), "{again}");
        }
    }
}
