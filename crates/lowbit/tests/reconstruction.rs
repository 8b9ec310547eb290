//! What is learned over the whole network after its layers were fitted: gains and biases, which `--effort best` does, and codes.

use std::path::PathBuf;

use lowbit::quantize::{Effort, Learn, ObserverKind, Quantized};
use lowbit::synth::SynthOptions;
use lowbit::{Choice, Form, Model, QuantizeOptions};

fn silent(_: &str, _: usize, _: usize) {}

fn scenes(name: &str, count: usize) -> Vec<PathBuf> {
    let folder = testing::scratch(name);
    let options = SynthOptions {
        seed: 900_000,
        count,
        ..SynthOptions::default()
    };
    lowbit::synth::synth(&folder, &options, &mut silent).unwrap();
    lowbit::pictures::find(&folder, None).unwrap()
}

fn quantized(model: &Model, pictures: &[PathBuf], threads: usize) -> Quantized {
    learned(model, pictures, threads, (Effort::Best, None))
}

fn learned(
    model: &Model,
    pictures: &[PathBuf],
    threads: usize,
    (effort, learn): (Effort, Option<Learn>),
) -> Quantized {
    let options = QuantizeOptions {
        effort,
        learn,
        observer: Some(ObserverKind::Mse),
        equalization: false,
        threads,
        ..QuantizeOptions::new(Choice::Grid("int3".parse().unwrap()), pictures.to_vec())
    };
    lowbit::quantize(model, &options, &mut silent).unwrap()
}

#[test]
fn gains_and_biases_learned_together_bring_detections_nearer_on_pictures_that_were_kept_apart() {
    let float = &lowbit::demo::models().unwrap()[0].1;
    let pictures = scenes("reconstruction", 24);
    let one = quantized(float, &pictures, 2);
    let learned = one.report.learned.as_ref().unwrap();
    // What decides is the detections: of the raw outputs nearly all are background, which the loss leaves out.
    assert!(
        learned.kept && learned.agreement[1] > learned.agreement[0],
        "{learned:?}"
    );
    assert!(
        learned.output_error[1] < 1.2 * learned.output_error[0],
        "{learned:?}"
    );
    // The report is of the network that is written.
    assert!(
        one.report.output_error.unwrap() < 2.0 * learned.output_error[0],
        "{learned:?}"
    );
    // The same bytes whatever the threads.
    let bytes = |q: &Quantized| q.model.to_onnx(Form::Packed).unwrap();
    assert!(bytes(&one) == bytes(&quantized(float, &pictures, 1)));
}

/// Learned rounding: codes move to the next level, and are taken where detections agree better only.
#[test]
fn codes_are_learned_where_that_is_asked_for_and_taken_where_they_are_better() {
    let float = &lowbit::demo::models().unwrap()[0].1;
    let pictures = scenes("codes", 16);
    let of = |learn| learned(float, &pictures, 2, (Effort::Good, learn));
    let plain = of(None);
    assert_eq!(
        (plain.report.settings.learn.as_str(), &plain.report.learned),
        ("nothing", &None)
    );
    let one = of(Some(Learn::Codes));
    assert_eq!(one.report.settings.learn, "codes");
    let found = one.report.learned.as_ref().unwrap();
    let weights = one.report.size.weights;
    assert!(
        found.what == Learn::Codes && found.codes_changed > 0 && found.codes_changed < weights / 4,
        "{found:?} of {weights}"
    );
    assert_eq!(found.kept, found.agreement[1] > found.agreement[0], "{found:?}");
    let codes = |q: &Quantized| -> Vec<Vec<u8>> {
        let all = q.model.graph().weights.values();
        all.map(|w| w.points[0].codes.clone()).collect()
    };
    // Those of error feedback, or as many others as the report says.
    let (a, b) = (codes(&plain), codes(&one));
    let others: usize = a
        .iter()
        .zip(&b)
        .map(|(a, b)| a.iter().zip(b).filter(|(a, b)| a != b).count())
        .sum();
    assert_eq!(others, if found.kept { found.codes_changed } else { 0 });
    // Learning begins at corrected layers.
    let options = QuantizeOptions {
        learn: Some(Learn::Gains),
        correction: false,
        ..QuantizeOptions::new(Choice::Grid("int3".parse().unwrap()), pictures.clone())
    };
    let refused = lowbit::quantize(float, &options, &mut silent).unwrap_err();
    assert!(refused.to_string().contains("corrected layers"), "{refused}");
}
