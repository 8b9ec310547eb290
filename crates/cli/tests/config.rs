//! Configuration files, lists, dry runs, hostile names.

mod common;

use common::{detector, pictures, run, small_model};

#[test]
fn what_print_config_prints_is_a_configuration_file() {
    let dir = tempfile::tempdir().unwrap();
    let model = small_model("torchscript_conv_bn_silu");
    let words = "quantize --grid lbw4 --rule first=int8 --rule re:^x=float --observer percentile=0.001 --print-config";
    let printed = run(words, &[&model]).code(0).stdout;
    for line in [
        "grid = \"lbw4\"",
        "observer = \"percentile=0.001\"",
        "subset-size = 300",
        "tensor-type = [\"first=int8\", \"re:^x=float\"]",
    ] {
        assert!(printed.contains(line), "{line} is not in\n{printed}");
    }
    let file = dir.path().join("c.toml");
    std::fs::write(&file, &printed).unwrap();
    let again = run("quantize --print-config --config", &[&file, &model])
        .code(0)
        .stdout;
    assert_eq!(again, printed);
    let wins = run("quantize --print-config --grid int8 --config", &[&file, &model])
        .code(0)
        .stdout;
    assert!(wins.contains("grid = \"int8\""), "{wins}");
}

#[test]
fn an_unknown_key_is_an_error_with_the_nearest() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.toml");
    std::fs::write(&file, "act-bit = 4\n").unwrap();
    let ran = run("quantize --grid int8 --config", &[&file]).code(2);
    assert!(
        ran.stderr.contains("did you mean \"act-bits\"?"),
        "{}",
        ran.stderr
    );
}

#[test]
fn list_and_dry_run_need_no_pictures() {
    let list = run("quantize --list", &[]).code(0).stdout;
    for grid in [
        "lbw2", "lbw6", "lbw5-i8", "pow2-4", "ternary", "binary", "int8", "affine3", "apot5",
    ] {
        assert!(list.lines().any(|l| l.starts_with(grid)), "{grid}");
    }
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let ran = run(
        "quantize --grid pow2-3 --dry-run --json --rule first=int8",
        &[&model],
    )
    .code(0);
    let json = ran.json();
    let layers = json["layers"].as_array().unwrap();
    assert!(layers.iter().any(|l| l["grid"] == "pow2-3") && layers.iter().any(|l| l["grid"] == "int8"));
    assert!(json["size"]["bits_per_weight"].as_f64().unwrap() > 3.0);
    let files = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(files, 2, "model and head, nothing was written");
}

#[test]
fn names_from_a_file_cannot_command_a_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.onnx");
    let mut bytes = std::fs::read(small_model("torchscript_conv_bn_silu")).unwrap();
    // The input's name, in all places, becomes an escape sequence of the same length.
    let (from, mut count) = (&b"images"[..], 0);
    for i in 0..bytes.len() - from.len() {
        if &bytes[i..i + from.len()] == from {
            bytes[i..i + from.len()].copy_from_slice(b"\x1b[2Jxy");
            count += 1;
        }
    }
    assert!(count >= 2, "the model's input is named \"images\"");
    std::fs::write(&path, bytes).unwrap();
    for words in [
        "inspect --all",
        "bench --runs 1 --warmup 0 --top 0",
        "verify",
        "inspect --json",
    ] {
        let ran = run(words, &[&path]);
        assert!(
            !ran.stdout.contains('\x1b') && !ran.stderr.contains('\x1b'),
            "{words}: {}",
            ran.stdout
        );
        ran.code(0);
    }
}

#[test]
fn quantize_twice_gives_the_same_bytes_on_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let pictures = pictures(dir.path(), 3);
    let mut files = Vec::new();
    for (k, threads) in ["1", "3"].iter().enumerate() {
        let out = dir.path().join(format!("{k}.onnx"));
        let words = format!("quantize --quiet --threads {threads} --grid lbw4 --calib");
        run(&words, &[&pictures, "-o".as_ref(), &out, &model]).code(0);
        files.push(std::fs::read(out).unwrap());
    }
    assert_eq!(files[0], files[1]);
}
