//! `lowbit doctor`

use std::fmt::Write;

use clap::Args;
use lowbit::doctor::CudaState;
use lowbit::text::{self, table};

use crate::context::{Common, Context, Outcome};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
}

pub(crate) fn run(_: &Arguments, context: &Context) -> lowbit::Result<Outcome> {
    let d = lowbit::doctor(context.threads)?;
    let yes = |b: bool| if b { "yes" } else { "no" }.to_string();
    let mut out = String::new();
    let p = &d.provenance;
    let _ = writeln!(
        out,
        "lowbit {} (commit {}), {}",
        p.tool_version, p.git, d.platform
    );
    let _ = writeln!(
        out,
        "CPU      {} ({} usable)",
        text::printable(&p.cpu),
        text::counted(d.cores, "thread")
    );
    if let Some(free) = d.memory_available {
        let _ = writeln!(out, "memory   {} available", text::bytes(free as usize));
    }
    match &d.cuda {
        Some(CudaState::Device(name)) => {
            let _ = writeln!(
                out,
                "CUDA     {}: train with --set device=cuda",
                text::printable(name)
            );
        }
        Some(CudaState::Missing(why)) => {
            let _ = writeln!(out, "CUDA     none: {}", text::printable(why));
        }
        None => {}
    }
    let have: Vec<&str> = d.features.iter().filter(|f| f.1).map(|f| f.0).collect();
    let lack: Vec<&str> = d.features.iter().filter(|f| !f.1).map(|f| f.0).collect();
    let _ = writeln!(out, "features {}", have.join(" "));
    if !lack.is_empty() {
        let _ = writeln!(out, "absent   {}", lack.join(" "));
    }
    let rows: Vec<Vec<String>> = d
        .isas
        .iter()
        .map(|i| {
            vec![
                i.name.to_string(),
                yes(i.usable),
                yes(i.chosen),
                i.kernels.to_string(),
            ]
        })
        .collect();
    let _ = write!(
        out,
        "\n{}",
        table(&["instruction set", "usable", "in use", "kernels"], &rows)
    );
    match &d.lowbit_isa {
        Some(isa) => {
            let _ = writeln!(
                out,
                "LOWBIT_ISA={isa} forces {}; unset it for the best one.",
                p.isa
            );
        }
        None => {
            out.push_str("LOWBIT_ISA=NAME forces one; results are the same bytes, only the time changes.\n")
        }
    }
    let rows: Vec<Vec<String>> = d
        .kernels
        .iter()
        .map(|k| vec![k.0.to_string(), yes(k.1)])
        .collect();
    let _ = write!(out, "\n{}", table(&["kernel", "usable"], &rows));
    out.push_str("\nlimits\n");
    for (name, value) in &d.limits {
        // Names that say bytes are shown as sizes.
        let value = match name.ends_with("bytes") {
            true => lowbit::text::bytes(*value as usize),
            false => value.to_string(),
        };
        let _ = writeln!(out, "  {name:18} {value}");
    }
    out.push_str("  --limit-mem and --limit-time set lower ones.\n");
    Ok(Outcome::new(out, &p.clone(), &d))
}
