//! Whole shared models give the same bytes on every instruction set and for any number of threads: float layers, integer layers and what lies
//! between them.

use std::collections::BTreeSet;

use kernels::{Isa, Pool};
use lowbit::quantize::{Effort, ObserverKind, Rounding};
use lowbit::{Choice, LoadOptions, Model, QuantizeOptions, Tensor};

/// Instruction sets of this build's processor family; one that the processor lacks is skipped in words.
const SETS: [&str; 5] = ["scalar", "avx2", "avxvnni", "avx512vnni", "amx"];
const THREADS: std::ops::RangeInclusive<usize> = 1..=8;

/// The model with its weights on `grid`, ranges by the least and the most of two pictures.
fn quantized(model: &Model, pictures: &[std::path::PathBuf], grid: &str) -> Model {
    let options = QuantizeOptions {
        observer: Some(ObserverKind::MinMax),
        rounding: Some(Rounding::Nearest),
        effort: Effort::Fast,
        ..QuantizeOptions::new(Choice::Grid(grid.parse().unwrap()), pictures.to_vec())
    };
    lowbit::quantize(model, &options, &mut |_: &str, _, _| {})
        .unwrap_or_else(|e| panic!("{grid}: {e}"))
        .model
}

fn bits(outputs: &[(String, Tensor)]) -> Vec<u32> {
    let values = outputs.iter().flat_map(|(_, t)| t.as_f32().unwrap());
    values.map(|v| v.to_bits()).collect()
}

fn noise(shape: &[usize]) -> Tensor {
    let mut rng = testing::SplitMix64(11);
    let values = (0..shape.iter().product())
        .map(|_| rng.unit_f32())
        .collect::<Vec<f32>>();
    Tensor::new(shape.to_vec(), values).unwrap()
}

/// Runs the plan of each instruction set with 1 to 8 threads; all give the scalar plan's bytes.
fn check(name: &str, model: &Model) {
    let graph = model.graph();
    let (input, _, shape) = model.inputs().unwrap().remove(0);
    let x = noise(&shape);
    let mut want = None;
    for set in SETS {
        let isa = Isa::parse(set).unwrap();
        if !isa.is_available() {
            testing::skip("same_everywhere", set, "this processor does not have it");
            continue;
        }
        let options = engine::Options {
            isa,
            ..engine::Options::default()
        };
        let plan = engine::compile(graph, &options).unwrap_or_else(|e| panic!("{name}, {set}: {e}"));
        for threads in THREADS {
            let outputs = plan.run(&Pool::new(threads), &[(&input, &x)]).unwrap();
            let got = bits(&outputs);
            let want = want.get_or_insert_with(|| got.clone());
            assert!(got == *want, "{name}, {set}, {threads} threads");
            if isa == Isa::Scalar {
                break; // the slow one: its threads are those of the others
            }
        }
    }
    let values: BTreeSet<u32> = want.unwrap_or_default().into_iter().collect();
    assert!(values.len() > 5, "{name}: outputs that say nothing");
}

fn model_at(name: &str, grids: &[&str]) {
    let Some(data) = testing::data("same_everywhere") else {
        return;
    };
    let path = data.join("models").join(format!("{name}.onnx"));
    let model = Model::load(&path, &LoadOptions::default()).unwrap();
    check(name, &model);
    let pictures = lowbit::pictures::find(&data.join("pictures/voc"), Some("train")).unwrap();
    let pictures = lowbit::pictures::spread(&pictures, 2);
    for grid in grids {
        check(&format!("{name} at {grid}"), &quantized(&model, &pictures, grid));
    }
}

macro_rules! models {
    ($($name:ident: $($grid:literal),+;)+) => {
        $(#[test]
        fn $name() {
            model_at(stringify!($name), &[$($grid),+]);
        })+

        #[test]
        fn no_shared_model_is_missing() {
            let Some(models) = testing::models("same_everywhere") else {
                return;
            };
            let listed = BTreeSet::from([$(stringify!($name).to_string()),+]);
            let found = models.iter().map(|p| p.file_stem().unwrap().to_str().unwrap().to_string());
            assert_eq!(found.collect::<BTreeSet<_>>(), listed);
        }
    };
}

// Each at int8 and at a grid of another kind: planes, levels of more than a byte, nibbles, two bits.
models! {
    cifar_resnet20: "int8", "ternary";
    fastestdet_352: "int8", "lbw5";
    mbv2_yolo_fastest_v2_voc: "int8", "pow2-4x2";
    mbv2_yolov3_nano_voc: "int8", "lbw6";
    nanodet_m_416: "int8", "lbw4";
    ultraface_rfb_320: "int8", "lbw2";
    yolo_fastest_1_1_coco: "int8", "int4";
    yolo_fastest_voc: "int8", "apot4";
    yolo_fastest_xl_voc: "int8", "affine4";
    yolov5n_640_f16: "int8";
    yolov8n_320: "int8", "pow2-4";
    yolox_nano_416: "int8", "lbw3";
}
