//! `lowbit inspect`

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use lowbit::array::{self, Array};
use lowbit::inspect::InspectedLayer;
use lowbit::text::{self, printable, shortened, table};

use crate::context::{Common, Context, ModelFlags, Outcome};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// ONNX model, float or quantized
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    #[command(flatten)]
    flags: ModelFlags,
    /// Every node, not only convolutions, matrix products and what stays float
    #[arg(long)]
    all: bool,
    /// Print only a head description to complete, for --head
    #[arg(long)]
    template: bool,
    /// Also cycles, utilisation and energy on an array of processing elements of ROWSxCOLUMNS output × input channels, such as 16x4
    #[arg(long, value_name = "ROWSxCOLUMNS")]
    pe: Option<Array>,
    #[command(flatten)]
    pub(crate) common: Common,
}

pub(crate) fn run(a: &Arguments, context: &Context) -> lowbit::Result<Outcome> {
    let model = a.flags.load(&a.model, context)?;
    if a.template {
        return Ok(Outcome {
            text: lowbit::text::tame_json(&format!("{}\n", model.guess().template)).into_owned(),
            ..Outcome::default()
        });
    }
    let mut i = lowbit::inspect(&model)?;
    i.array = a.pe.map(|pe| array::on_array(&model, pe)).transpose()?;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{}: {}, opset {}, {}, {}",
        printable(&i.name),
        text::bytes(i.file_bytes),
        i.opset,
        text::counted(i.layers.len(), "node"),
        if i.quantized { "quantized" } else { "float" }
    );
    for (word, ports) in [("input", &i.inputs), ("output", &i.outputs)] {
        for p in ports {
            let _ = writeln!(
                out,
                "{word:8} {} {} {}",
                printable(&p.name),
                p.dtype,
                dims(&p.shape)
            );
        }
    }
    let operators: Vec<String> = i.operators.iter().map(|(op, n)| format!("{op} {n}")).collect();
    let _ = writeln!(out, "ops      {}", operators.join(", "));
    let _ = writeln!(
        out,
        "cost     {} MACs, {} parameters, {:.2} bits/weight, {} weights and {} activations in memory",
        text::count(i.macs),
        text::count(i.parameters as u64),
        i.bits_per_weight,
        text::bytes(i.memory_weights),
        text::bytes(i.memory_activations)
    );
    if i.quantized {
        let c = &i.compression;
        let _ = writeln!(
            out,
            "size     {} for weights, groups, scales and biases: {:.2}x smaller than f32{}",
            text::bytes(c.bytes),
            c.all,
            c.pruned_layers.map_or(String::new(), |x| format!(
                "; pruned weights and their groups alone, as papers count: {x:.2}x"
            ))
        );
    }
    let (low, high) = i.energy.total_uj();
    let _ = writeln!(
        out,
        "energy   {low:.0} to {high:.0} µJ per picture: arithmetic {:.0}, weights {:.0} to {:.0}, activations {:.0}",
        i.energy.arithmetic_uj, i.energy.weights_uj.0, i.energy.weights_uj.1, i.energy.activations_uj
    );
    let _ = writeln!(out, "         (a model, not a measurement: {})", i.energy.source);
    let _ = writeln!(out, "head     {}", printable(&i.head_source.to_string()));
    match &i.head {
        Some(head) => {
            let size = &head.input;
            let _ = writeln!(
                out,
                "         {}, input {}x{}, reads {}",
                text::counted(head.classes.len(), "class"),
                size.width,
                size.height,
                printable(&head.outputs().join(", "))
            );
        }
        None => {
            let _ = writeln!(out, "{}", i.shapes.trim_end());
            let _ = writeln!(
                out,
                "         complete what `lowbit inspect --template` prints, and give it with --head"
            );
        }
    }
    let word = if i.quantized {
        "run"
    } else {
        "would run, once quantized,"
    };
    let _ = writeln!(
        out,
        "\n{:.1} % of the MACs {word} in integers",
        100.0 * i.integer_mac_share
    );
    let rows: Vec<Vec<String>> = i
        .layers
        .iter()
        .filter(|l| a.all || l.product)
        .map(|l| {
            vec![
                shortened(&l.name, 44),
                l.op.clone(),
                dims(&l.shape),
                text::count(l.macs),
                text::count(l.parameters as u64),
                text::bytes(l.stored_bytes),
                grid(l),
                if l.integer { "integer" } else { "float" }.into(),
            ]
        })
        .collect();
    let header = [
        "node", "op", "output", "MACs", "numbers", "bytes", "grid", "runs in",
    ];
    out.push_str(&table(&header, &rows));
    let floats: Vec<Vec<String>> = i
        .layers
        .iter()
        .filter_map(|l| {
            Some(vec![
                shortened(&l.name, 44),
                l.op.clone(),
                printable(l.reason.as_ref()?).into_owned(),
            ])
        })
        .collect();
    if !floats.is_empty() {
        let _ = write!(
            out,
            "\nin float, and why\n{}",
            table(&["node", "op", "reason"], &floats)
        );
    }
    if let Some(report) = &i.array {
        out.push_str(&on_array(report));
    }
    let p = context.provenance(Some(model.sha256()), None);
    Ok(Outcome::new(out, &p, &i))
}

/// A layer's grid, and what is pruned of it.
fn grid(l: &InspectedLayer) -> String {
    let grid = l.grid.clone().unwrap_or_else(|| "-".into());
    match &l.pruned {
        Some(p) => {
            let [outputs, inputs, taps] = p.group;
            format!(
                "{grid}, {:.0} % of {outputs}x{inputs}x{taps} pruned",
                100.0 * p.share
            )
        }
        None => grid,
    }
}

/// Layers on the array, and their sum.
fn on_array(r: &array::Report) -> String {
    let row = |l: &array::Row| {
        vec![
            shortened(&l.name, 44),
            text::count(l.dense_cycles),
            text::count(l.cycles),
            format!("{:.2}", l.dense_cycles as f64 / l.cycles.max(1) as f64),
            format!("{:.1}", 100.0 * l.dense_utilisation),
            format!("{:.1}", 100.0 * l.utilisation),
            format!("{:.2}", l.dense_energy_uj),
            format!("{:.2}", l.energy_uj),
        ]
    };
    let mut rows: Vec<Vec<String>> = r.layers.iter().map(row).collect();
    rows.push(row(&r.total));
    let header = [
        "node",
        "cycles, all tiles",
        "tiles skipped",
        "times",
        "busy %",
        "then",
        "µJ",
        "then",
    ];
    format!(
        "\narray of {} output x {} input channels, a tap of a pixel a cycle, tiles of zeros skipped (a model, not a measurement)\n{}",
        r.array.outputs,
        r.array.inputs,
        table(&header, &rows)
    )
}

fn dims(shape: &[Option<usize>]) -> String {
    let each = |d: &Option<usize>| d.map_or("?".to_string(), |d| d.to_string());
    shape.iter().map(each).collect::<Vec<_>>().join("x")
}
