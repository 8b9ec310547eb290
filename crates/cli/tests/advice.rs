//! Mistakes of users: what the answer says, and that it comes before long work.

mod common;

use std::path::Path;

use common::{detector, pictures, run, small_model, yolo_data};

#[test]
fn a_file_that_is_no_picture_is_told_before_calibration_begins() {
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let calib = pictures(dir.path(), 4);
    std::fs::write(calib.join("p01.jpg"), "an error page").unwrap();
    let words = "quantize --grid int8 --threads 1 --calib";
    let out = dir.path().join("out.onnx");
    let ran = run(words, &[&calib, &model, "-o".as_ref(), &out]).code(3);
    assert!(
        ran.stderr.contains("p01.jpg: not a picture")
            && ran
                .stderr
                .contains("remove the file, or skip it with --allow-skips; the other pictures can be read"),
        "{}",
        ran.stderr
    );
    // A JPEG without its end, an empty file: all are named at once.
    std::fs::write(calib.join("p00.jpg"), b"\xff\xd8\xff\xe0\x00\x10JFIF").unwrap();
    std::fs::write(calib.join("p03.png"), "").unwrap();
    let ran = run(words, &[&calib, &model, "-o".as_ref(), &out]).code(3);
    assert!(
        ran.stderr.contains("p00.jpg: the picture is cut off")
            && ran
                .stderr
                .contains("and 2 more that cannot be read: p01.jpg, p03.png"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("equalize") && !ran.stderr.contains("calibrate"));
    assert!(!out.exists());
    // Or counted, and the others are used.
    let words = "quantize --grid int8 --threads 1 --json --allow-skips --calib";
    let json = run(words, &[&calib, &model, "-o".as_ref(), &out]).code(0).json();
    assert_eq!(json["skipped"], 3);
    assert_eq!(json["settings"]["calibration_pictures"], 4);
    for file in std::fs::read_dir(&calib).unwrap() {
        std::fs::write(file.unwrap().path(), "an error page").unwrap();
    }
    let ran = run(words, &[&calib, &model, "-o".as_ref(), &out]).code(3);
    assert!(ran.stderr.contains("no picture can be read"), "{}", ran.stderr);
}

/// The bare projection of a depthwise detector to two bits: nothing is left.
#[test]
fn a_model_whose_detections_are_gone_is_written_when_forced_alone() {
    let Some(data) = testing::data("a_model_whose_detections_are_gone_is_written_when_forced_alone") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (model, calib) = (
        data.join("models/yolo_fastest_1_1_coco.onnx"),
        data.join("pictures/voc"),
    );
    let out = dir.path().join("out.onnx");
    let words = "quantize --threads 1 --grid lbw2 --no-correction --observer min-max --subset-size 4 --calib-split train --calib";
    let ran = run(words, &[&calib, &model, "-o".as_ref(), &out]).code(1);
    assert!(
        ran.stderr.contains("the detections are gone") && ran.stderr.contains("--force"),
        "{}",
        ran.stderr
    );
    assert!(!out.exists());
    let forced = words.replace("--calib-split", "--force --calib-split");
    run(&forced, &[&calib, &model, "-o".as_ref(), &out]).code(0);
    assert!(out.exists());
}

#[test]
fn a_mistake_in_a_recipe_is_told_with_file_line_and_nearest_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.toml");
    for (text, want) in [
        (
            "steps = 3\n\n[optimizer]\nrats = 1\n",
            "bad.toml: line 4: there is no key \"optimizer.rats\"; did you mean \"optimizer.rate\"?",
        ),
        (
            "epochs = 3\n",
            "bad.toml: line 1: there is no key \"epochs\" (`lowbit train --keys`",
        ),
        ("rate = 3\n", "did you mean \"optimizer.rate\"?"),
        (
            "steps = 3\nbatch = \n",
            "bad.toml: line 2: the recipe is no TOML: ",
        ),
        (
            "[augment]\nflip = 2",
            "bad.toml: line 2: \"augment.flip\" is 2.0, but must be within 0 … 1",
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        let ran = run("train", &[&path]).code(2);
        assert!(ran.stderr.contains(want), "{text}: {}", ran.stderr);
    }
    std::fs::write(&path, "steps = 3\n").unwrap();
    let ran = run("train --set steps=none", &[&path]).code(2);
    assert!(
        ran.stderr.contains("error: --set steps=none: \"steps\" is"),
        "{}",
        ran.stderr
    );
}

#[test]
fn numbers_out_of_range_are_answered_with_the_range_and_an_example() {
    let model = small_model("torchscript_conv_bn_silu");
    for (words, want) in [
        ("quantize --bits x", "a whole number in 1…8, such as 4"),
        ("quantize --bits 9", "a whole number in 1…8, such as 4"),
        ("quantize --grid int8 --act-bits 0", "a whole number in 1…8"),
        (
            "quantize --grid int8 --subset-size 0",
            "a whole number from 1 on, such as 300",
        ),
        ("quantize --grid int8 --mu nan", "a number above 0, such as 0.75"),
        ("bench --runs none", "a whole number from 1 on, such as 50"),
        ("bench --seed=-1", "a whole number in 0…18446744073709551615"),
        ("bench --threads many", "a number of threads in 0…1024"),
        ("verify --subset 1.5", "a whole number from 1 on"),
        ("eval --data . --min-map nan", "a number in 0…1, such as 0.25"),
        ("eval --data . --conf 25%", "a number in 0…1"),
        ("compare --data . --max-drop NaN m.onnx", "a number in 0…1"),
    ] {
        let ran = run(words, &[&model]).code(2);
        assert!(ran.stderr.contains(want), "{words}: {}", ran.stderr);
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("scenes");
    for count in ["0", "x"] {
        let ran = run(&format!("synth --count {count} -o"), &[&out]).code(2);
        assert!(
            ran.stderr.contains("a whole number from 1 on, such as 100"),
            "{}",
            ran.stderr
        );
    }
    assert!(!out.exists());
}

#[test]
fn names_that_are_far_from_all_others_are_not_answered_with_one() {
    let model = small_model("torchscript_conv_bn_silu");
    let ran = run("quantize --grid fp16", &[&model]).code(2);
    assert!(
        ran.stderr
            .contains("there is no grid \"fp16\" (`lowbit quantize --list` prints all)"),
        "{}",
        ran.stderr
    );
    let ran = run("quantize --grid int8 --observer average", &[&model]).code(2);
    assert!(!ran.stderr.contains("did you mean"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("min-max, percentile, mse, kl"),
        "{}",
        ran.stderr
    );
}

#[test]
fn files_in_the_wrong_place_are_told_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let folder = pictures(dir.path(), 2);
    let picture = folder.join("p00.bmp");
    let out = dir.path().join("out");
    let told = |words: &str, paths: &[&Path], code: i32, want: &str| {
        let ran = run(words, paths).code(code);
        assert!(ran.stderr.contains(want), "{words}: {}", ran.stderr);
    };
    told(
        "detect",
        &[&picture, &model, "-o".as_ref(), &out],
        3,
        "the model comes first",
    );
    told("train", &[&picture], 3, "this is no recipe");
    std::fs::write(dir.path().join("long.toml"), "#".repeat(2 << 20)).unwrap();
    told(
        "train",
        &[&dir.path().join("long.toml")],
        2,
        "this is no recipe: it has more than 1 MiB",
    );
    told("eval --data", &[&folder, &model], 3, "no data set here");
    told(
        "eval --format coco --data",
        &[&folder, &model],
        3,
        "no annotation file",
    );
    told("inspect --dim data:0=2", &[&model], 3, ", 64, 64]");
}

#[test]
fn data_of_other_classes_is_refused_with_both_lists_and_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let data = yolo_data(dir.path(), 1);
    std::fs::write(&data, "path: .\nval: images\nnames: [cell, dish]\n").unwrap();
    let ran = run("eval --threads 1 --data", &[&data, &model]).code(3);
    for part in [
        "no class in common",
        "class 0",
        "cell, dish",
        "head description, NAME.json",
    ] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
}

#[test]
fn a_dry_run_writes_the_report_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let report = dir.path().join("report.json");
    run("quantize --grid lbw4 --dry-run --report", &[&report, &model]).code(0);
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    assert_eq!(json["layers"][0]["grid"], "lbw4");
    assert!(!dir.path().join("model-lbw4.onnx").exists());
    // A float model has no codes that an export could keep.
    let out = dir.path().join("out.onnx");
    let ran = run("export --as qdq -o", &[&out, &model]).code(0);
    assert!(ran.stderr.contains("the model is float"), "{}", ran.stderr);
}

