//! Names of files, classes and layers that mean something to a terminal, a spreadsheet, a browser or a shell: rows 15, 16, 20 and
//! 27 of `docs/robustness.md`.
#![cfg(unix)]

mod common;
#[path = "../../graph/tests/common/proto.rs"]
mod proto;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use common::{Ran, detector, left_over, lowbit, pictures, run, small_model, yolo_data};
use proto::{Graph, Message, tensor, value};

/// Texts that do harm when a program prints them as they are.
const HOSTILE: [&str; 14] = [
    "\x1b[2J\x1b[31mok",
    "\x1b]0;title\x07",
    "a\nerror: all is well",
    "a\r\nb",
    "back\x08\x08space",
    "nul-less \x01\x7f",
    "\u{9b}31m",
    "right\u{202e}gpj.exe",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "@SUM(1)",
    "+1\",\"x",
    "../../../etc/passwd",
    "\"; rm -rf ~; '",
];

/// Nothing that moves a cursor, hides text or starts a line of its own.
#[track_caller]
fn assert_tame(ran: &Ran, what: &str) {
    let bad = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    for text in [&ran.stdout, &ran.stderr] {
        assert!(!text.contains(bad), "{what}: {text:?}");
        assert!(
            !text.lines().any(|l| l.starts_with("error: all is well")),
            "{what}: {text}"
        );
    }
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
}

/// A graph in which every name is the hostile one.
fn model_named(name: &str) -> Vec<u8> {
    let (x, y, w) = (format!("{name}x"), format!("{name}y"), format!("{name}w"));
    let node = Message::default()
        .bytes(1, &x)
        .bytes(1, &w)
        .bytes(2, &y)
        .bytes(3, name)
        .bytes(4, "Conv");
    let weights: Vec<u8> = (0..4 * 3 * 3 * 3)
        .flat_map(|k| ((k % 5) as f32 - 2.0).to_le_bytes())
        .collect();
    let graph = Message::default()
        .message(1, node)
        .bytes(2, name)
        .message(5, tensor(&w, 1, &[4, 3, 3, 3], &weights))
        .message(11, value(&x, 1, &[1, 3, 8, 8]))
        .message(12, value(&y, 1, &[]));
    let meta = Message::default().bytes(1, format!("{name}key")).bytes(2, name);
    let mut model = Message(Graph(graph).model(18));
    model = model.bytes(2, name).message(14, meta);
    model.0
}

#[test]
fn names_of_layers_and_values_are_tame_in_every_sink() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.onnx");
    let out = dir.path().join("out.onnx");
    for name in HOSTILE {
        std::fs::write(&path, model_named(name)).unwrap();
        for words in [
            "inspect --all",
            "inspect --template",
            "verify --quiet --threads 1",
            "bench --quiet --threads 1 --runs 1 --warmup 0",
            "quantize --grid int8 --dry-run",
        ] {
            let ran = run(words, &[&path]);
            assert_tame(&ran, words);
            // JSON holds the names as they are, escaped.
            let ran = run(&format!("{words} --json"), &[&path]);
            assert_tame(&ran, words);
            if ran.code == Some(0) && words.starts_with("bench") {
                let text = ran.json().to_string();
                assert!(
                    text.contains(serde_json::to_string(name).unwrap().trim_matches('"')),
                    "{words}: {text}"
                );
            }
        }
        let _ = std::fs::remove_file(&out);
        let ran = run("export --as float -o", &[&out, &path]);
        assert_tame(&ran, "export");
        ran.code(0);
        assert_tame(&run("inspect --all", &[&out]), "inspect of the export");
        // Errors carry the name too.
        let mut broken = model_named(name);
        let at = broken.windows(4).position(|w| w == b"Conv").unwrap();
        broken[at] = b'K';
        std::fs::write(&path, broken).unwrap();
        let ran = run("inspect", &[&path]).code(4);
        assert_tame(&ran, "error");
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    }
}

