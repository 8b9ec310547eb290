//! The `lowbit` command: arguments in, tables out. The work is done by the façade `lowbit`.

mod commands;
mod config;
mod context;
mod panics;
mod progress;
mod signals;
mod values;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};

use commands::Command;
use context::{Context, Outcome, say};
use lowbit::ErrorKind;

/// Quantize any ONNX detector to 2-8 bits and run it in integers.
///
/// Exit codes: 0 done; 1 a gate said no; 2 wrong usage; 3 bad input; 4 unsupported; 5 input or output failed; 6 a limit was
/// reached; 130 interrupted; 143 terminated; 101 a bug, please report it. Results go to stdout, everything else to stderr.
#[derive(Debug, Parser)]
#[command(name = "lowbit", version, propagate_version = true, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let signals = signals::Signals::install();
    let result = panics::caught(|| run(&signals));
    ExitCode::from(match result {
        Ok(Ok(code)) => code,
        Ok(Err(e)) => {
            say(&format!("error: {e}"));
            match e.kind() {
                ErrorKind::Interrupted => signals.exit_code(),
                kind => kind.exit_code(),
            }
        }
        Err(bug) => {
            say(&format!("error: {bug}"));
            panics::EXIT_CODE
        }
    })
}

fn run(signals: &signals::Signals) -> lowbit::Result<u8> {
    let given: Vec<_> = std::env::args_os().collect();
    let merged = config::merged(&command(), given)?;
    // Help and usage errors end here, with clap's exit codes 0 and 2.
    let matches = command().get_matches_from(merged);
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|e| e.exit());
    if cli.command.common().print_config {
        print(&config::printed(&command(), &matches))?;
        return Ok(0);
    }
    lowbit::doctor::check_isa()?;
    let context = Context::new(cli.command.common(), signals.control());
    let outcome = cli.command.run(&context)?;
    let Outcome { text, json, gate } = outcome;
    match (context.json, json) {
        (true, Some(json)) => print(&lowbit::text::tame_json(&format!("{json:#}\n")))?,
        _ => print(&text)?,
    }
    match gate {
        Some(why) => {
            say(&lowbit::text::printable(&why));
            Ok(ErrorKind::Gate.exit_code())
        }
        None => Ok(0),
    }
}

/// The arguments. `-1` behind a flag is its value: then the flag itself says which numbers it takes.
fn command() -> clap::Command {
    let takes_number = |a: clap::Arg| {
        let flag = a.get_long().is_some() && a.get_action().takes_values();
        a.allow_negative_numbers(flag)
    };
    let all = Cli::command();
    let names: Vec<String> = all.get_subcommands().map(|c| c.get_name().to_string()).collect();
    let each = |all: clap::Command, name| all.mut_subcommand(name, |c| c.mut_args(takes_number));
    names.into_iter().fold(all, each)
}

/// The only writes to stdout. A closed pipe ends quietly, as `head` expects; a full disk is an error.
pub(crate) fn print(text: &str) -> lowbit::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(lowbit::Error::new(ErrorKind::Io, format!("stdout: {e}")))
        }
        _ => Ok(()),
    }
}
