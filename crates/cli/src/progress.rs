//! Progress on stderr: a bar with the time left on a terminal, one plain line every ten seconds elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use lowbit::Progress;

use crate::context::say;

const EVERY: Duration = Duration::from_secs(10);

/// A bar that follows the steps of a work.
pub(crate) struct Bar {
    mode: Mode,
    step: String,
}

enum Mode {
    Silent,
    Terminal(ProgressBar),
    Lines { began: Instant, last: Instant },
}

impl Bar {
    pub(crate) fn new(quiet: bool) -> Bar {
        let mode = if quiet {
            Mode::Silent
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::no_length();
            if let Ok(style) = ProgressStyle::with_template("{msg:24} {bar:40} {pos}/{len} ETA {eta}") {
                bar.set_style(style);
            }
            Mode::Terminal(bar)
        } else {
            let now = Instant::now();
            Mode::Lines {
                began: now,
                last: now,
            }
        };
        Bar {
            mode,
            step: String::new(),
        }
    }
}

impl Progress for Bar {
    fn at(&mut self, what: &str, done: usize, total: usize) {
        let new_step = self.step != what;
        if new_step {
            self.step = what.to_string();
        }
        match &mut self.mode {
            Mode::Silent => {}
            Mode::Terminal(bar) => {
                if new_step {
                    bar.reset();
                    bar.set_message(lowbit::text::shortened(what, 24));
                }
                bar.set_length(total as u64);
                bar.set_position(done as u64);
            }
            Mode::Lines { began, last } => {
                let now = Instant::now();
                if new_step {
                    *began = now;
                    return;
                }
                if now.duration_since(*last) >= EVERY {
                    *last = now;
                    let spent = now.duration_since(*began).as_secs_f64();
                    let left = spent / done.max(1) as f64 * total.saturating_sub(done) as f64;
                    let what = lowbit::text::printable(what);
                    say(&format!(
                        "{what}: {done}/{total}, {spent:.0} s, about {left:.0} s left"
                    ));
                }
            }
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Mode::Terminal(bar) = &self.mode {
            bar.finish_and_clear();
        }
    }
}
