//! Each documented exit code, from the real binary; stdout carries results only.

mod common;

use std::path::Path;
use std::process::Stdio;

use common::{Ran, detector, lowbit, run, small_model};

#[test]
fn code_0_done_and_stdout_is_the_result_alone() {
    let ran = run("doctor --json --threads 1", &[]).code(0);
    let json = ran.json();
    for key in [
        "schema_version",
        "tool_version",
        "git",
        "cpu",
        "isa",
        "threads",
        "seed",
        "model_sha256",
        "data_sha256",
    ] {
        assert!(json.get(key).is_some(), "{key} is missing");
    }
    assert_eq!(json["threads"], 1);
    assert_eq!(ran.stderr, "");
    let help = run("--help", &[]).code(0);
    assert!(help.stdout.contains("Exit codes"), "{}", help.stdout);
    assert!(
        run("quantize --help", &[])
            .code(0)
            .stdout
            .contains("[default: 300]")
    );
}

#[test]
fn code_1_a_gate_said_no() {
    let model = small_model("torchscript_conv_bn_silu");
    let words = "bench --runs 3 --warmup 1 --threads 1 --quiet --max-ratio 0.0000001 --vs";
    let ran = run(words, &[&model, &model]).code(1);
    assert!(ran.stderr.contains("gate: the ratio is"), "{}", ran.stderr);
    assert!(
        ran.stdout.contains("median"),
        "the result is printed all the same"
    );
}

#[test]
fn code_2_wrong_usage() {
    let model = small_model("torchscript_conv_bn_silu");
    run("frobnicate", &[]).code(2);
    run("doctor --thread 3", &[]).code(2);
    run("doctor --limit-mem 3furlongs", &[]).code(2);
    let ran = run("doctor --threads 100000", &[]).code(2);
    assert!(ran.stderr.contains("0…1024"), "{}", ran.stderr);
    let ran = run("quantize --grid lbw9", &[&model]).code(2);
    assert!(ran.stderr.contains("did you mean \"lbw"), "{}", ran.stderr);
    let ran = run("quantize --grid int8", &[&model]).code(2);
    assert!(ran.stderr.contains("--calib"), "{}", ran.stderr);
    let ran = Ran::of(&lowbit().arg("doctor").env("LOWBIT_ISA", "avx9").output().unwrap()).code(2);
    assert!(ran.stderr.contains("LOWBIT_ISA"), "{}", ran.stderr);
    let ran = run("export --as float -o", &[&model, &model]).code(2);
    assert!(ran.stderr.contains("never overwritten"), "{}", ran.stderr);
}

#[test]
fn code_3_bad_input_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("garbage.onnx");
    std::fs::write(&path, b"\xff\xff\xff\xff garbage").unwrap();
    let ran = run("inspect", &[&path]).code(3);
    assert!(ran.stderr.contains("garbage.onnx"), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
    let head = dir.path().join("head.json");
    std::fs::write(&head, "{\"family\": \"yolov3\", \"nmae\": 1}").unwrap();
    let model = small_model("torchscript_conv_bn_silu");
    let ran = run("inspect --head", &[&head, &model]).code(3);
    assert!(ran.stderr.contains("head.json"), "{}", ran.stderr);
    let broken = dir.path().join("picture.jpg");
    std::fs::write(&broken, b"\xff\xd8\xff\xe0 no jpeg").unwrap();
    let model = detector(dir.path());
    run("detect --quiet -o", &[&dir.path().join("out"), &model, &broken]).code(3);
}

#[test]
fn code_4_unsupported_says_the_way_round() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("old.onnx");
    // IR version 8, opset 6, an empty graph.
    std::fs::write(&path, [0x08, 8, 0x42, 2, 0x10, 6, 0x3A, 0]).unwrap();
    let ran = run("inspect", &[&path]).code(4);
    assert!(ran.stderr.contains("opset 6"), "{}", ran.stderr);
    assert!(ran.stderr.contains("convert the model"), "{}", ran.stderr);
}

#[test]
fn code_5_input_or_output_failed() {
    let ran = run("inspect /nowhere/model.onnx", &[]).code(5);
    assert!(ran.stderr.contains("/nowhere/model.onnx"), "{}", ran.stderr);
    let model = small_model("torchscript_conv_bn_silu");
    let ran = run("export --as float -o /nowhere/out.onnx", &[&model]).code(5);
    assert!(ran.stderr.contains("/nowhere"), "{}", ran.stderr);
    if Path::new("/dev/full").exists() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = lowbit()
            .arg("doctor")
            .stdout(Stdio::from(full))
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        Ran::of(&output).code(5);
    }
}

#[test]
fn code_6_a_limit_was_reached() {
    let model = small_model("torchscript_conv_bn_silu");
    let ran = run("inspect --limit-mem 100", &[&model]).code(6);
    assert!(ran.stderr.contains("--limit-mem"), "{}", ran.stderr);
    let ran = run("bench --runs 1000000 --quiet --limit-time 50ms", &[&model]).code(6);
    assert!(ran.stderr.contains("time limit"), "{}", ran.stderr);
}

#[cfg(unix)]
#[test]
fn codes_130_and_143_signals_stop_the_work() {
    let model = small_model("torchscript_conv_bn_silu");
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let child = lowbit()
            .args(["bench", "--runs", "100000000", "--quiet", "--threads", "1"])
            .arg(&model)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The handlers are installed first thing; a signal before them would end the process with none of our codes.
        std::thread::sleep(std::time::Duration::from_millis(700));
        let status = std::process::Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
        let ran = Ran::of(&child.wait_with_output().unwrap()).code(code);
        assert!(
            ran.stderr.contains("no file was changed") || ran.stderr.contains("cancelled"),
            "{}",
            ran.stderr
        );
        assert_eq!(ran.stdout, "");
    }
}