#[test]
fn a_run_does_not_begin_in_a_folder_of_other_files() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = dir.path().join("r.toml");
    std::fs::write(&recipe, "model = \"zoo:tiny\"\ndata.kind = \"synth\"\n").unwrap();
    let output = format!("train --set output={}", dir.path().display());
    let ran = run(&output, &[&recipe]).code(2);
    assert!(
        ran.stderr
            .contains("holds other files; give another folder with --set output=DIR"),
        "{}",
        ran.stderr
    );
}

#[test]
fn networks_of_our_own_are_listed_and_only_training_takes_them() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = dir.path().join("r.toml");
    std::fs::write(&recipe, "model = \"zoo:smal\"\nsteps = 1\n").unwrap();
    let output = format!("--set output={}", dir.path().join("out").display());
    let ran = run(&format!("train {output}"), &[&recipe]).code(2);
    assert!(
        ran.stderr.contains(
            "zoo:resnet18, zoo:resnet50, zoo:unet3d, zoo:unet3d-transposed, zoo:h32s; did you mean \"zoo:small\"?"
        ),
        "{}",
        ran.stderr
    );
    let ran = run(&format!("train {output} --set model=zoo:gigantic"), &[&recipe]).code(2);
    assert!(
        ran.stderr.contains(
            "there are zoo:tiny, zoo:small, zoo:resnet18, zoo:resnet50, zoo:unet3d, zoo:unet3d-transposed, zoo:h32s;"
        ),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("did you mean"), "{}", ran.stderr);
    for words in ["inspect zoo:tiny", "bench zoo:huge", "verify zoo:small"] {
        let ran = run(words, &[]).code(2);
        assert!(
            ran.stderr.contains("a model file is needed here") && ran.stderr.contains("lowbit train"),
            "{words}: {}",
            ran.stderr
        );
    }
}

