//! Files appear whole or not at all: every boundary of writing fails once, and the process is killed once at each.

mod common;

use std::path::{Path, PathBuf};

use common::{Ran, detector, left_over, lowbit, pictures, run, small_model};

/// Runs with the k-th boundary failing or killing, for every k, until the command gets through. `check` sees the folder after each
/// fault: `None` as the file is old, `Some` never.
fn at_every_boundary(words: &str, paths: &[&Path], output: &Path, folder: &Path) {
    let old = b"what was there before".to_vec();
    let whole = {
        std::fs::write(output, &old).unwrap();
        run(words, paths).code(0);
        std::fs::read(output).unwrap()
    };
    assert_ne!(whole, old);
    for what in ["fail", "kill"] {
        for k in 1.. {
            assert!(k < 60, "the command never gets through");
            std::fs::write(output, &old).unwrap();
            let out = lowbit()
                .args(words.split_whitespace())
                .args(paths)
                .env("LOWBIT_TEST_FAULT", format!("{what}:{k}"))
                .output()
                .unwrap();
            let ran = Ran::of(&out);
            let now = std::fs::read(output).unwrap();
            assert!(
                now == old || now == whole,
                "{what}:{k} left a mix of {} bytes",
                now.len()
            );
            match (ran.code, what) {
                (Some(0), _) => {
                    assert_eq!(now, whole, "{what}:{k}");
                    break;
                }
                (Some(5), "fail") => {
                    assert_eq!(now, old, "{what}:{k}");
                    let name = output.file_name().unwrap().to_string_lossy();
                    assert!(
                        ran.stderr.contains(&*name) && ran.stderr.contains("bytes"),
                        "{}",
                        ran.stderr
                    );
                    assert!(left_over(folder).is_empty(), "{what}:{k}");
                }
                (None, "kill") => {}
                other => panic!("{what}:{k}: {other:?}\n{}", ran.stderr),
            }
        }
        // What killed processes left goes with the next write.
        run(words, paths).code(0);
        assert!(left_over(folder).is_empty(), "after {what}");
    }
}

#[test]
fn export_leaves_the_old_file_or_the_new_one() {
    if !cfg!(debug_assertions) {
        println!("SKIPPED: faults are planted in debug builds only");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out.onnx");
    let model = small_model("torchscript_conv_bn_silu");
    at_every_boundary(
        "export --quiet --as float -o",
        &[&output, &model],
        &output,
        dir.path(),
    );
}

#[test]
fn quantize_leaves_the_old_file_or_the_new_one() {
    if !cfg!(debug_assertions) {
        println!("SKIPPED: faults are planted in debug builds only");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let pictures = pictures(dir.path(), 2);
    let output = dir.path().join("out.onnx");
    let words = "quantize --quiet --threads 1 --grid int4 --calib";
    let paths: [&Path; 4] = [&pictures, Path::new("-o"), &output, &model];
    at_every_boundary(words, &paths, &output, dir.path());
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
