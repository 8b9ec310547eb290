//! What `quantize --list` prints.

use lowbit::Grid;
use lowbit::text::table;
use serde::Serialize;

use crate::context::{Context, Outcome};

pub(super) fn list(context: &Context) -> Outcome {
    #[derive(Serialize)]
    struct Row {
        grid: String,
        bits: u32,
        levels: Vec<i32>,
    }
    let rows: Vec<Row> = Grid::all()
        .iter()
        .map(|g| Row {
            grid: g.to_string(),
            bits: g.bits(),
            levels: g.magnitudes(),
        })
        .collect();
    let line = |r: &Row| {
        let levels: Vec<String> = r.levels.iter().take(16).map(i32::to_string).collect();
        let more = if r.levels.len() > 16 { " …" } else { "" };
        vec![
            r.grid.clone(),
            r.bits.to_string(),
            format!("{}{more}", levels.join(" ")),
        ]
    };
    let lines: Vec<Vec<String>> = rows.iter().map(line).collect();
    let mut text = table(&["grid", "bits", "positive levels"], &lines);
    text.push_str("\nbits/weight = bits + 32 / weights per scale; --dry-run prints it for a model.\nNAMEx2 … NAMEx4: several points a weight, of symmetric grids with 0, 12 bits in all.\n");
    #[derive(Serialize)]
    struct All {
        grids: Vec<Row>,
    }
    Outcome::new(text, &context.provenance(None, None), &All { grids: rows })
}
