//! `lowbit bench --worker`: one line of JSON when loaded, then one for each number of runs read from stdin.

use std::io::BufRead;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use lowbit::bench::{Input, Worker};
use lowbit::{Error, ErrorKind};
use serde_json::{Value, json};

use super::Arguments;
use crate::context::{Context, Outcome};
use crate::print;

/// Between two looks at signals and the time limit.
const TICK: Duration = Duration::from_millis(50);

pub(super) fn run(a: &Arguments, context: &Context) -> lowbit::Result<Outcome> {
    let model = a.model()?;
    let inputs: Vec<_> = [Some(model), a.input.as_deref()].into_iter().flatten().collect();
    if let Some(output) = &a.output {
        lowbit::output::check(output, &inputs)?;
    }
    let input = match &a.input {
        Some(file) => Input::Raw(file),
        None => Input::Seed(context.seed),
    };
    let mut worker = Worker::start(model, &a.flags.options(context), &a.run.options(context), input)?;
    if let Some(output) = &a.output {
        let bytes: Vec<u8> = worker.outputs().iter().flat_map(|x| x.to_le_bytes()).collect();
        lowbit::output::file(output, &bytes, &inputs)?;
    }
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    say(json!({
        "load_ms": ms(worker.load()),
        "first_ms": ms(worker.first()),
        "rss_mb": worker.memory_mib(),
        "isa": context.provenance(None, None).isa,
    }))?;
    let lines = stdin_lines();
    loop {
        context.control.check()?;
        let line = match lines.recv_timeout(TICK) {
            Ok(line) => line.map_err(|e| Error::new(ErrorKind::Io, format!("stdin: {e}")))?,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return Ok(Outcome::default()),
        };
        let runs = line.trim().parse().map_err(|_| {
            let message = format!("\"{line}\" on stdin is no number of runs: write one per line, such as 10");
            Error::new(ErrorKind::Usage, message)
        })?;
        let times = worker.burst(runs)?;
        say(json!({ "ms": times, "rss_mb": worker.memory_mib() }))?;
    }
}

fn say(line: Value) -> lowbit::Result<()> {
    print(&format!("{line}\n"))
}

/// Lines of stdin, read by a thread of their own: a signal does not end a read.
fn stdin_lines() -> Receiver<std::io::Result<String>> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    receive
}
