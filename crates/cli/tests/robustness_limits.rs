//! Memory, disk and time run out: rows 2, 13, 17, 18 and 25 of `docs/robustness.md`, with the real limits of the system.
#![cfg(unix)]

mod common;
#[path = "../../graph/tests/common/proto.rs"]
mod proto;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Ran, detector, left_over, lowbit, pictures, run, small_model, yolo_data};
use proto::{Graph, int, tensor};

/// Runs the program under a limit of the shell, such as `ulimit -v 262144` (KiB of address space).
#[track_caller]
fn under(limit: &str, words: &str, paths: &[&Path]) -> Ran {
    let script = format!("{limit} || exit 99; exec \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_lowbit")])
        .args(words.split_whitespace())
        .args(paths)
        .env_remove("LOWBIT_ISA")
        .env_remove("LOWBIT_TEST_FAULT")
        .output()
        .unwrap();
    Ran::of(&output)
}

#[track_caller]
fn code_in(ran: Ran, codes: &[i32]) -> Ran {
    let code = ran.code.unwrap_or_else(|| panic!("killed: {}", ran.stderr));
    assert!(codes.contains(&code), "exit code {code}: {}", ran.stderr);
    ran.code(code)
}

const QUARTER_GIB: &str = "ulimit -v 262144";

/// A model of some 200 bytes whose node makes `count` numbers out of nothing.
fn greedy(op: &str, shape: &[i64]) -> Vec<u8> {
    let raw: Vec<u8> = shape.iter().flat_map(|v| v.to_le_bytes()).collect();
    let g = Graph::x_to_y().initializer(tensor("n", 7, &[shape.len() as i64], &raw));
    let g = match op {
        "ConstantOfShape" => g.node(op, &["n"], &["z"], &[]),
        "Expand" | "Tile" => g.node(op, &["x", "n"], &["z"], &[]),
        "Resize" => g.node(op, &["x", "", "", "n"], &["z"], &[]),
        "Pad" => g.node(op, &["x", "n"], &["z"], &[]),
        _ => unreachable!("{op}"),
    };
    let g = g.node("ReduceMax", &["z"], &["m"], &[int("keepdims", 0)]);
    g.node("Add", &["x", "m"], &["y"], &[]).model(13)
}

#[test]
fn a_model_of_200_bytes_cannot_take_the_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("greedy.onnx");
    let cases: [(&str, &[i64]); 12] = [
        // The 287 MB of onnxruntime 28730, and its mutant of 108 PB.
        ("ConstantOfShape", &[71_750_000]),
        ("ConstantOfShape", &[27_000_000_000_000_000]),
        ("ConstantOfShape", &[i64::MAX]),
        ("ConstantOfShape", &[1 << 32, 1 << 32]),
        ("ConstantOfShape", &[1 << 13, 1 << 13]),
        ("Expand", &[1 << 20, 3, 8, 8]),
        ("Expand", &[1 << 60, 3, 8, 8]),
        ("Tile", &[1 << 20, 1, 1, 1]),
        ("Tile", &[1 << 40, 1 << 40, 1, 1]),
        ("Resize", &[1, 3, 1 << 13, 1 << 13]),
        ("Resize", &[1, 3, 1 << 31, 1 << 31]),
        ("Pad", &[0, 0, 1 << 30, 1 << 30, 0, 0, 0, 0]),
    ];
    for (op, shape) in cases {
        let model = greedy(op, shape);
        assert!(model.len() < 250, "{}", model.len());
        std::fs::write(&path, model).unwrap();
        // To be described it needs no memory; to be run it would.
        code_in(under(QUARTER_GIB, "inspect --threads 1", &[&path]), &[0, 3, 4, 6]);
        let ran = under(
            QUARTER_GIB,
            "bench --quiet --threads 1 --runs 1 --warmup 0 --limit-mem 128MiB",
            &[&path],
        );
        let ran = code_in(ran, &[3, 4, 6]);
        assert!(
            ran.stderr.contains("greedy.onnx") || ran.stderr.contains("--limit-mem"),
            "{op} {shape:?}: {}",
            ran.stderr
        );
        // Without a limit of its own, the system's refusal is an answer too.
        let ran = under(
            QUARTER_GIB,
            "bench --quiet --threads 1 --runs 1 --warmup 0",
            &[&path],
        );
        code_in(ran, &[3, 4, 6]);
    }
}

