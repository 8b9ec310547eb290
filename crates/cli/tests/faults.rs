//! Files appear whole or not at all: every boundary of writing fails once, and the process is killed once at each.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{Ran, detector, left_over, lowbit, pictures, run, small_model, training};

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// All files of a folder and below it, by path, without temporary ones.
fn files(folder: &Path) -> Files {
    let (mut out, mut folders) = (Files::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if !entry.file_name().to_string_lossy().starts_with(".lowbit-") {
                out.insert(entry.path(), std::fs::read(entry.path()).unwrap());
            }
        }
    }
    out
}

fn put(folder: &Path, all: &Files) {
    if folder.exists() {
        std::fs::remove_dir_all(folder).unwrap();
    }
    std::fs::create_dir_all(folder).unwrap();
    for (path, bytes) in all {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// Runs a command whose outputs are all the files of `folder`, with the k-th boundary failing or killing, for every k, until it
/// gets through. Each file must be the old one or the new one at any time; absent is old where there was none.
fn at_every_boundary(words: &str, paths: &[&Path], folder: &Path, replace: bool) {
    if !cfg!(debug_assertions) {
        println!("SKIPPED: faults are planted in debug builds only");
        return;
    }
    put(folder, &Files::new());
    run(words, paths).code(0);
    let new = files(folder);
    assert!(!new.is_empty());
    let mut old = Files::new();
    if replace {
        old.extend(new.keys().map(|p| (p.clone(), b"what was there before".to_vec())));
    }
    let mut boundaries = 100;
    for what in ["kill", "fail"] {
        for k in 1..boundaries {
            put(folder, &old);
            let out = lowbit()
                .args(words.split_whitespace())
                .args(paths)
                .env("LOWBIT_TEST_FAULT", format!("{what}:{k}"))
                .output()
                .unwrap();
            let ran = Ran::of(&out);
            let now = files(folder);
            for path in old.keys().chain(now.keys()) {
                let file = now.get(path);
                let whole = file == old.get(path) || file == new.get(path);
                assert!(whole, "{what}:{k} left {} neither old nor new", path.display());
            }
            match (ran.code, what) {
                (Some(0), _) => {
                    assert_eq!(now, new, "{what}:{k}");
                    if what == "kill" {
                        boundaries = k;
                        break;
                    }
                    // Behind a rename a fault can only be a kill.
                }
                (Some(5), "fail") => {
                    assert_ne!(now, new, "{what}:{k}");
                    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
                    let named = new.keys().any(|p| {
                        let name = p.file_name().unwrap().to_string_lossy().into_owned();
                        ran.stderr.contains(&name) && ran.stderr.contains("bytes")
                    });
                    // The folder itself is what cannot be made.
                    let made = ran.stderr.contains(&*folder.to_string_lossy());
                    assert!(named || made, "{what}:{k}: {}", ran.stderr);
                    assert!(left_over(folder).is_empty(), "{what}:{k}");
                }
                (None, "kill") => {}
                other => panic!("{what}:{k}: {other:?}\n{}", ran.stderr),
            }
        }
        assert!(boundaries < 100, "the command never gets through");
        // What killed processes left goes with the next write.
        run(words, paths).code(0);
        assert!(left_over(folder).is_empty(), "after {what}");
    }
}

#[test]
fn export_leaves_the_old_file_or_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("out");
    let model = small_model("torchscript_conv_bn_silu");
    let output = folder.join("out.onnx");
    for (form, replace) in [
        ("float", true),
        ("float", false),
        ("qdq", false),
        ("packed", false),
    ] {
        let words = format!("export --quiet --as {form} -o");
        at_every_boundary(&words, &[&output, &model], &folder, replace);
    }
}

#[test]
fn quantize_leaves_the_old_files_or_the_new_ones() {
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let pictures = pictures(dir.path(), 1);
    let folder = dir.path().join("out");
    let (output, report) = (folder.join("out.onnx"), folder.join("report.json"));
    let words = "quantize --quiet --threads 1 --grid int4 --calib";
    let paths: [&Path; 6] = [
        &pictures,
        Path::new("--report"),
        &report,
        Path::new("-o"),
        &output,
        &model,
    ];
    at_every_boundary(words, &paths, &folder, true);
}

#[test]
fn eval_leaves_the_old_file_or_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let data = common::yolo_data(dir.path(), 1);
    let folder = dir.path().join("out");
    let output = folder.join("results.json");
    let words = "eval --quiet --threads 1 --resamples 0 --data";
    at_every_boundary(
        words,
        &[&data, Path::new("--save-json"), &output, &model],
        &folder,
        true,
    );
}

