//! What is written is read, and other programs agree.

mod common;

use std::ffi::OsStr;

use graph::onnx::{Form, ReadOptions, WriteOptions, read, read_file, write};

#[test]
fn every_shared_model_comes_back() {
    let test = "every_shared_model_comes_back";
    let Some(models) = testing::models(test) else {
        return;
    };
    let folder = common::scratch(test);
    let options = WriteOptions {
        form: Form::Float,
        producer_version: "test".into(),
    };
    let mut pairs = Vec::new();
    for path in &models {
        let first = read_file(path, &ReadOptions::default()).unwrap_or_else(|e| panic!("{e}"));
        let bytes = write(&first, &options).unwrap();
        assert_eq!(write(&first, &options).unwrap(), bytes, "{}", path.display());
        let second = read(&bytes, &ReadOptions::default()).unwrap_or_else(|e| panic!("{e}"));
        let (a, b) = (common::canonical(&first), common::canonical(&second));
        if let Some((a, b)) = a.iter().zip(&b).find(|(a, b)| a != b) {
            panic!("{}:\n{a:.2000}\n{b:.2000}", path.display());
        }
        assert_eq!(a.len(), b.len(), "{}", path.display());
        // From here on nothing changes any more.
        assert_eq!(write(&second, &options).unwrap(), bytes, "{}", path.display());
        let copy = folder.join(path.file_name().unwrap());
        std::fs::write(&copy, bytes).unwrap();
        // A float16 model becomes float32: another program, compared by the oracle's tests.
        if !path.to_string_lossy().contains("f16") {
            pairs.extend([path.clone(), copy]);
        }
    }
    // Another opset may choose another kernel, hence another order of float sums.
    let mut arguments: Vec<&OsStr> = vec![OsStr::new("4e-6")];
    arguments.extend(pairs.iter().map(|p| p.as_os_str()));
    if let Some(report) = common::python(test, "tests/python/same_outputs.py", &arguments) {
        println!("{report}");
    }
}