#[test]
fn a_file_larger_than_the_limit_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sparse.onnx");
    std::fs::File::create(&path).unwrap().set_len(3 << 30).unwrap();
    let ran = under(QUARTER_GIB, "inspect", &[&path]).code(6);
    assert!(ran.stderr.contains("sparse.onnx"), "{}", ran.stderr);
    std::fs::File::create(&path).unwrap().set_len(100 << 20).unwrap();
    let ran = under(QUARTER_GIB, "inspect --limit-mem 64MiB", &[&path]).code(6);
    assert!(ran.stderr.contains("--limit-mem"), "{}", ran.stderr);
    under(QUARTER_GIB, "inspect", &[&path]).code(3);
    // Bigger than the address space, below the program's own limit.
    std::fs::File::create(&path).unwrap().set_len(1 << 30).unwrap();
    let ran = code_in(under(QUARTER_GIB, "inspect", &[&path]), &[5, 6]);
    assert!(ran.stderr.contains("sparse.onnx"), "{}", ran.stderr);
    // No end at all.
    let ran = under(QUARTER_GIB, "inspect --limit-mem 64MiB /dev/zero", &[]).code(6);
    assert!(ran.stderr.contains("/dev/zero"), "{}", ran.stderr);
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |mut c, &b| {
        c ^= u32::from(b);
        for _ in 0..8 {
            c = if c & 1 == 1 {
                0xEDB8_8320 ^ (c >> 1)
            } else {
                c >> 1
            };
        }
        c
    })
}

/// Files of 60 to 600 bytes that claim to be large pictures.
fn liars(folder: &Path) -> Vec<PathBuf> {
    let golden = |name: &str| {
        std::fs::read(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../data/tests/goldens")
                .join(name),
        )
        .unwrap()
    };
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    for (w, h) in [
        (65_535u32, 65_535u32),
        (8_000, 8_000),
        (65_535, 1_000),
        (0x7fff_ffff, 1),
        (1, 0x7fff_ffff),
    ] {
        let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        png.extend([w.to_be_bytes(), h.to_be_bytes()].concat());
        png.extend([8, 2, 0, 0, 0]);
        png.extend(crc32(&png[12..29]).to_be_bytes());
        png.extend(b"\0\0\0\x04IDAT\x78\x9c\x03\0");
        all.push((format!("{w}x{h}.png"), png));
        let mut bmp = b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
        bmp.extend([w.to_le_bytes(), h.to_le_bytes()].concat());
        bmp.extend([1, 0, 24, 0]);
        bmp.extend([0; 24]);
        all.push((format!("{w}x{h}.bmp"), bmp));
        let mut jpeg = golden("progressive.jpg");
        let sof = jpeg.windows(2).position(|p| p == [0xff, 0xc2]).unwrap();
        jpeg[sof + 5..sof + 7].copy_from_slice(&(h.min(65_535) as u16).to_be_bytes());
        jpeg[sof + 7..sof + 9].copy_from_slice(&(w.min(65_535) as u16).to_be_bytes());
        jpeg.truncate(700);
        all.push((format!("{w}x{h}.jpg"), jpeg));
        let mut webp = golden("noise.webp");
        webp[21..25].copy_from_slice(&((w & 0x3fff) | (h & 0x3fff) << 14).to_le_bytes());
        webp.truncate(600);
        all.push((format!("{w}x{h}.webp"), webp));
    }
    std::fs::create_dir_all(folder).unwrap();
    let write = |(name, bytes): (String, Vec<u8>)| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    all.into_iter().map(write).collect()
}