/// A head description for the small detector with these class names.
fn head(folder: &Path, model: &Path, names: &[&str]) -> PathBuf {
    let template = run("inspect --json", &[model]).code(0).json();
    let mut head = template["head"].clone();
    head["classes"] = names.iter().map(|n| (*n).to_string()).collect::<Vec<_>>().into();
    let path = folder.join("head.json");
    std::fs::write(&path, head.to_string()).unwrap();
    path
}

fn classes_of(model: &Path) -> usize {
    run("inspect --json", &[model]).code(0).json()["head"]["classes"]
        .as_array()
        .expect("the head is known")
        .len()
}

#[test]
fn names_of_classes_are_tame_in_every_sink() {
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let pictures = pictures(dir.path(), 1);
    let count = classes_of(&model);
    for (k, chunk) in HOSTILE.chunks(count).enumerate() {
        let mut names: Vec<String> = chunk.iter().map(|n| (*n).to_string()).collect();
        names.extend((names.len()..count).map(|i| format!("filler {i}")));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let head = head(dir.path(), &model, &names);
        let out = dir.path().join(format!("out{k}"));
        let flag = Path::new("--head");
        let ran = run(
            "detect --threads 1 --conf 0 --max-det 50 -o",
            &[&out, flag, &head, &model, &pictures],
        );
        assert_tame(&ran, "detect");
        ran.code(0);
        // Pictures with labels, and lists: names stay inside their cells and strings.
        let csv = std::fs::read_to_string(out.join("predictions.csv")).unwrap();
        for line in csv.lines() {
            assert!(!line.contains(char::is_control), "{line:?}");
            for cell in line.split(',') {
                let cell = cell.trim_start_matches('"');
                let number = cell.trim_end_matches('"').parse::<f64>().is_ok();
                assert!(
                    number || !cell.starts_with(['=', '+', '-', '@']),
                    "a spreadsheet would run {cell:?}"
                );
            }
        }
        let json = std::fs::read_to_string(out.join("predictions.json")).unwrap();
        assert!(
            serde_json::from_str::<serde_json::Value>(&json)
                .unwrap()
                .as_array()
                .unwrap()
                .len()
                > 1
        );
        for entry in std::fs::read_dir(&out).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(
                ["p00.jpg", "predictions.csv", "predictions.json"].contains(&&*name),
                "{name:?}"
            );
        }
        // Ground truth of the same names.
        let data = yolo_data(dir.path(), 1);
        let list = serde_json::to_string(&names).unwrap();
        std::fs::write(&data, format!("path: .\nval: images\nnames: {list}\n")).unwrap();
        let results = dir.path().join(format!("results{k}.json"));
        for words in [
            "eval --threads 1 --conf 0.0001",
            "eval --threads 1 --json --conf 0.0001",
        ] {
            let save = [
                "--save-json".as_ref(),
                results.as_path(),
                flag,
                &head,
                &model,
                "--data".as_ref(),
                &data,
            ];
            let ran = run(words, &save);
            assert_tame(&ran, words);
            ran.code(0);
        }
        let both = [flag, &head, &model, &model, "--data".as_ref(), &data];
        assert_tame(
            &run("compare --threads 1 --resamples 0 --box-conf 0", &both),
            "compare",
        );
    }
}

