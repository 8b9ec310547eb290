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

#[test]
fn kernels_are_listed_as_data_and_timed_ones_give_the_scalar_bytes() {
    let listed = run("kernels --json", &[]).code(0).json();
    let listed = listed["kernels"].as_array().unwrap();
    let named = |name: &str| listed.iter().find(|k| k["name"] == name);
    let dense = named("conv_u8s8_avx512vnni_m12n32_nhwc_w8");
    if cfg!(target_arch = "x86_64") {
        let dense = dense.expect("a row of this build, usable or not");
        assert_eq!(dense["tile"], serde_json::json!([12, 32]));
        assert_eq!(
            (&dense["types"], &dense["weights"]),
            (&"u8s8".into(), &"w8".into())
        );
    }
    assert_eq!(listed[0]["isa"], "scalar");
    let timed = run("bench --kernels --json --threads 1", &[]).code(0).json();
    let timed = timed["kernels"].as_array().unwrap();
    let usable = listed.iter().filter(|k| k["usable"] == true).count();
    assert_eq!(timed.len(), usable);
    assert!(timed.iter().all(|k| k["exact"] == true), "{timed:?}");
    run("bench --kernels --worker", &[]).code(2);
}

#[test]
fn layers_say_their_share_of_the_roofline() {
    let model = small_model("qdq_u8_per_channel");
    let ran = run("bench --json --runs 3 --warmup 1 --threads 1 --quiet", &[&model])
        .code(0)
        .json();
    let a = &ran["a"];
    if ran["isa"] == "scalar" {
        assert!(a["ideal_ms"].is_null());
        return;
    }
    let sum: f64 = a["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l["ideal_ms"].as_f64().unwrap())
        .sum();
    let ideal = a["ideal_ms"].as_f64().unwrap();
    assert!(ideal > 0.0 && (sum - ideal).abs() < 1e-9, "{a}");
    let share = ideal / a["stats"]["median_ms"].as_f64().unwrap();
    assert!((share - a["roofline_share"].as_f64().unwrap()).abs() < 1e-9);
    assert!(a["roofline"]["near_gbytes"].as_f64().unwrap() > 0.0);
}