#[test]
fn pictures_that_lie_about_their_size_cost_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let folder = dir.path().join("liars");
    let all = liars(&folder);
    let out = dir.path().join("out");
    for path in &all {
        let ran = code_in(
            under(
                QUARTER_GIB,
                "detect --quiet --threads 1 --exist-ok -o",
                &[&out, &model, path],
            ),
            &[3, 6],
        );
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(ran.stderr.contains(&name), "{}", ran.stderr);
    }
    // All at once, as skips, beside one that is right.
    let good = pictures(dir.path(), 1);
    std::fs::copy(good.join("p00.bmp"), folder.join("good.bmp")).unwrap();
    let ran = under(
        QUARTER_GIB,
        "detect --json --threads 1 --allow-skips --exist-ok -o",
        &[&out, &model, &folder],
    )
    .code(0);
    let json = ran.json();
    assert_eq!(json["skipped"].as_u64(), Some(all.len() as u64));
    assert_eq!(json["pictures"].as_array().unwrap().len(), 1);
}

#[test]
fn limits_of_time_and_memory_end_every_command_with_6() {
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let pictures = pictures(dir.path(), 2);
    let data = yolo_data(dir.path(), 2);
    let (file, folder) = (dir.path().join("out.file"), dir.path().join("out"));
    let dash = Path::new("--data");
    let commands: [(&str, &[&Path]); 10] = [
        ("inspect", &[&model]),
        ("export --as float -o", &[&file, &model]),
        (
            "quantize --grid int8 --calib",
            &[&pictures, Path::new("-o"), &file, &model],
        ),
        ("eval --save-json", &[&file, &model, dash, &data]),
        ("detect -o", &[&folder, &model, &pictures]),
        ("detect --allow-skips -o", &[&folder, &model, &pictures]),
        ("compare", &[&model, &model, dash, &data]),
        ("analyze", &[&model, &model, dash, &data]),
        ("bench", &[&model]),
        ("verify", &[&model]),
    ];
    for (words, paths) in commands {
        let (command, flags) = words.split_once(' ').unwrap_or((words, ""));
        let ran = run(
            &format!("{command} --quiet --threads 1 --limit-time 0s {flags}"),
            paths,
        )
        .code(6);
        assert!(ran.stderr.contains("--limit-time"), "{words}: {}", ran.stderr);
        let ran = run(
            &format!("{command} --quiet --threads 1 --limit-mem 1KiB {flags}"),
            paths,
        )
        .code(6);
        assert!(ran.stderr.contains("--limit-mem"), "{words}: {}", ran.stderr);
        assert!(!file.exists() && left_over(dir.path()).is_empty(), "{words}");
    }
    let ran = run(
        "synth --count 100000 --quiet --limit-time 50ms -o",
        &[&dir.path().join("scenes")],
    )
    .code(6);
    assert!(ran.stderr.contains("--limit-time"), "{}", ran.stderr);
    assert!(left_over(dir.path()).is_empty());
}

/// A limit that strikes in the middle of the pictures is no skip of the rest.
#[test]
fn the_time_limit_is_not_a_reason_to_skip_pictures() {
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let pictures = pictures(dir.path(), 1);
    for k in 1..400 {
        std::fs::copy(pictures.join("p00.bmp"), pictures.join(format!("q{k}.bmp"))).unwrap();
    }
    let out = dir.path().join("out");
    for limit in ["60ms", "120ms", "200ms"] {
        let words = format!("detect --quiet --threads 1 --allow-skips --exist-ok --limit-time {limit} -o");
        let ran = code_in(run(&words, &[&out, &model, &pictures]), &[0, 6]);
        if ran.code == Some(0) {
            assert!(ran.stdout.contains("400 pictures, 0 skipped"), "{}", ran.stdout);
        }
    }
}

/// Waits for the end; a program that hangs fails the test instead of it hanging too.
#[track_caller]
fn end_of(mut child: Child) -> Ran {
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("the program did not stop");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ran::of(&child.wait_with_output().unwrap())
}

