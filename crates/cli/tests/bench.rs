//! `bench` as harnesses use it.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

use common::{Ran, lowbit, run, small_model};
use serde_json::Value;

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn line(child: &mut Child, reader: &mut impl BufRead) -> Value {
    let mut text = String::new();
    reader.read_line(&mut text).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text} {:?}", child.try_wait()))
}

#[test]
fn a_worker_answers_every_number_with_as_many_times_and_leaves_its_outputs() {
    let dir = tempfile::tempdir().unwrap();
    let model = small_model("torchscript_conv_bn_silu");
    let loaded = lowbit::Model::load(&model, &lowbit::LoadOptions::default()).unwrap();
    let (name, _, shape) = loaded.inputs().unwrap().remove(0);
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|i| (i % 17) as f32 / 17.0)
        .collect();
    let (input, output) = (dir.path().join("in.bin"), dir.path().join("out.bin"));
    std::fs::write(&input, bytes(&values)).unwrap();
    let mut child = lowbit()
        .args(["bench", "--worker", "--quiet", "--threads", "2", "--input"])
        .arg(&input)
        .arg("--output")
        .arg(&output)
        .arg(&model)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let ready = line(&mut child, &mut reader);
    let number = |v: &Value, key: &str| v[key].as_f64().unwrap_or_else(|| panic!("{key} of {v}"));
    assert!(number(&ready, "first_ms") >= number(&ready, "load_ms"));
    assert!(
        ready["rss_mb"].is_number() || !cfg!(target_os = "linux"),
        "{ready}"
    );

    let x = lowbit::Tensor::new(shape, values).unwrap();
    let runner = lowbit::Runner::new(&loaded, &lowbit::RunOptions::default()).unwrap();
    let want: Vec<f32> = runner
        .run(&[(&name, &x)])
        .unwrap()
        .iter()
        .flat_map(|(_, t)| t.as_f32().unwrap().to_vec())
        .collect();
    assert!(!want.is_empty() && std::fs::read(&output).unwrap() == bytes(&want));

    let mut stdin = child.stdin.take().unwrap();
    for runs in [1usize, 5, 0, 2] {
        writeln!(stdin, "{runs}").unwrap();
        let answer = line(&mut child, &mut reader);
        let times = answer["ms"].as_array().unwrap();
        assert_eq!(times.len(), runs);
        assert!(times.iter().all(|t| t.as_f64().unwrap() > 0.0), "{answer}");
    }
    drop(stdin);
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut reader, &mut rest).unwrap();
    assert_eq!(rest, "");
    Ran::of(&child.wait_with_output().unwrap()).code(0);
}

#[test]
fn a_worker_refuses_what_is_no_input_and_no_number() {
    let dir = tempfile::tempdir().unwrap();
    let model = small_model("torchscript_conv_bn_silu");
    let input = dir.path().join("in.bin");
    std::fs::write(&input, [0u8; 13]).unwrap();
    let ran = run("bench --worker --quiet --input", &[&input, &model]).code(3);
    assert!(
        ran.stderr.contains("in.bin") && ran.stderr.contains("13 bytes"),
        "{}",
        ran.stderr
    );
    let mut child = lowbit()
        .args(["bench", "--worker", "--quiet"])
        .arg(&model)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"many\n").unwrap();
    let ran = Ran::of(&child.wait_with_output().unwrap()).code(2);
    assert!(ran.stderr.contains("\"many\""), "{}", ran.stderr);
    run("bench --input", &[&input, &model]).code(2);
    let ran = run("bench", &[]).code(2);
    assert!(ran.stderr.contains("needs a model"), "{}", ran.stderr);
}
