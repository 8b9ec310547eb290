//! `train` by several ranks, as threads: one run, one folder, the numbers of one process.

use std::path::Path;

use lowbit::training::{Ranks, TrainEvent, TrainOptions};
use lowbit::{Control, Error, Trained};
use train::exchange::threads;

const SHORT: [&str; 11] = [
    "steps=6",
    "batch=4",
    "threads=1",
    "data.count=16",
    "eval.count=4",
    "activation.calibration=2",
    "batch_norm.reestimate=2",
    "schedule.warmup=0",
    "zoo.size=64",
    "zoo.width=4",
    "log.every=1",
];

fn options(folder: &Path, ranks: Ranks, more: &[&str]) -> TrainOptions {
    let recipe = testing::root().join("recipes/smoke-synth.toml");
    let settings = SHORT.iter().chain(more).map(|s| s.to_string());
    TrainOptions {
        recipe: std::fs::read_to_string(recipe).unwrap(),
        file: None,
        name: "ranks".into(),
        settings: settings.chain([format!("output={}", folder.display())]).collect(),
        resume: false,
        control: Control::default(),
        ranks,
    }
}

/// All ranks, in their order; `change` sees the options of each.
fn together(
    size: usize,
    folder: &Path,
    more: &[&str],
    change: impl Fn(&mut TrainOptions) + Sync,
) -> Vec<Result<Trained, Error>> {
    let change = &change;
    std::thread::scope(|s| {
        let start = |ranks: Ranks| {
            s.spawn(move || {
                let mut options = options(folder, ranks.clone(), more);
                change(&mut options);
                let control = options.control.clone();
                lowbit::train(&options, &mut |event| {
                    assert!(ranks.is_first(), "one rank tells what happens");
                    let at_three = matches!(event, TrainEvent::Line(line) if line.step == 3);
                    if options.name == "stopped" && at_three {
                        control.cancel();
                    }
                })
            })
        };
        let all: Vec<_> = threads::ranks(size).into_iter().map(start).collect();
        all.into_iter().map(|t| t.join().unwrap()).collect()
    })
}

/// Loss of each line of results.csv.
fn losses(folder: &Path) -> Vec<f64> {
    let text = std::fs::read_to_string(folder.join("results.csv")).unwrap();
    let number = |t: &str| t.parse::<f64>().unwrap_or(0.0);
    let rows = text.lines().skip(1).filter(|l| !l.starts_with("model"));
    rows.map(|l| l.split(',').skip(3).take(3).map(number).sum())
        .collect()
}

/// Two ranks with a batch of four have the losses of one with a batch of four; the first step's to rounding, later ones to what codes that tip over
/// move. The finished model is of the same kind, and only one rank has written.
#[test]
fn two_ranks_do_the_run_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let alone = lowbit::train(&options(&one, Ranks::default(), &[]), &mut |_| {}).unwrap();
    let made = together(2, &two, &[], |_| {});
    let made: Vec<Trained> = made.into_iter().map(Result::unwrap).collect();
    assert_eq!(made[0].model_bytes, alone.model_bytes);
    assert!(made[0].score.is_some() && made[1].score.is_none());
    let (want, have) = (losses(&one), losses(&two));
    println!("{have:?} for {want:?}");
    assert_eq!((want.len(), have.len()), (6, 6));
    assert!((want[0] - have[0]).abs() < 1e-5 * want[0]);
    for (want, have) in want.iter().zip(&have) {
        assert!((want - have).abs() < 2e-2 * want, "{want} {have}");
    }
    // In float nothing tips.
    let float = ["method.name=float"];
    let (one, two) = (folder.path().join("one-float"), folder.path().join("two-float"));
    lowbit::train(&options(&one, Ranks::default(), &float), &mut |_| {}).unwrap();
    together(2, &two, &float, |_| {})
        .into_iter()
        .for_each(|r| drop(r.unwrap()));
    for (want, have) in losses(&one).iter().zip(losses(&two)) {
        assert!((want - have).abs() < 1e-4 * want, "{want} {have}");
    }
}

/// One rank is told to stop, all do after the same step; the run goes on to the bytes of an unbroken one.
#[test]
fn ranks_stop_and_go_on_together() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    together(2, &whole, &[], |_| {})
        .into_iter()
        .for_each(|r| drop(r.unwrap()));
    let stopped = together(2, &broken, &[], |o| o.name = "stopped".into());
    for result in stopped {
        let error = result.unwrap_err().to_string();
        assert!(error.contains("step 3 of 6"), "{error}");
    }
    together(2, &broken, &[], |o| o.resume = true)
        .into_iter()
        .for_each(|r| drop(r.unwrap()));
    let bytes = |folder: &Path, name: &str| std::fs::read(folder.join(name)).unwrap();
    for name in ["model.onnx", "results.csv"] {
        assert!(bytes(&whole, name) == bytes(&broken, name), "{name}");
    }
}

#[test]
fn batches_without_equal_shares_and_other_recipes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for result in together(3, &folder.path().join("a"), &[], |_| {}) {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), lowbit::ErrorKind::Usage);
        assert!(error.to_string().contains("--set batch=6"), "{error}");
    }
    let other = |o: &mut TrainOptions| {
        if o.ranks.rank() == 1 {
            o.settings.push("seed=9".into());
        }
    };
    let results = together(2, &folder.path().join("b"), &[], other);
    let error = results[1].as_ref().unwrap_err().to_string();
    assert!(
        error.contains("seed = 9") && error.contains("seed = 1"),
        "{error}"
    );
    assert!(results[0].is_err(), "the first rank does not wait for ever");
}