#[test]
fn paths_of_any_bytes_work_from_end_to_end() {
    let dir = tempfile::tempdir().unwrap();
    let long = "l".repeat(200);
    let names: [&[u8]; 12] = [
        "日本語 ü ß".as_bytes(),
        b"with  two spaces ",
        b"trailing.dot.",
        b"...",
        b"-o",
        b"--help",
        b"line\nbreak",
        b"\x1b[31mred",
        b"\xff\xfe not utf-8 \x80",
        b"50% {braces} $HOME `x` *?",
        "e\u{301} combining".as_bytes(),
        long.as_bytes(),
    ];
    for name in names {
        let folder = dir.path().join(OsStr::from_bytes(name));
        std::fs::create_dir(&folder).unwrap();
        let file = |ending: &str| {
            let mut full = OsString::from_vec(name.to_vec());
            full.push(ending);
            folder.join(full)
        };
        let model = file(".onnx");
        std::fs::copy(small_model("torchscript_yolov8"), &model).unwrap();
        let template = run("inspect --template", &[&model]).code(0).stdout;
        std::fs::write(model.with_extension("json"), template).unwrap();
        let set = pictures(&folder, 1);
        std::fs::rename(set.join("p00.bmp"), set.join(file(".bmp").file_name().unwrap())).unwrap();
        let say = |what: &str, ran: Ran| {
            assert_tame(&ran, what);
            ran.code(0)
        };
        let quantized = file("-q.onnx");
        say(
            "quantize",
            run(
                "quantize --quiet --threads 1 --grid int8 --calib",
                &[&set, "-o".as_ref(), &quantized, &model],
            ),
        );
        assert!(quantized.is_file());
        say("inspect", run("inspect", &[&quantized]));
        let out = file("-out");
        let ran = say(
            "detect",
            run("detect --json --threads 1 -o", &[&out, &quantized, &set]),
        );
        assert_eq!(ran.json()["pictures"].as_array().unwrap().len(), 1);
        let jpegs = std::fs::read_dir(&out)
            .unwrap()
            .flatten()
            .filter(|e| e.path().extension() == Some("jpg".as_ref()))
            .count();
        assert_eq!(jpegs, 1);
        // Relative, from inside, where a name may look like a flag: `./` is what a shell's user would put before it.
        let relative = Path::new(".").join(model.file_name().unwrap());
        let output = lowbit()
            .current_dir(&folder)
            .args(["export", "--as", "float", "-o", "./plain.onnx"])
            .arg(&relative)
            .output()
            .unwrap();
        say("export", Ran::of(&output));
        // Without -o the name of the output is made from the model's.
        let words = [
            "quantize",
            "--quiet",
            "--threads",
            "1",
            "--grid",
            "int4",
            "--no-correction",
            "--calib",
        ];
        let output = lowbit()
            .current_dir(&folder)
            .args(words)
            .arg(&set)
            .arg(&relative)
            .output()
            .unwrap();
        say("quantize without -o", Ran::of(&output));
        assert!(
            file("-int4.onnx").is_file(),
            "the default name changes the bytes of {:?}",
            OsStr::from_bytes(name)
        );
        assert!(left_over(&folder).is_empty());
        // What is not there is named in one line.
        let ran = run("inspect", &[&file(".missing")]).code(5);
        assert_tame(&ran, "missing");
        assert_eq!(ran.stderr.lines().count(), 1);
    }
}