#[test]
fn detect_leaves_old_files_or_new_ones() {
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let pictures = pictures(dir.path(), 1);
    let folder = dir.path().join("out");
    let words = "detect --quiet --threads 1 --exist-ok -o";
    at_every_boundary(words, &[&folder, &model, &pictures], &folder, true);
}

#[test]
fn synth_leaves_old_files_or_new_ones() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("out");
    let words = "synth --quiet --count 1 --width 32 --height 32 --exist-ok -o";
    at_every_boundary(words, &[&folder], &folder, true);
    // A folder that is not there yet.
    let new = dir.path().join("new/scenes");
    let out = lowbit()
        .args(["synth", "--quiet", "--count", "1", "-o"])
        .arg(&new)
        .env("LOWBIT_TEST_FAULT", "fail:1")
        .output();
    if cfg!(debug_assertions) {
        let ran = Ran::of(&out.unwrap()).code(5);
        assert!(ran.stderr.contains("scenes") && !new.exists(), "{}", ran.stderr);
    }
}

/// Killed at every boundary, or failing there, also between the two renames that keep the checkpoint before: what goes on does so from a
/// checkpoint wherever one was written, and ends with the bytes of the unbroken run.
#[test]
fn train_goes_on_from_a_whole_checkpoint_wherever_it_was_stopped() {
    if !cfg!(debug_assertions) {
        println!("SKIPPED: faults are planted in debug builds only");
        return;
    }
    let settings: Vec<&str> =
        "--set steps=2 --set checkpoint.every=1 --set log.every=1 --set batch=1 --set zoo.size=32 \
        --set data.count=2 --set eval.count=1 --set activation.calibration=1 --quiet"
            .split_whitespace()
            .collect();
    let dir = tempfile::tempdir().unwrap();
    let (whole, broken) = (dir.path().join("whole"), dir.path().join("broken"));
    training::finish(training::start(&whole, &settings)).code(0);
    let again = [&settings[..settings.len() - 1], &["--resume"]].concat();
    let mut boundaries = 200;
    for (what, code) in [("kill", None), ("fail", Some(5))] {
        let mut without_newest = 0;
        for k in 1..boundaries {
            let _ = std::fs::remove_dir_all(&broken);
            let mut command = training::command(&broken, &settings);
            let out = command.env("LOWBIT_TEST_FAULT", format!("{what}:{k}")).output();
            let ran = Ran::of(&out.unwrap());
            if ran.code == Some(0) {
                training::same(&whole, &broken, &format!("{what}:{k}"));
                if what == "kill" {
                    boundaries = k;
                    break;
                }
                // Behind a rename a fault can only be a kill.
                continue;
            }
            assert!(ran.code == code, "{what}:{k}: {:?} {}", ran.code, ran.stderr);
            let [newest, previous] =
                [training::CHECKPOINT, training::PREVIOUS].map(|name| broken.join(name).exists());
            without_newest += usize::from(previous && !newest);
            let ran = training::finish(training::start(&broken, &again)).code(0);
            let told = ran.stderr.contains("goes on from the checkpoint before it");
            assert_eq!(told, previous && !newest, "{what}:{k}: {}", ran.stderr);
            assert_eq!(
                ran.stderr.contains("step 1/2"),
                !previous && !newest,
                "{what}:{k}: {}",
                ran.stderr
            );
            training::same(&whole, &broken, &format!("{what}:{k}"));
            assert!(left_over(&broken).is_empty(), "{what}:{k}");
        }
        assert!(boundaries < 200, "the run never gets through");
        assert!(without_newest >= 2, "no {what} fell between the renames");
    }
}