#[test]
fn signals_at_any_moment_leave_nothing_half_written() {
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let pictures = pictures(dir.path(), 3);
    let data = yolo_data(dir.path(), 3);
    let (file, folder) = (dir.path().join("out.file"), dir.path().join("out"));
    let commands: [(&str, &[&Path]); 4] = [
        (
            "quantize --grid int4 --calib",
            &[&pictures, Path::new("-o"), &file, &model],
        ),
        (
            "eval --resamples 200 --save-json",
            &[&file, &model, Path::new("--data"), &data],
        ),
        ("detect --exist-ok -o", &[&folder, &model, &pictures]),
        (
            "synth --count 40 --width 64 --height 64 --exist-ok -o",
            &[&folder],
        ),
    ];
    let mut seen = std::collections::BTreeMap::new();
    for (words, paths) in commands {
        let (command, flags) = words.split_once(' ').unwrap();
        let words = format!("{command} --quiet --threads 1 {flags}");
        let _ = std::fs::remove_file(&file);
        let start = Instant::now();
        run(&words, paths).code(0);
        let whole_time = start.elapsed();
        let whole = std::fs::read(&file).ok();
        for step in 0..12u32 {
            let (signal, code) = if step % 2 == 0 {
                ("-INT", 130)
            } else {
                ("-TERM", 143)
            };
            let _ = std::fs::remove_file(&file);
            let child = lowbit()
                .args(words.split_whitespace())
                .args(paths)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            std::thread::sleep(whole_time * step / 12);
            let sent = Command::new("kill")
                .args([signal, &child.id().to_string()])
                .stderr(Stdio::null())
                .status();
            sent.unwrap();
            let ran = end_of(child);
            assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
            // None: before the handlers stood. 0: it was done, or past the last point where it asks.
            assert!(
                [None, Some(0), Some(code)].contains(&ran.code),
                "{words}: {:?} {}",
                ran.code,
                ran.stderr
            );
            *seen.entry(ran.code).or_insert(0) += 1;
            let now = std::fs::read(&file).ok();
            assert!(now.is_none() || now == whole, "{words}: a mix after {signal}");
            assert!(ran.code != Some(code) || now.is_none() || ran.stdout.is_empty());
            assert!(left_over(dir.path()).is_empty(), "{words}");
        }
    }
    println!("{seen:?}");
    assert!(seen.contains_key(&Some(130)) && seen.contains_key(&Some(143)));
}

#[test]
fn a_full_disk_leaves_the_old_file_and_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let small = dir.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4k", "none"])
        .arg(&small)
        .stderr(Stdio::null())
        .status();
    if !mounted.is_ok_and(|s| s.success()) {
        println!(
            "SKIPPED a_full_disk_leaves_the_old_file_and_names_it: no right to mount a small file system"
        );
        return;
    }
    let umount = |path: &Path| assert!(Command::new("umount").arg(path).status().unwrap().success());
    let model = small_model("torchscript_conv_bn_silu");
    let output = small.join("out.onnx");
    let result = std::panic::catch_unwind(|| {
        std::fs::write(&output, "old").unwrap();
        let ran = run("export --as float -o", &[&output, &model]).code(5);
        assert!(
            ran.stderr.contains("out.onnx") && ran.stderr.contains("bytes"),
            "{}",
            ran.stderr
        );
        assert_eq!(std::fs::read(&output).unwrap(), b"old");
        assert!(left_over(&small).is_empty());
        let read_only = Command::new("mount")
            .args(["-o", "remount,ro"])
            .arg(&small)
            .status()
            .unwrap();
        assert!(read_only.success());
        let ran = run("export --as float -o", &[&output, &model]).code(5);
        assert!(ran.stderr.contains("out.onnx"), "{}", ran.stderr);
        assert_eq!(std::fs::read(&output).unwrap(), b"old");
    });
    umount(&small);
    result.unwrap();
}

/// RLIMIT_FSIZE sends a signal that kills by default: what quotas of a shared machine look like.
#[test]
fn a_quota_on_file_size_is_an_error_with_5() {
    let dir = tempfile::tempdir().unwrap();
    let model = small_model("torchscript_conv_bn_silu");
    let output = dir.path().join("out.onnx");
    std::fs::write(&output, "old").unwrap();
    // In blocks of 512 bytes, or of 1024: less than the model either way.
    let ran = under("ulimit -f 2", "export --as float -o", &[&output, &model]).code(5);
    assert!(
        ran.stderr.contains("out.onnx") && ran.stderr.contains("bytes"),
        "{}",
        ran.stderr
    );
    assert_eq!(std::fs::read(&output).unwrap(), b"old");
    assert!(left_over(dir.path()).is_empty());
}

