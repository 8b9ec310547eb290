//! What results call the pictures they are about.

mod common;

use std::path::Path;

use common::{detector, pictures, run, yolo_data};

/// A folder with pictures of these names, all of one content.
fn named(folder: &Path, names: &[&str]) -> std::path::PathBuf {
    let set = pictures(folder, 1);
    let bytes = std::fs::read(set.join("p00.bmp")).unwrap();
    std::fs::remove_file(set.join("p00.bmp")).unwrap();
    for name in names {
        let path = set.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &bytes).unwrap();
    }
    set
}

#[test]
fn detect_keeps_the_folders_of_pictures_that_have_one_name() {
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let names = ["a/x.bmp", "b/x.bmp", "b/deep/x.bmp"];
    let set = named(dir.path(), &names);
    let out = dir.path().join("out");
    let words = "detect --threads 1 --conf 0 --max-det 2 --json -o";
    let json = run(words, &[&out, &model, &set]).code(0).json();
    let all = json["pictures"].as_array().unwrap();
    let mut files: Vec<&str> = all.iter().map(|p| p["file"].as_str().unwrap()).collect();
    files.sort_unstable();
    assert_eq!(files, ["a/x.bmp", "b/deep/x.bmp", "b/x.bmp"]);
    for p in all {
        assert_eq!(p["picture"], p["file"]);
        let drawn = p["drawn"].as_str().unwrap();
        assert_eq!(drawn, p["file"].as_str().unwrap().replace(".bmp", ".jpg"));
        assert!(out.join(drawn).is_file(), "{drawn}");
    }
    let csv = std::fs::read_to_string(out.join("predictions.csv")).unwrap();
    let coco = std::fs::read_to_string(out.join("predictions.json")).unwrap();
    let coco: Vec<serde_json::Value> = serde_json::from_str(&coco).unwrap();
    for name in names {
        assert_eq!(
            csv.lines().filter(|l| l.starts_with(&format!("{name},"))).count(),
            2
        );
        assert_eq!(coco.iter().filter(|row| row["image_id"] == name).count(), 2);
    }
    // The text names them the same way, and a picture given alone has its plain name.
    let ran = run("detect --threads 1 --exist-ok -o", &[&out, &model, &set]).code(0);
    assert!(ran.stdout.contains("b/deep/x.bmp: "), "{}", ran.stdout);
    let alone = [&dir.path().join("alone"), &model, &set.join("a/x.bmp")];
    let json = run(words, &alone.map(|p| p.as_path())).code(0).json();
    assert_eq!(json["pictures"][0]["file"], "x.bmp");
}

#[test]
fn a_mean_over_no_class_is_no_number() {
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let data = yolo_data(dir.path(), 1);
    std::fs::write(data.parent().unwrap().join("labels/p00.txt"), "").unwrap();
    let text = run("eval --threads 1 --data", &[&data, &model]).code(0).stdout;
    let all = text.lines().find(|line| line.starts_with("all ")).unwrap();
    let cells: Vec<&str> = all.split_whitespace().collect();
    assert_eq!(cells, ["all", "1", "0", "-", "-", "-", "-", "-"], "{text}");
}

#[test]
fn compare_calls_pictures_by_their_own_names() {
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let set = named(dir.path(), &["000123.bmp", "a/000123.bmp"]);
    let small = dir.path().join("q.onnx");
    let words = "quantize --quiet --threads 1 --grid lbw2 --no-correction --calib";
    run(words, &[&set, Path::new("-o"), &small, &model]).code(0);
    let words = "compare --quiet --threads 1 --resamples 0 --box-conf 0";
    let both = [&model, &small, Path::new("--data"), &set];
    let text = run(words, &both).code(0).stdout;
    let rows: Vec<&str> = text.lines().map(|l| l.split(' ').next().unwrap()).collect();
    assert!(
        rows.contains(&"000123.bmp") && rows.contains(&"a/000123.bmp"),
        "{text}"
    );
    let json = run(&format!("{words} --json"), &both).code(0).json();
    let mut files: Vec<&str> = (json["pictures"].as_array().unwrap().iter())
        .map(|p| p["file"].as_str().unwrap())
        .collect();
    files.sort_unstable();
    assert_eq!(files, ["000123.bmp", "a/000123.bmp"]);
}

#[test]
fn a_width_alone_tells_the_grids_that_were_tried() {
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let set = named(dir.path(), &["a.bmp", "b.bmp"]);
    let small = dir.path().join("q.onnx");
    let words = "quantize --quiet --threads 1 --bits 2 --calib";
    let ran = run(words, &[&set, Path::new("-o"), &small, &model]).code(0);
    let tried = ran.stdout.lines().find(|l| l.starts_with("tried")).unwrap();
    for grid in ["int2", "lbw2", "ternary"] {
        assert!(tried.contains(&format!(" {grid} ")), "{}", ran.stdout);
    }
}
