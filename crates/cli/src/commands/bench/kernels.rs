//! `lowbit bench --kernels`

use lowbit::text::{self, table};

use crate::context::{Context, Outcome};

pub(super) fn run(context: &Context) -> lowbit::Result<Outcome> {
    let times = lowbit::bench::time_kernels(context.threads, &context.control)?;
    let p = context.provenance(None, None);
    let rows: Vec<Vec<String>> = times
        .iter()
        .map(|t| {
            vec![
                t.name.to_string(),
                format!("{:.1}", t.us),
                format!("{:.1}", t.scalar_us / t.us.max(1e-9)),
                format!("{:.1}", t.giga),
                t.peak_share.map_or("-".into(), |s| format!("{:.0}", 100.0 * s)),
                if t.exact { "yes" } else { "NO" }.into(),
                t.problem.clone(),
            ]
        })
        .collect();
    let header = ["kernel", "µs", "× scalar", "G/s", "of peak %", "exact", "problem"];
    let text = format!(
        "{}, {}\n{}G/s: multiply-accumulates, elements where nothing is multiplied\n",
        text::printable(&p.cpu),
        text::counted(p.threads, "thread"),
        table(&header, &rows)
    );
    let wrong: Vec<String> = times
        .iter()
        .filter(|t| !t.exact)
        .map(|t| t.name.to_string())
        .collect();
    let mut outcome = Outcome::new(text, &p, &serde_json::json!({ "kernels": times }));
    if !wrong.is_empty() {
        outcome.fail([format!("bytes differ from the scalar row: {}", wrong.join(", "))]);
    }
    Ok(outcome)
}