#[test]
fn results_on_a_full_stdout_are_an_error_with_5() {
    if !Path::new("/dev/full").exists() {
        println!("SKIPPED results_on_a_full_stdout_are_an_error_with_5: no /dev/full");
        return;
    }
    let model = small_model("torchscript_conv_bn_silu");
    for words in [
        "inspect",
        "inspect --json",
        "quantize --list",
        "quantize --grid int8 --dry-run",
        "quantize --print-config --grid int8",
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = lowbit()
            .args(words.split_whitespace())
            .arg(&model)
            .stdout(full)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let ran = Ran::of(&output).code(5);
        assert!(ran.stderr.contains("stdout"), "{words}: {}", ran.stderr);
    }
    // stderr full: nothing to say it with, but no panic and no lost result.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = lowbit()
        .args(["inspect"])
        .arg(&model)
        .stderr(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = lowbit()
        .args(["inspect", "/nowhere"])
        .stderr(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(5));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let model = small_model("torchscript_conv_bn_silu");
    for words in ["inspect --all", "inspect --json", "quantize --list"] {
        let mut child = lowbit()
            .args(words.split_whitespace())
            .arg(&model)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let ran = end_of(child);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{words}");
    }
}

/// A network whose values of one picture take 28 MB in both networks, on 9 pictures: what does not fit lies in a file, and the result
/// is that of all memory.
#[test]
fn pictures_of_calibration_and_correction_take_the_memory_that_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let floats = |n: usize| -> Vec<u8> {
        (0..n)
            .flat_map(|i| (((i * 7 + 3) % 19) as f32 / 19.0 - 0.5).to_le_bytes())
            .collect()
    };
    let mut g = Graph::default()
        .input(proto::value("x", 1, &[1, 3, 320, 320]))
        .output(proto::value("y", 1, &[1, 6, 2100]))
        .initializer(tensor("w", 1, &[16, 3, 3, 3], &floats(432)))
        .initializer(tensor("v", 1, &[6, 16, 1, 1], &floats(96)))
        .initializer(tensor(
            "rows",
            7,
            &[3],
            &[1i64, 6, -1].map(i64::to_le_bytes).concat(),
        ))
        .node("Conv", &["x", "w"], &["a"], &[proto::ints("pads", &[1, 1, 1, 1])])
        .node("HardSwish", &["a"], &["b"], &[])
        .node("Conv", &["b", "v"], &["c"], &[]);
    for stride in [8, 16, 32] {
        let (pooled, row) = (format!("p{stride}"), format!("r{stride}"));
        let window = ["kernel_shape", "strides"].map(|k| proto::ints(k, &[stride, stride]));
        g = g.node("MaxPool", &["c"], &[&pooled], &window);
        g = g.node("Reshape", &[&pooled, "rows"], &[&row], &[]);
    }
    let g = g.node("Concat", &["r8", "r16", "r32"], &["y"], &[int("axis", 2)]);
    let head = r#"{"name":"wide","family":"yolov8","input":{"name":"x","width":320,"height":320,"color":"RGB","layout":"NCHW","scale":0.00392,
        "mean":[0,0,0],"std":[1,1,1],"resize":"letterbox"},"output":"y","classes":["cat","dog"]}"#;
    std::fs::write(dir.path().join("wide.json"), head).unwrap();
    let model = dir.path().join("wide.onnx");
    std::fs::write(&model, g.model(18)).unwrap();
    let pictures = pictures(dir.path(), 9);
    let (free, tight) = (dir.path().join("free.onnx"), dir.path().join("tight.onnx"));
    let words = "quantize --grid int4 --quiet --threads 1 --calib";
    run(words, &[&pictures, &model, Path::new("-o"), &free]).code(0);
    let words = "quantize --grid int4 --quiet --threads 1 --limit-mem 100MiB --calib";
    // Without the file: 250 MB of values alone.
    let paths: &[&Path] = &[&pictures, &model, Path::new("-o"), &tight];
    under(QUARTER_GIB, words, paths).code(0);
    assert!(std::fs::read(&free).unwrap() == std::fs::read(&tight).unwrap());
}
