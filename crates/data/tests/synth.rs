//! Synthetic scenes: the same everywhere, with boxes that fit.

use data::synth::{self, NAMES, Options};
use tasks::detect::Status;

/// FNV-1a of pixels.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3)
    })
}

const SMALL: Options = Options {
    width: 160,
    height: 120,
    max_objects: 10,
};

/// These numbers may change only together with `synth::VERSION`.
#[test]
fn the_same_bytes_on_every_platform() {
    assert_eq!(synth::VERSION, 1);
    let of = |seed, index, options: Options| {
        let (picture, objects) = synth::scene(seed, index, &options);
        (hash(picture.rgb()), objects.len())
    };
    let got = [
        of(1, 0, SMALL),
        of(1, 1, SMALL),
        of(u64::MAX, u64::MAX, SMALL),
        of(7, 3, Options::default()),
    ];
    assert_eq!(got, GOLDEN, "{got:#x?}");
    // Asked again, after others, in another order: nothing is remembered.
    assert_eq!(of(1, 0, SMALL), GOLDEN[0]);
}

const GOLDEN: [(u64, usize); 4] = [
    (0x7eea_8034_95a5_f56b, 6),
    (0x909d_e191_2789_f066, 2),
    (0xde11_8899_aebc_3041, 4),
    (0xb3ac_c4bf_9d86_7b12, 10),
];

#[test]
fn boxes_lie_inside_and_all_classes_occur() {
    let mut counts = [0; NAMES.len()];
    let (mut empty, mut difficult, mut total) = (0, 0, 0);
    for index in 0..60 {
        let (picture, objects) = synth::scene(5, index, &SMALL);
        assert_eq!((picture.width(), picture.height()), (160, 120));
        assert!(objects.len() <= SMALL.max_objects);
        empty += usize::from(objects.is_empty());
        for o in &objects {
            let b = o.bbox;
            assert!(
                b.x1 >= 0.0 && b.y1 >= 0.0 && b.x2 <= 160.0 && b.y2 <= 120.0 && b.area() > 0.0,
                "{b:?}"
            );
            assert!([b.x1, b.y1, b.x2, b.y2].iter().all(|v| v.fract() == 0.0));
            counts[o.class] += 1;
            difficult += usize::from(o.status == Status::Difficult);
            total += 1;
        }
    }
    assert!(counts.iter().all(|n| *n >= 10), "{counts:?}");
    assert!(
        empty <= 3 && difficult * 4 < total,
        "{empty} empty, {difficult} of {total} difficult"
    );
}

#[test]
fn sizes_out_of_range_are_brought_into_it() {
    let (p, objects) = synth::scene(
        0,
        0,
        &Options {
            width: 0,
            height: 1,
            max_objects: 0,
        },
    );
    assert_eq!((p.width(), p.height()), (32, 32));
    assert!(objects.len() <= 1);
    let (_, objects) = synth::scene(
        0,
        0,
        &Options {
            width: 64,
            height: 64,
            max_objects: usize::MAX,
        },
    );
    assert!(objects.len() <= 64);
}
