//! Resize and its ancestor Upsample.

use tensor::Tensor;

use super::{Context, Parsed, Row, row};
use crate::onnx::error::{Load, LoadError};
use crate::onnx::write::NodeWriter;
use crate::op::{CoordinateTransform, NearestMode, Op, Resize, ResizeMode};

pub(super) const ROWS: &[Row] = &[
    row("Resize", (1, 4), (1, 1), |c| {
        if c.opset < 11 { upsample(c) } else { resize(c) }
    }),
    row("Upsample", (1, 2), (1, 1), upsample),
];

const MODES: [(&str, ResizeMode); 3] = [
    ("nearest", ResizeMode::Nearest),
    ("linear", ResizeMode::Linear),
    // The name in old files.
    ("bilinear", ResizeMode::Linear),
];

/// `Upsample` and `Resize` of opset 10: x and scales, plain division of coordinates, rounding down.
fn upsample(c: &mut Context<'_, '_, '_>) -> Load<Parsed> {
    let mode = c.attrs.choice("mode", "nearest", &MODES)?;
    if let Some(scales) = c.attrs.floats("scales")?.map(<[f32]>::to_vec) {
        c.set_constant(1, "scales", Tensor::vector(scales));
    }
    let (Some(x), Some(scales), 2) = (c.input(0), c.input(1), c.inputs.len()) else {
        return Err(LoadError::bad("scales are missing"));
    };
    c.inputs = vec![Some(x), None, Some(scales)];
    Ok(Op::Resize(Resize {
        mode,
        coordinates: CoordinateTransform::Asymmetric,
        nearest: NearestMode::Floor,
        axes: Vec::new(),
    })
    .into())
}

fn resize(c: &mut Context<'_, '_, '_>) -> Load<Parsed> {
    // Cubic interpolation and extrapolation are refused below, so these have no effect.
    c.attrs.ignore("cubic_coeff_a");
    c.attrs.ignore("extrapolation_value");
    let mode = c.attrs.choice("mode", "nearest", &MODES)?;
    let nearest_modes = [
        ("round_prefer_floor", NearestMode::RoundPreferFloor),
        ("round_prefer_ceil", NearestMode::RoundPreferCeil),
        ("floor", NearestMode::Floor),
        ("ceil", NearestMode::Ceil),
    ];
    let nearest = c
        .attrs
        .choice("nearest_mode", "round_prefer_floor", &nearest_modes)?;
    let transforms = [
        ("half_pixel", Some(CoordinateTransform::HalfPixel)),
        (
            "half_pixel_symmetric",
            Some(CoordinateTransform::HalfPixelSymmetric),
        ),
        ("pytorch_half_pixel", Some(CoordinateTransform::PytorchHalfPixel)),
        ("align_corners", Some(CoordinateTransform::AlignCorners)),
        ("asymmetric", Some(CoordinateTransform::Asymmetric)),
        ("tf_half_pixel_for_nn", None),
    ];
    let transform = c
        .attrs
        .choice("coordinate_transformation_mode", "half_pixel", &transforms)?;
    // (x + 0.5)·s rounded down is ((x + 0.5)·s − 0.5) rounded to nearest, halves up.
    let (coordinates, nearest) = match (transform, mode, nearest) {
        (Some(t), _, n) => (t, n),
        (None, ResizeMode::Nearest, NearestMode::Floor) => {
            (CoordinateTransform::HalfPixel, NearestMode::RoundPreferCeil)
        }
        (None, ..) => {
            return Err(LoadError::unsupported(
                "tf_half_pixel_for_nn is supported with mode nearest and nearest_mode floor alone",
            ));
        }
    };
    for name in ["exclude_outside", "antialias"] {
        if c.attrs.flag(name, false)? {
            return Err(LoadError::unsupported(format!("{name} = 1 is not supported")));
        }
    }
    c.attrs
        .choice("keep_aspect_ratio_policy", "stretch", &[("stretch", ())])?;
    let axes = c.attrs.ints("axes")?.map(<[i64]>::to_vec).unwrap_or_default();

    // The region of interest has no effect here; opset 11 spells an absent input as an empty tensor.
    let present = |i| c.input(i).filter(|_| c.constant(i).is_none_or(|t| !t.is_empty()));
    let (scales, sizes) = (present(2), present(3));
    c.inputs = match (c.input(0), scales, sizes) {
        (x, Some(scales), None) => vec![x, None, Some(scales)],
        (x, None, Some(sizes)) => vec![x, None, None, Some(sizes)],
        (_, None, None) => return Err(LoadError::bad("neither scales nor sizes are given")),
        (_, Some(_), Some(_)) => return Err(LoadError::bad("both scales and sizes are given")),
    };
    Ok(Op::Resize(Resize {
        mode,
        coordinates,
        nearest,
        axes,
    })
    .into())
}

pub(super) fn write(op: &Op, node: &mut NodeWriter<'_>) {
    let Op::Resize(resize) = op else { return };
    let mode = match resize.mode {
        ResizeMode::Nearest => "nearest",
        ResizeMode::Linear => "linear",
    };
    let coordinates = match resize.coordinates {
        CoordinateTransform::HalfPixel => "half_pixel",
        CoordinateTransform::HalfPixelSymmetric => {
            node.needs_opset(19);
            "half_pixel_symmetric"
        }
        CoordinateTransform::PytorchHalfPixel => "pytorch_half_pixel",
        CoordinateTransform::AlignCorners => "align_corners",
        CoordinateTransform::Asymmetric => "asymmetric",
    };
    let nearest = match resize.nearest {
        NearestMode::RoundPreferFloor => "round_prefer_floor",
        NearestMode::RoundPreferCeil => "round_prefer_ceil",
        NearestMode::Floor => "floor",
        NearestMode::Ceil => "ceil",
    };
    node.string("mode", mode);
    node.string("coordinate_transformation_mode", coordinates);
    node.string("nearest_mode", nearest);
    if !resize.axes.is_empty() {
        node.ints("axes", &resize.axes);
    }
}
