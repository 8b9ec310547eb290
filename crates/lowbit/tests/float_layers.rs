//! Early layers that stay float: on UltraFace the rounding of the first convolution's output makes two fifths of the outputs' error.

use lowbit::quantize::{ObserverKind, QuantizeReport, Rounding};
use lowbit::{Choice, LoadOptions, Model, QuantizeOptions};

fn report(model: &Model, pictures: &[std::path::PathBuf], grid: &str, integer_only: bool) -> QuantizeReport {
    let options = QuantizeOptions {
        observer: Some(ObserverKind::Mse),
        rounding: Some(Rounding::Nearest),
        integer_only,
        ..QuantizeOptions::new(Choice::Grid(grid.parse().unwrap()), pictures.to_vec())
    };
    let quantized = lowbit::quantize(model, &options, &mut |_: &str, _, _| {});
    quantized.unwrap().report
}

#[test]
fn the_reader_of_the_worst_edge_stays_float_at_8_bits_unless_integers_alone_are_asked_for() {
    let Some(data) = testing::data("float_layers") else {
        return;
    };
    let path = data.join("models/ultraface_rfb_320.onnx");
    let model = Model::load(&path, &LoadOptions::default()).unwrap();
    let pictures = lowbit::pictures::find(&data.join("pictures/voc"), Some("train")).unwrap();
    let pictures = lowbit::pictures::spread(&pictures, 6);
    let kept = report(&model, &pictures, "int8", false);
    assert!(
        kept.settings.float_layers.contains(&"248".to_string()),
        "{:?}",
        kept.settings
    );
    let layer = kept.layers.iter().find(|l| l.name == "248").unwrap();
    assert!(layer.grid == "float" && layer.reason.as_ref().unwrap().contains("its input"));
    // The first edge makes most of the error.
    let rounds: Vec<_> = kept.tried.iter().filter(|t| !t.float_layers.is_empty()).collect();
    assert_eq!(rounds[0].float_layers, ["248"]);
    let without = report(&model, &pictures, "int8", true);
    assert!(without.settings.float_layers.is_empty());
    assert!(without.layers.iter().all(|l| l.grid == "int8"));
    assert!(kept.output_error.unwrap() < 0.9 * without.output_error.unwrap());
    // With 4 bits the weights' own error is far larger than that of any edge.
    assert!(
        report(&model, &pictures, "int4", false)
            .settings
            .float_layers
            .is_empty()
    );
}
