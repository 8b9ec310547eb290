//! The same bytes whatever the threads, the instruction set, the locale, the time zone and the day: rows 26 and 28 of
//! `docs/robustness.md`.

mod common;

use std::path::Path;

use common::{Ran, detector, lowbit, pictures, yolo_data};
use serde_json::Value;

const ISAS: [&str; 5] = ["scalar", "avx2", "avxvnni", "avx512vnni", "amx"];

/// The instruction sets of the build that this CPU runs; the rest is said to be skipped, or asked for by `LOWBIT_REQUIRE`.
fn usable() -> Vec<&'static str> {
    let required = std::env::var("LOWBIT_REQUIRE").unwrap_or_default();
    let runs = |isa: &&str| {
        let ran = Ran::of(
            &lowbit()
                .args(["doctor", "--threads", "1"])
                .env("LOWBIT_ISA", isa)
                .output()
                .unwrap(),
        );
        if ran.code != Some(0) {
            println!("SKIPPED {isa}: this CPU lacks it");
            assert!(
                !required.split(',').any(|r| r == *isa),
                "LOWBIT_REQUIRE asks for {isa}"
            );
        }
        ran.code == Some(0)
    };
    ISAS.into_iter().filter(runs).collect()
}

/// Environments that must not matter.
fn surroundings() -> Vec<Around> {
    vec![
        vec![],
        vec![("LC_ALL", "C"), ("TZ", "UTC")],
        vec![
            ("LC_ALL", "de_DE.UTF-8"),
            ("LANG", "de_DE.UTF-8"),
            ("TZ", "Asia/Kathmandu"),
        ],
        vec![
            ("LC_ALL", "tr_TR.UTF-8"),
            ("LC_NUMERIC", "fr_FR.UTF-8"),
            ("TZ", "America/St_Johns"),
        ],
        vec![("LC_ALL", "ar_EG.UTF-8"), ("LANGUAGE", "ar"), ("COLUMNS", "20")],
        vec![
            ("LC_ALL", "ja_JP.SJIS"),
            ("TERM", "dumb"),
            ("NO_COLOR", "1"),
            ("RAYON_NUM_THREADS", "7"),
        ],
    ]
}

type Around = Vec<(&'static str, &'static str)>;

/// Threads, instruction set, environment.
type Setting = (String, &'static str, Around);

/// All combinations that are run: every thread count and every instruction set with a surrounding each, not the full product.
fn settings() -> Vec<Setting> {
    let (isas, around) = (usable(), surroundings());
    let mut out = vec![
        ("1".to_string(), "", Vec::new()),
        ("1".to_string(), "", Vec::new()),
    ];
    for (k, threads) in ["2", "3", "8", "64"].into_iter().enumerate() {
        out.push((threads.into(), "", around[(k + 1) % around.len()].clone()));
    }
    for (k, isa) in isas.iter().enumerate() {
        out.push((
            ["1", "3"][k % 2].into(),
            isa,
            around[(k + 2) % around.len()].clone(),
        ));
    }
    out
}

#[track_caller]
fn run_in(words: &str, paths: &[&Path], (threads, isa, around): &Setting) -> Ran {
    let mut command = lowbit();
    command
        .args(words.split_whitespace())
        .args(paths)
        .args(["--threads", threads])
        .envs(around.iter().copied());
    if !isa.is_empty() {
        command.env("LOWBIT_ISA", isa);
    }
    Ran::of(&command.output().unwrap()).code(0)
}

/// Without what is a time, or says how it was run.
fn lasting(mut json: Value) -> Value {
    let all = json.as_object_mut().unwrap();
    for key in ["speed", "threads", "isa", "files"] {
        all.remove(key);
    }
    json
}

#[test]
fn quantizing_gives_the_same_file() {
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let pictures = pictures(dir.path(), 2);
    let mut want: Vec<Option<Vec<u8>>> = vec![None; 2];
    for setting in settings() {
        for (k, grid) in ["lbw4", "int8"].into_iter().enumerate() {
            let out = dir.path().join("out.onnx");
            run_in(
                &format!("quantize --quiet --grid {grid} --calib"),
                &[&pictures, "-o".as_ref(), &out, &model],
                &setting,
            );
            let bytes = std::fs::read(&out).unwrap();
            let first = want[k].get_or_insert_with(|| bytes.clone());
            assert!(*first == bytes, "{grid}: {setting:?} gives another file");
        }
    }
}

#[test]
fn detecting_and_judging_gives_the_same_results() {
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let pictures = pictures(dir.path(), 2);
    let data = yolo_data(dir.path(), 2);
    let quantized = dir.path().join("q.onnx");
    common::run(
        "quantize --quiet --grid int8 --calib",
        &[&pictures, "-o".as_ref(), &quantized, &model],
    )
    .code(0);
    for model in [&model, &quantized] {
        let mut want = None;
        for (k, setting) in settings().into_iter().enumerate() {
            let out = dir.path().join(format!("out{k}"));
            let words = "detect --quiet --json --conf 0.001 --exist-ok -o";
            let detected = lasting(run_in(words, &[&out, model, &pictures], &setting).json());
            let judged = lasting(run_in("eval --quiet --json --data", &[&data, model], &setting).json());
            let compared =
                lasting(run_in("compare --quiet --json --data", &[&data, model, model], &setting).json());
            let mut files = Vec::new();
            for name in ["predictions.json", "predictions.csv", "p00.jpg", "p01.jpg"] {
                files.push(std::fs::read(out.join(name)).unwrap());
            }
            assert!(
                detected["pictures"][0]["detections"]
                    .as_array()
                    .is_some_and(|d| !d.is_empty())
            );
            let all = (detected, judged, compared, files);
            match &want {
                None => want = Some(all),
                Some(first) => {
                    assert_eq!(first.0, all.0, "detect {setting:?}");
                    assert_eq!(first.1, all.1, "eval {setting:?}");
                    assert_eq!(first.2, all.2, "compare {setting:?}");
                    assert!(first.3 == all.3, "files of detect {setting:?}");
                }
            }
        }
    }
}

#[test]
fn scenes_are_those_of_the_seed() {
    let dir = tempfile::tempdir().unwrap();
    let mut want = None;
    for (k, setting) in settings().into_iter().enumerate().take(7) {
        let out = dir.path().join(format!("out{k}"));
        run_in(
            "synth --quiet --count 2 --width 96 --height 64 --seed 5 -o",
            &[&out],
            &setting,
        );
        let mut files = Vec::new();
        for name in [
            "JPEGImages/s5_000000.jpg",
            "JPEGImages/s5_000001.jpg",
            "Annotations/s5_000001.xml",
            "annotations.json",
        ] {
            files.push(std::fs::read(out.join(name)).unwrap());
        }
        assert!(*want.get_or_insert_with(|| files.clone()) == files, "{setting:?}");
    }
}