#[test]
fn two_pictures_whose_names_meet_get_two_files() {
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let set = pictures(dir.path(), 1);
    let bytes = std::fs::read(set.join("p00.bmp")).unwrap();
    for sub in ["a", "b", "c:d", "c*d"] {
        std::fs::create_dir(set.join(sub)).unwrap();
        std::fs::write(set.join(sub).join("p00.bmp"), &bytes).unwrap();
    }
    for name in [
        "c:d.bmp",
        "c*d.bmp",
        "c_d.bmp",
        "p00-2.bmp",
        "predictions.bmp",
        ".hidden.bmp",
    ] {
        std::fs::write(set.join(name), &bytes).unwrap();
    }
    let out = dir.path().join("out");
    let json = run("detect --json --threads 1 -o", &[&out, &model, &set])
        .code(0)
        .json();
    let drawn: std::collections::BTreeSet<&str> = json["pictures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["drawn"].as_str().unwrap())
        .collect();
    assert_eq!(drawn.len(), json["pictures"].as_array().unwrap().len());
    assert!(
        drawn
            .iter()
            .all(|name| out.join(name).is_file() && !name.starts_with('.'))
    );
}

/// Every file that a command reads is safe from what it writes, whatever the name it is reached by.
#[test]
fn no_output_replaces_an_input_of_any_kind() {
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let set = pictures(dir.path(), 2);
    let data = yolo_data(dir.path(), 1);
    let root = data.parent().unwrap().to_path_buf();
    let picture = set.join("p00.bmp");
    let external = dir.path().join("external_data.onnx");
    for ending in ["onnx", "data"] {
        std::fs::copy(
            small_model("external_data").with_extension(ending),
            external.with_extension(ending),
        )
        .unwrap();
    }
    let config = dir.path().join("config.toml");
    std::fs::write(&config, "quiet = true\n").unwrap();
    let head = head(
        dir.path(),
        &model,
        &(0..classes_of(&model)).map(|_| "x").collect::<Vec<_>>()[..],
    );
    let hard = dir.path().join("hard");
    std::fs::hard_link(&picture, &hard).unwrap();
    let weights = external.with_extension("data");
    let (labels, seen) = (root.join("labels/p00.txt"), root.join("images/p00.bmp"));
    let (o, d, h, r) = (
        Path::new("-o"),
        Path::new("--data"),
        Path::new("--head"),
        Path::new("--report"),
    );
    let (out, save, conf) = (
        dir.path().join("new.file"),
        Path::new("--save-json"),
        Path::new("--config"),
    );
    let q = "quantize --quiet --threads 1 --grid int8 --calib";
    let cases: Vec<(&str, Vec<&Path>, &Path)> = vec![
        (q, vec![&set, o, &model, &model], &model),
        (q, vec![&set, o, &picture, &model], &picture),
        (q, vec![&set, o, &hard, &model], &picture),
        (q, vec![&set, r, &picture, o, &out, &model], &picture),
        (q, vec![&set, r, &model, o, &out, &model], &model),
        (q, vec![&set, h, &head, o, &head, &model], &head),
        (q, vec![&set, conf, &config, o, &config, &model], &config),
        ("export --as float", vec![o, &weights, &external], &weights),
        (
            "export --as float",
            vec![o, &config, conf, &config, &model],
            &config,
        ),
        (
            "eval --quiet --threads 1",
            vec![d, &data, save, &data, &model],
            &data,
        ),
        (
            "eval --quiet --threads 1",
            vec![d, &data, save, &labels, &model],
            &labels,
        ),
        (
            "eval --quiet --threads 1",
            vec![d, &data, save, &seen, &model],
            &seen,
        ),
        (
            "eval --quiet --threads 1",
            vec![d, &data, h, &head, save, &head, &model],
            &head,
        ),
    ];
    for (words, paths, input) in cases {
        let before = std::fs::read(input).unwrap();
        let ran = run(words, &paths);
        assert_eq!(
            std::fs::read(input).unwrap(),
            before,
            "{words} {paths:?} replaced an input"
        );
        ran.code(2);
        assert!(!out.exists(), "{words} {paths:?}: half of the outputs is written");
    }
    // One file cannot hold two results.
    let ran = run(q, &[&set, r, &out, o, &out, &model]).code(2);
    assert!(!out.exists(), "{}", ran.stderr);
    // Pictures that would be drawn over.
    let jpeg = dir.path().join("jpegs");
    run("synth --quiet --count 1 --width 64 --height 64 -o", &[&jpeg]).code(0);
    let folder = jpeg.join("JPEGImages");
    let name = std::fs::read_dir(&folder)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let before = std::fs::read(&name).unwrap();
    run(
        "detect --quiet --threads 1 --exist-ok -o",
        &[&folder, &model, &folder],
    )
    .code(2);
    assert_eq!(std::fs::read(&name).unwrap(), before);
}

#[test]
fn many_processes_write_one_file_and_one_folder() {
    let dir = tempfile::tempdir().unwrap();
    let (file, folder) = (dir.path().join("out.onnx"), dir.path().join("scenes"));
    let model = small_model("torchscript_conv_bn_silu");
    let mut wants = Vec::new();
    for form in ["float", "packed"] {
        run(&format!("export --as {form} -o"), &[&file, &model]).code(0);
        wants.push(std::fs::read(&file).unwrap());
    }
    for _ in 0..6 {
        let mut children = Vec::new();
        for k in 0..6 {
            let mut command = lowbit();
            match k % 3 {
                0 => command
                    .args(["export", "--as", "float", "-o"])
                    .arg(&file)
                    .arg(&model),
                1 => command
                    .args(["export", "--as", "packed", "-o"])
                    .arg(&file)
                    .arg(&model),
                _ => command
                    .args([
                        "synth",
                        "--quiet",
                        "--count",
                        "3",
                        "--width",
                        "32",
                        "--height",
                        "32",
                        "--exist-ok",
                        "-o",
                    ])
                    .arg(&folder),
            };
            command
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped());
            children.push((k, command.spawn().unwrap()));
        }
        for (k, child) in children {
            let ran = Ran::of(&child.wait_with_output().unwrap());
            match (k % 3, ran.code) {
                (_, Some(0)) => {}
                (2, Some(5)) => assert!(ran.stderr.contains("another lowbit process"), "{}", ran.stderr),
                other => panic!("{other:?}: {}", ran.stderr),
            }
        }
        assert!(
            wants.contains(&std::fs::read(&file).unwrap()),
            "a mix of two writers"
        );
        assert!(left_over(dir.path()).is_empty());
    }
}