#[test]
fn help_tells_the_two_confidences_of_compare_apart() {
    let help = run("compare --help", &[]).code(0).stdout;
    let of = |flag: &str| {
        let (_, rest) = help.split_once(&format!("{flag} ")).unwrap();
        rest.split("--")
            .next()
            .unwrap()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert!(of("--conf").contains("do not enter mAP"), "{help}");
    assert!(of("--box-conf").contains("matched between the models"), "{help}");
    let help = run("eval --help", &[]).code(0).stdout;
    assert!(
        help.contains("do not enter mAP") && !help.contains("--box-conf"),
        "{help}"
    );
}

#[test]
fn what_is_not_there_or_of_another_kind_is_told_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let (text, empty) = (dir.path().join("text.txt"), dir.path().join("empty"));
    std::fs::write(&text, "not a model\n").unwrap();
    std::fs::create_dir(&empty).unwrap();
    let told = |words: &str, paths: &[&Path], code: i32, parts: &[&str]| {
        let ran = run(words, paths).code(code);
        for part in parts {
            assert!(
                ran.stderr.contains(part),
                "{words} lacks {part:?}: {}",
                ran.stderr
            );
        }
    };
    let missing = dir.path().join("missing");
    told("inspect", &[&missing], 5, &["missing", "check the path"]);
    told(
        "inspect",
        &[&text],
        3,
        &["text.txt", "it holds text, and no ONNX model does"],
    );
    told(
        "inspect",
        &[&empty],
        5,
        &["this is a folder, not a model; give the ONNX file"],
    );
    told(
        "inspect --head",
        &[&missing, &model],
        5,
        &["head description: ", "missing", "check the path"],
    );
    told(
        "inspect --head",
        &[&empty, &model],
        5,
        &["head description: ", "give a file, not a folder"],
    );
    told(
        "inspect --head",
        &[&text, &model],
        3,
        &["text.txt", "lowbit inspect --template"],
    );
    told(
        "inspect --config",
        &[&missing, &model],
        5,
        &["missing", "--config takes a TOML file"],
    );
    told(
        "eval --data",
        &[&missing, &model],
        5,
        &["missing", "check the path"],
    );
    let out = dir.path().join("out");
    told(
        "detect -o",
        &[&out, &model, &missing],
        5,
        &["missing", "check the path"],
    );
    told(
        "detect -o",
        &[&out, &model, &empty],
        3,
        &["empty: no picture in this folder"],
    );
    told(
        "detect -o",
        &[&text, &model, &model],
        2,
        &["a folder is needed; give a new folder"],
    );
    assert!(!out.exists());
    let set = pictures(dir.path(), 1);
    let both = [set.as_path(), &model, &model];
    told(
        "compare --split val --data",
        &both,
        3,
        &["pictures are compared without ground truth"],
    );
    let words = "quantize --grid int8 --calib-split val --calib";
    let split = [set.as_path(), &model];
    told(words, &split, 3, &["all pictures below the folder are taken"]);
}

#[test]
fn negative_numbers_are_answered_with_the_range() {
    for (words, want) in [
        ("doctor --threads -1", "0…1024"),
        ("doctor -t -1", "0…1024"),
        ("doctor --seed -1", "expected a whole number"),
        ("doctor --limit-mem -1", "expected a size"),
        (
            "detect --conf -1 -o out model picture",
            "expected a number in 0…1",
        ),
        ("eval --conf 2 --data d model", "expected a number in 0…1"),
        ("compare --box-conf -0.5 --data d a b", "expected a number in 0…1"),
    ] {
        let ran = run(words, &[]).code(2);
        assert!(ran.stderr.contains(want), "{words}: {}", ran.stderr);
    }
}
