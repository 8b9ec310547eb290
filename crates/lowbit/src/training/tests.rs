//! Every recipe of the repository, cut short: what the trainer evaluates, the packed file, the engine and the program of FORMAT.md give the same bytes.

use std::path::Path;

use train::program::Rounding;

use super::log::Rows;
use super::run::Run;
use super::source::float_model;
use super::{Agreement, MODEL, REPORT, Recipe, read_recipe};
use crate::output::Folder;
use crate::runtime::{RunOptions, Runner};
use crate::{Control, LoadOptions, Model, VerifyOptions, verify};

const SHORT: [&str; 13] = [
    "steps=3",
    "batch=2",
    "threads=1",
    "data.count=8",
    "eval.count=4",
    "eval.every=0",
    "activation.calibration=2",
    "batch_norm.reestimate=0",
    "schedule.warmup=0",
    "zoo.size=64",
    "zoo.height=48",
    "zoo.width=4",
    "log.every=1",
];

/// The recipe cut short, its data found below `data`, those of the papers' scale drawn; `None` where they are not at hand.
fn shortened(path: &Path, data: Option<&Path>, scratch: &Path) -> Option<Recipe> {
    let text = read_recipe(path).unwrap();
    let whole = Recipe::parse(&text, &[]).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut settings = SHORT.map(String::from).to_vec();
    let mut set = |key: &str, value: &str| settings.push(format!("{key}={value}"));
    let mut model = whole.text("model").to_string();
    // What another recipe makes: here what that one starts from.
    if let Some(other) = model.strip_prefix("runs/").and_then(|m| m.split('/').next()) {
        let other = read_recipe(&path.with_file_name(format!("{other}.toml"))).unwrap();
        model = Recipe::parse(&other, &[]).unwrap().text("model").to_string();
        set("model", &model);
    }
    if whole.text("data.kind").ends_with("volumes") {
        for (key, value) in [
            ("zoo.depth", "8"),
            ("zoo.height", "12"),
            ("zoo.size", "16"),
            ("data.patch", "[8.0, 12.0, 8.0]"),
        ] {
            set(key, value);
        }
    }
    if model.starts_with("zoo:resnet") {
        set("zoo.height", "64");
    }
    let name = path.file_stem().unwrap().to_str().unwrap();
    if name.starts_with("imagenet") {
        let folder = class_folders(&scratch.join("classes"));
        for section in ["data", "eval"] {
            set(&format!("{section}.path"), folder.to_str().unwrap());
            set(&format!("{section}.split"), "");
        }
    } else if name.starts_with("voc0712") {
        set("data.kind", "synth");
        set("eval.kind", "synth");
        set("data.more", "[]");
    } else {
        let mut place = |key: &str, below: &str, name: &str| -> Option<()> {
            if name.is_empty() || name.starts_with("zoo:") {
                return Some(());
            }
            let place = data?.join(below).join(name);
            set(key, &place.display().to_string());
            place.exists().then_some(())
        };
        place("model", "models", &model)?;
        place("data.path", "", whole.text("data.path"))?;
        place("eval.path", "", whole.text("eval.path"))?;
    }
    // Error feedback of layers with 2304 inputs takes a minute; the other recipes have that start.
    if model.contains("yolov8n") {
        set("method.start", "float");
    }
    Some(Recipe::parse(&text, &settings).unwrap())
}

/// Two classes of four pictures.
fn class_folders(folder: &Path) -> std::path::PathBuf {
    for (class, level) in [("dark", 40u8), ("light", 200)] {
        let folder = folder.join(class);
        std::fs::create_dir_all(&folder).unwrap();
        for i in 0..4u8 {
            let picture = image::RgbImage::from_pixel(40, 30, image::Rgb([level + i, level, level - i]));
            picture.save(folder.join(format!("{i}.png"))).unwrap();
        }
    }
    folder.to_owned()
}