/// Annotations with each oddity go in; numbers come out or a sentence with the file, and what was left out is counted.
#[test]
fn awkward_annotations_are_counted_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let data = yolo_data(dir.path(), 2);
    let label = data.parent().unwrap().join("labels/p00.txt");
    // What the file holds, and the exit codes that may follow.
    let cases: [(&[u8], &[i32]); 14] = [
        (b"", &[0]),
        (b"\n\n \n", &[0]),
        (b"\xef\xbb\xbf0 0.5 0.5 0.4 0.3\r\n", &[0]),
        (b"0 0.5 0.5 0 0\n", &[0, 3]),
        (b"0 0.5 0.5 9 9\n", &[0, 3]),
        (b"0 -4 0.5 0.1 0.1\n", &[0, 3]),
        (b"0 nan 0.5 0.1 0.1\n", &[0, 3]),
        (b"0 0.5 inf 0.1 0.1\n", &[0, 3]),
        (b"0 1e400 0.5 0.1 0.1\n", &[0, 3]),
        (b"99 0.5 0.5 0.1 0.1\n", &[0, 3]),
        (b"-1 0.5 0.5 0.1 0.1\n", &[0, 3]),
        (b"0 0.5\n", &[3]),
        (b"cat 0.5 0.5 0.1 0.1\n", &[3]),
        (b"\xff\xfe\x00\x00", &[3]),
    ];
    for (text, codes) in cases {
        std::fs::write(&label, text).unwrap();
        let ran = run("eval --threads 1 --resamples 0 --data", &[&data, &model]);
        let code = ran.code.unwrap();
        assert!(
            codes.contains(&code),
            "{:?}: {code} {}",
            String::from_utf8_lossy(text),
            ran.stderr
        );
        assert_tame(&ran, "eval");
        // Refused, or counted as left out: the file is named either way.
        if code == 3 || text.starts_with(b"99") {
            assert!(ran.stderr.contains("p00.txt"), "{}", ran.stderr);
        }
        assert!(!ran.stdout.contains("NaN"), "{}", ran.stdout);
    }
    std::fs::write(&label, "0 0.5 0.5 0.1 0.1\n").unwrap();
    // A picture that is listed and not there, or there and broken.
    let picture = data.parent().unwrap().join("images/p01.bmp");
    std::fs::write(&picture, b"BM no picture").unwrap();
    let ran = run("eval --threads 1 --data", &[&data, &model]).code(3);
    assert!(ran.stderr.contains("p01.bmp"), "{}", ran.stderr);
    let json = run("eval --threads 1 --json --allow-skips --data", &[&data, &model])
        .code(0)
        .json();
    assert_eq!(json["skipped"], 1);
}
