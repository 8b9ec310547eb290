//! Gains and biases learned over the whole network: what quantization after training does with `--effort best`.

use std::path::PathBuf;

use lowbit::quantize::{Effort, ObserverKind, Quantized};
use lowbit::synth::SynthOptions;
use lowbit::{Choice, Form, Model, QuantizeOptions};

fn silent(_: &str, _: usize, _: usize) {}

fn scenes(count: usize) -> Vec<PathBuf> {
    let folder = testing::scratch("reconstruction");
    let options = SynthOptions {
        seed: 900_000,
        count,
        ..SynthOptions::default()
    };
    lowbit::synth::synth(&folder, &options, &mut silent).unwrap();
    lowbit::pictures::find(&folder, None).unwrap()
}

fn quantized(model: &Model, pictures: &[PathBuf], threads: usize) -> Quantized {
    let options = QuantizeOptions {
        effort: Effort::Best,
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
    let pictures = scenes(24);
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