#[test]
fn every_recipe_ends_in_a_file_that_gives_the_trainers_bytes() {
    const NAME: &str = "every_recipe_ends_in_a_file_that_gives_the_trainers_bytes";
    let data = testing::data(NAME);
    let scratch = testing::scratch("recipes");
    let (mut ran, mut skipped) = (Vec::new(), 0);
    for entry in std::fs::read_dir(testing::root().join("recipes")).unwrap() {
        let path = entry.unwrap().path();
        let Some(recipe) = shortened(&path, data.as_deref(), &scratch) else {
            println!("SKIPPED {}: its model or data are not here", path.display());
            skipped += 1;
            continue;
        };
        let control = Control::default();
        // They stay after the test: their reports can be looked at.
        let folder = Folder::create(&scratch.join(path.file_stem().unwrap()), false).unwrap();
        let mut rows = Rows::default();
        let source = float_model(&recipe, &control).unwrap();
        let judged = !recipe.text("eval.kind").is_empty();
        let mut run = Run::new("short".into(), recipe, source, &super::Ranks::default()).unwrap();
        run.steps(&folder, &mut rows, &control, &mut |_| {}).unwrap();
        // What is scored during training, before it is a file.
        let evaluated = run.model(&[]).unwrap();
        let score = run.judge(&evaluated, &control).unwrap();
        let made = run
            .finish(&folder, &mut rows, &control, std::time::Instant::now())
            .unwrap();
        let file = Model::load(&folder.path().join(MODEL), &LoadOptions::default()).unwrap();
        let check = |model: &Model| {
            let found = verify(model, &VerifyOptions::default(), &mut |_: &str, _, _| {}).unwrap();
            assert_eq!(found.difference, None, "{}", path.display());
            found.outputs_sha256
        };
        assert_eq!(evaluated.is_quantized(), file.is_quantized());
        assert_eq!(
            made.agreement.is_some(),
            judged && file.is_quantized(),
            "{}",
            path.display()
        );
        // Detections, masks and maps are shown, classes of pictures are not.
        let shown = file.detector_head().is_ok() || file.segment_head().is_ok() || file.has_scene_head();
        let page = std::fs::read_to_string(folder.path().join(REPORT)).unwrap();
        assert_eq!(
            page.contains("Examples</h2>"),
            judged && shown,
            "{}",
            path.display()
        );
        if file.is_quantized() {
            assert_eq!(check(&evaluated), check(&file), "{}", path.display());
            assert_eq!(made.score, score.map(|s| s.value), "{}", path.display());
        }
        ran.push(path);
    }
    assert!(!ran.is_empty() && (data.is_none() || skipped == 0));
}

/// A detector that finds something: the engine and the training forward, whose outputs differ by rounding, have nearly all boxes in common.
#[test]
fn a_detector_counts_the_boxes_that_differ() {
    let text = read_recipe(&testing::root().join("recipes/smoke-synth.toml")).unwrap();
    let model = testing::root().join("crates/lowbit/models/float.onnx");
    let settings = [
        &format!("model={}", model.display()),
        "steps=1",
        "batch=2",
        "data.count=8",
        "eval.count=40",
        "method.start=float",
        "method.grid=int8",
        "activation.calibration=8",
        "optimizer.rate=1e-6",
        "batch_norm.reestimate=0",
        "batch_norm.mode=frozen",
    ]
    .map(String::from);
    let recipe = Recipe::parse(&text, &settings).unwrap();
    let control = Control::default();
    let folder = Folder::create(&testing::scratch("boxes").join("run"), true).unwrap();
    let mut rows = Rows::default();
    let source = float_model(&recipe, &control).unwrap();
    let mut run = Run::new("short".into(), recipe, source, &super::Ranks::default()).unwrap();
    run.steps(&folder, &mut rows, &control, &mut |_| {}).unwrap();
    let made = run
        .finish(&folder, &mut rows, &control, std::time::Instant::now())
        .unwrap();
    let found = made.agreement.unwrap();
    assert_eq!(found.what, "boxes");
    assert!(
        found.compared >= 8 && 4 * found.differing <= found.compared,
        "{found:?}"
    );

    // Outputs beside themselves, and beside those of another picture.
    let packed = Model::load(&folder.path().join(MODEL), &LoadOptions::default()).unwrap();
    let head = packed.detector_head().unwrap();
    let runner = Runner::new(&packed, &RunOptions::default()).unwrap();
    let answers: Vec<_> = (0..30)
        .map(|i| {
            let (picture, _) = data::synth::scene(7, i, &data::synth::Options::default());
            let (input, placement) = data::prepare(&picture, &head.input).unwrap();
            (runner.run(&[(&head.input.name, &input)]).unwrap(), placement)
        })
        .collect();
    let count = |other: usize| {
        let mut all = Agreement::of("boxes");
        for pair in answers.windows(2) {
            all.add_boxes(head, [&pair[0].0, &pair[other].0], &pair[0].1)
                .unwrap();
        }
        (all.differing, all.compared)
    };
    let ((same, boxes), (differing, _)) = (count(0), count(1));
    assert!(
        same == 0 && boxes > 0 && differing > 0,
        "{same} and {differing} of {boxes}"
    );
}

