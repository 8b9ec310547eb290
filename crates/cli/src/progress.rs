//! Progress on stderr: a bar with the time left on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use lowbit::Progress;
use lowbit::training::TrainEvent;

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
                    let left = match done {
                        0 => String::new(),
                        _ => format!(
                            ", about {:.0} s left",
                            spent / done as f64 * total.saturating_sub(done) as f64
                        ),
                    };
                    let what = lowbit::text::printable(what);
                    say(&format!("{what}: {done}/{total}, {spent:.0} s{left}"));
                }
            }
        }
    }

    fn note(&mut self, text: &str) {
        let text = lowbit::text::printable(text);
        match &self.mode {
            Mode::Silent => {}
            Mode::Terminal(bar) => bar.println(text),
            Mode::Lines { .. } => say(&text),
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

/// The live view of a training run: a bar with the last numbers on a terminal, scores above it; a line each elsewhere.
pub(crate) struct Live {
    quiet: bool,
    bar: Option<ProgressBar>,
}

impl Live {
    pub(crate) fn new(quiet: bool) -> Live {
        let terminal = !quiet && std::io::stderr().is_terminal();
        let bar = terminal.then(|| {
            let bar = ProgressBar::no_length();
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len}  {wide_msg}") {
                bar.set_style(style);
            }
            bar
        });
        Live { quiet, bar }
    }

    pub(crate) fn at(&self, event: TrainEvent<'_>) {
        let plain = |text: &str| {
            if !self.quiet {
                say(&lowbit::text::printable(text));
            }
        };
        let (bar, line) = match (&self.bar, event) {
            (None, TrainEvent::Line(line)) => return plain(&line.to_string()),
            (None, TrainEvent::Note(text)) => return plain(text),
            (Some(bar), TrainEvent::Note(text)) => return bar.println(lowbit::text::printable(text)),
            (Some(bar), TrainEvent::Line(line)) => (bar, line),
        };
        bar.set_length(line.steps);
        bar.set_position(line.step);
        let loss: f64 = line.loss.iter().map(|l| l.1).sum();
        bar.set_message(format!(
            "loss {loss:.4}  rate {:.1e}  {} left",
            line.rate,
            duration(line.eta)
        ));
        if let Some(score) = line.score {
            bar.println(format!("step {}: score {score:.4}, loss {loss:.4}", line.step));
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Two units at most: `1 h 05 min`, `3 min 20 s`, `12 s`.
fn duration(seconds: f64) -> String {
    let s = seconds.max(0.0).round() as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        _ => format!("{} h {:02} min", s / 3600, s / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        let all = [0.4, 59.6, 200.0, 3900.0, f64::NAN].map(duration);
        assert_eq!(all, ["0 s", "1 min 00 s", "3 min 20 s", "1 h 05 min", "0 s"]);
    }
}