/// Commands that write nothing: no boundary is ever passed.
#[test]
fn the_other_commands_write_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let data = common::yolo_data(dir.path(), 1);
    let before = files(dir.path());
    let all: [(&str, &[&Path]); 5] = [
        ("doctor", &[]),
        ("inspect --all", &[&model]),
        ("verify --quiet", &[&model]),
        ("bench --quiet --runs 1 --warmup 0", &[&model]),
        (
            "compare --quiet --resamples 0",
            &[&model, &model, Path::new("--data"), &data],
        ),
    ];
    for (words, paths) in all {
        let mut command = lowbit();
        command
            .args(words.split_whitespace())
            .args(paths)
            .args(["--threads", "1"])
            .current_dir(dir.path());
        Ran::of(&command.env("LOWBIT_TEST_FAULT", "fail:1").output().unwrap()).code(0);
    }
    assert_eq!(files(dir.path()), before);
}

#[cfg(unix)]
#[test]
fn outputs_that_are_links_or_the_input_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("m.onnx");
    std::fs::copy(small_model("torchscript_conv_bn_silu"), &model).unwrap();
    let before = std::fs::read(&model).unwrap();
    let link = dir.path().join("link.onnx");
    std::os::unix::fs::symlink(&model, &link).unwrap();
    let hard = dir.path().join("hard.onnx");
    std::fs::hard_link(&model, &hard).unwrap();
    let folder = dir.path().to_path_buf();
    for bad in [&model, &link, &hard, &folder] {
        run("export --as float -o", &[bad, &model]).code(2);
    }
    assert_eq!(std::fs::read(&model).unwrap(), before);
    assert!(left_over(dir.path()).is_empty());
}

#[test]
fn two_processes_do_not_share_a_folder_of_results_and_old_results_stay() {
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let pictures = pictures(dir.path(), 1);
    let out: PathBuf = dir.path().join("out");
    let words = "detect --quiet --threads 1 -o";
    run(words, &[&out, &model, &pictures]).code(0);
    let ran = run(words, &[&out, &model, &pictures]).code(2);
    assert!(ran.stderr.contains("--exist-ok"), "{}", ran.stderr);
    let held = std::fs::File::open(&out).unwrap();
    held.lock().unwrap();
    let ran = run(
        "detect --exist-ok --quiet --threads 1 -o",
        &[&out, &model, &pictures],
    )
    .code(5);
    assert!(ran.stderr.contains("another lowbit process"), "{}", ran.stderr);
    drop(held);
    run(
        "detect --exist-ok --quiet --threads 1 -o",
        &[&out, &model, &pictures],
    )
    .code(0);
}

/// A bug of the program is told in one sentence, and files are as whole as after any other fault.
#[test]
fn a_panic_is_one_sentence_with_code_101() {
    if !cfg!(debug_assertions) {
        println!("SKIPPED: faults are planted in debug builds only");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out.onnx");
    let model = small_model("torchscript_conv_bn_silu");
    for k in 1..=4 {
        let mut command = lowbit();
        command
            .args(["export", "--as", "float", "-o"])
            .args([&output, &model]);
        command
            .env("LOWBIT_TEST_FAULT", format!("panic:{k}"))
            .env_remove("RUST_BACKTRACE");
        let ran = Ran::of(&command.output().unwrap()).code(101);
        assert_eq!(
            (ran.stderr.lines().count(), ran.stdout.as_str()),
            (1, ""),
            "{}",
            ran.stderr
        );
        assert!(
            ran.stderr.contains("this is a bug in lowbit: planted"),
            "{}",
            ran.stderr
        );
        assert!(!output.exists() && left_over(dir.path()).is_empty());
    }
}
