//! `lowbit compare`

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use lowbit::CompareSettings;
use lowbit::compare::{Change, CompareOptions};
use lowbit::text::{counted, printable, table};

use super::eval::{DataFlags, ProtocolFlags};
use crate::context::{Common, Context, ModelFlags, Outcome, RunFlags};
use crate::values;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The model that is the measure, usually the float one
    #[arg(value_name = "MODEL_A")]
    a: PathBuf,
    /// The model that is judged
    #[arg(value_name = "MODEL_B")]
    b: PathBuf,
    #[command(flatten)]
    data: DataFlags,
    #[command(flatten)]
    protocol: ProtocolFlags,
    /// Boxes from this confidence on are matched between the models: lost, gained, shifted, F1 (mAP takes those of --conf)
    #[arg(long, default_value_t = 0.25, value_parser = values::share::<f64>)]
    box_conf: f64,
    /// Two matched boxes of a class belong together from this overlap on (--iou drops boxes within one model)
    #[arg(long, default_value_t = 0.5, value_parser = values::share::<f64>)]
    box_iou: f64,
    /// A pair with less overlap counts as shifted
    #[arg(long, default_value_t = 0.9, value_parser = values::share::<f64>)]
    shifted: f64,
    /// Pictures listed
    #[arg(long, default_value_t = 20, value_parser = values::count(0, 20))]
    top: usize,
    /// Exit code 1 when more boxes are lost
    #[arg(long, value_name = "N", value_parser = values::count(0, 3))]
    max_lost: Option<usize>,
    /// Exit code 1 when the F1 of agreement is lower, 0…1
    #[arg(long, value_name = "F1", value_parser = values::share::<f64>)]
    min_f1: Option<f64>,
    /// Exit code 1 when mAP drops by more, 0…1
    #[arg(long, value_name = "MAP", value_parser = values::share::<f64>)]
    max_drop: Option<f64>,
    #[command(flatten)]
    flags: ModelFlags,
    #[command(flatten)]
    run: RunFlags,
    #[command(flatten)]
    pub(crate) common: Common,
}

pub(crate) fn run(a: &Arguments, context: &Context) -> lowbit::Result<Outcome> {
    let first = a.flags.load(&a.a, context)?;
    let second = a.flags.load(&a.b, context)?;
    let settings = CompareSettings {
        boxes: CompareOptions {
            conf: a.box_conf,
            iou: a.box_iou,
            shifted: a.shifted,
        },
        eval: a.protocol.options(&a.run, context),
    };
    let c = lowbit::compare(&first, &second, &a.data.source(), &settings, &mut context.bar())?;
    c.notes.iter().for_each(|n| context.note(n));
    let mut out = String::new();
    let count = |p: &lowbit::compare::ComparedPicture, f: &dyn Fn(&Change) -> bool| {
        p.change
            .changes
            .iter()
            .filter(|j| f(&j.change))
            .count()
            .to_string()
    };
    let rows: Vec<Vec<String>> = c
        .pictures
        .iter()
        .filter(|p| !p.change.changes.is_empty())
        .take(a.top)
        .map(|p| {
            vec![
                printable(&p.file).into_owned(),
                count(p, &|c| matches!(c, Change::Lost { .. })),
                count(p, &|c| matches!(c, Change::Gained { .. })),
                count(p, &|c| matches!(c, Change::Shifted { .. })),
                p.change.common.to_string(),
                format!("{:.2}", p.change.harm),
            ]
        })
        .collect();
    if !rows.is_empty() {
        let header = ["picture", "lost", "gained", "shifted", "common", "harm"];
        out = format!("{}\n", table(&header, &rows));
    }
    let _ = writeln!(
        out,
        "{}: {} lost, {} gained, {} shifted, {} common; agreement F1 {:.4} (conf {}, IoU {})",
        counted(c.pictures.len(), "picture"),
        counted(c.lost, "box"),
        c.gained,
        c.shifted,
        c.common,
        c.agreement_f1,
        a.box_conf,
        a.box_iou
    );
    if let Some(m) = &c.accuracy {
        let _ = write!(out, "mAP {:.4} -> {:.4}, drop {:.4}", m.a, m.b, m.drop);
        if let Some(i) = &m.interval {
            let _ = write!(
                out,
                " ({:.0} % paired interval {:.4} … {:.4})",
                100.0 * i.level,
                i.low,
                i.high
            );
        }
        let _ = writeln!(
            out,
            "\nprotocol {}",
            c.protocol_line.as_deref().unwrap_or_default()
        );
    }
    let p = context.provenance(Some(&c.b_sha256), Some(&c.data_sha256));
    let mut outcome = Outcome::new(out, &p, &c);
    let mut gates = Vec::new();
    if let Some(most) = a.max_lost.filter(|most| c.lost > *most) {
        gates.push(format!(
            "{} lost, --max-lost allows {most}",
            counted(c.lost, "box")
        ));
    }
    if let Some(least) = a.min_f1.filter(|least| c.agreement_f1 < *least) {
        gates.push(format!(
            "agreement F1 is {:.4}, --min-f1 asks for {least}",
            c.agreement_f1
        ));
    }
    if let Some(most) = a.max_drop {
        match &c.accuracy {
            Some(m) if m.drop > most => {
                gates.push(format!("mAP drops by {:.4}, --max-drop allows {most}", m.drop))
            }
            Some(_) => {}
            None => gates.push("--max-drop needs ground truth, and there is none".into()),
        }
    }
    outcome.fail(gates);
    Ok(outcome)
}