/// Name and value of every part of the loss of one update of a recipe on drawn data.
fn parts(recipe: &str, settings: &[&str]) -> Vec<(String, f64)> {
    let text = read_recipe(&testing::root().join("recipes").join(recipe)).unwrap();
    let short = ["steps=1", "batch=2", "data.count=8", "eval.kind=", "log.every=1"];
    let settings: Vec<String> = short.iter().chain(settings).map(|s| s.to_string()).collect();
    let recipe = Recipe::parse(&text, &settings).unwrap();
    let control = Control::default();
    let folder = Folder::create(&testing::scratch("label_gain").join("run"), true).unwrap();
    let mut rows = Rows::default();
    let source = float_model(&recipe, &control).unwrap();
    let mut run = Run::new("short".into(), recipe, source, &super::Ranks::default()).unwrap();
    run.steps(&folder, &mut rows, &control, &mut |_| {}).unwrap();
    let mut lines = rows.text.lines().map(|l| l.split(','));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    (names.zip(values).skip(3))
        .filter_map(|(name, value)| Some((name.to_string(), value.parse().ok()?)))
        .collect()
}

#[test]
fn labels_can_have_a_share_beside_the_teacher() {
    let sum = |parts: &[(String, f64)]| parts.iter().map(|p| p.1).sum::<f64>();
    // A detector, and a scene's classes.
    for recipe in ["smoke-synth.toml", "demo-cnn.toml"] {
        let labels = sum(&parts(recipe, &["loss.kind=labels"]));
        let alone = parts(recipe, &["loss.kind=distill", "loss.measure=divergence"]);
        assert!(
            alone.iter().all(|(name, _)| name != "labels"),
            "{recipe}: {alone:?}"
        );
        let both = parts(
            recipe,
            &[
                "loss.kind=distill",
                "loss.measure=divergence",
                "loss.label_gain=0.25",
            ],
        );
        let share = both.iter().find(|(name, _)| name == "labels").unwrap().1;
        assert!(
            (share - 0.25 * labels).abs() < 1e-4 * labels,
            "{recipe}: {share} {labels}"
        );
        assert!(
            (sum(&both) - sum(&alone) - share).abs() < 1e-4 * labels,
            "{recipe}"
        );
    }
}

/// A run of the smallest recipe by BCGD with 4-bit activations.
fn by_bcgd(name: &str, more: &[&str]) -> (Run, Folder) {
    let text = read_recipe(&testing::root().join("recipes/smoke-synth.toml")).unwrap();
    let fixed = [
        "steps=1",
        "batch=2",
        "data.count=8",
        "eval.kind=",
        "method.name=bcgd",
        "method.grid=int4",
        "method.start=float",
        "activation.bits=4",
        "activation.rule=bcgd-3",
    ];
    let settings: Vec<String> = fixed.iter().chain(more).map(|s| s.to_string()).collect();
    let recipe = Recipe::parse(&text, &settings).unwrap();
    let source = float_model(&recipe, &Control::default()).unwrap();
    let run = Run::new("short".into(), recipe, source, &super::Ranks::default()).unwrap();
    let folder = Folder::create(&testing::scratch("bcgd").join(name), true).unwrap();
    (run, folder)
}

/// `methods/bcgd.md` §5: a range for rounding to nearest is not the best for rounding up.
#[test]
fn steps_of_bcgd_begin_where_their_rounding_errs_least() {
    let steps = |rounding: &str| {
        by_bcgd(rounding, &[&format!("activation.rounding={rounding}")])
            .0
            .activations
    };
    let (up, nearest) = (steps("ceil"), steps("rne"));
    assert_eq!(up.len(), nearest.len());
    let mut rounded_up = 0;
    for (up, nearest) in up.iter().zip(&nearest) {
        let want = match up.rounding {
            Rounding::Up => 0.1666 / 0.1932,
            Rounding::Nearest => 1.0,
        };
        rounded_up += usize::from(up.rounding == Rounding::Up);
        assert!((up.step / nearest.step - want).abs() < 1e-6, "{}", up.edge);
    }
    assert!(rounded_up > 0);
}

/// `methods/bcgd.md` §3: α has the same weight decay as the weights.
#[test]
fn steps_of_bcgd_decay() {
    let after = |decay: &str| {
        let decay = format!("optimizer.decay={decay}");
        let alone = [
            &decay,
            "activation.factor=0",
            "optimizer.name=sgd",
            "optimizer.momentum=0",
            "optimizer.rate=0.1",
            "optimizer.relative=false",
            "schedule.shape=constant",
            "schedule.warmup=0",
            "ema.decay=0",
        ];
        let (mut run, folder) = by_bcgd(&decay, &alone);
        run.steps(&folder, &mut Rows::default(), &Control::default(), &mut |_| {})
            .unwrap();
        run.model(&[]).unwrap().graph().edges.clone()
    };
    let (kept, fallen) = (after("0"), after("0.5"));
    let ratios: Vec<f32> = kept.iter().map(|(v, q)| fallen[v].scale / q.scale).collect();
    assert!(ratios.iter().any(|r| (r - 0.95).abs() < 1e-5), "{ratios:?}");
}
