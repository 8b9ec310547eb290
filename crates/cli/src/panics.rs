//! A panic is a bug of this program: one sentence that asks for a report. Panics that a library catches, such as a picture
//! decoder's on a hostile file, print nothing.

use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::{Mutex, PoisonError};

/// What a Rust program that panics ends with.
pub(crate) const EXIT_CODE: u8 = 101;

/// Where and why the last panic was.
static LAST: Mutex<String> = Mutex::new(String::new());

/// Does the work; a panic in it becomes a sentence. `RUST_BACKTRACE` asks for the trace as well.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let default = take_hook();
    let trace = std::env::var_os("RUST_BACKTRACE").is_some_and(|v| v != "0");
    set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        let why = info.payload_as_str().unwrap_or("no reason given");
        let place = info
            .location()
            .map(|l| format!(" ({}:{})", l.file(), l.line()))
            .unwrap_or_default();
        *LAST.lock().unwrap_or_else(PoisonError::into_inner) = format!("{why}{place}");
        if trace {
            default(info);
        }
    }));
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| {
        let last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        let why = lowbit::text::printable(&last);
        format!(
            "this is a bug in lowbit: {why}; please report it with the command and, if you may, the files"
        )
    })
}
