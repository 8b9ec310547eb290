//! Affine maps: the vectors of the method (`vectors/affine3d.json`: numbers of an independent program), and laws over all maps.

use proptest::prelude::*;
use quant::affine_map::{AffineMap, LayerEnd, Norm, most_taps};
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/affine3d.json")).unwrap()
}

fn reals(v: &Value) -> Vec<f64> {
    v.as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap())
        .collect()
}

fn codes(v: &Value) -> Vec<u8> {
    v.as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_u64().unwrap() as u8)
        .collect()
}

fn integers(v: &Value) -> Vec<i64> {
    v.as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_i64().unwrap())
        .collect()
}

fn map(v: &Value, scale: &str, offset: &str, bits: u32) -> AffineMap {
    AffineMap {
        scale: v[scale].as_f64().unwrap(),
        offset: v[offset].as_f64().unwrap(),
        bits,
    }
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * a.abs().max(b.abs()).max(1.0)
}

#[test]
fn codes_values_and_slopes_are_the_published_ones() {
    for case in vectors()["quantizer"].as_array().unwrap() {
        let map = map(case, "s", "b", case["bits"].as_u64().unwrap() as u32);
        let [v, xhat, dx, ds, db] =
            ["v", "xhat", "dxhat_dx", "dxhat_ds", "dxhat_db"].map(|k| reals(&case[k]));
        for (i, &x) in reals(&case["x"]).iter().enumerate() {
            let (code, slopes) = (map.code(x), map.slopes(x));
            assert_eq!(code, codes(&case["q"])[i], "{x}");
            for (have, want) in [
                (map.position(x), v[i]),
                (map.value(code), xhat[i]),
                (slopes.x, dx[i]),
                (slopes.scale, ds[i]),
                (slopes.offset, db[i]),
            ] {
                assert!(close(have, want), "{x}: {have} {want}");
            }
        }
    }
}

#[test]
fn a_map_by_its_ends_has_the_published_slopes() {
    let case = &vectors()["range_param"];
    let end = |k: &str| case[k].as_f64().unwrap();
    let map = AffineMap::of_range(end("lo"), end("hi"), case["bits"].as_u64().unwrap() as u32);
    let [xhat, low, high] = ["xhat", "d_dlo", "d_dhi"].map(|k| reals(&case[k]));
    for (i, &x) in reals(&case["x"]).iter().enumerate() {
        let slopes = map.slopes(x).of_range(map.top());
        assert!(close(map.value(map.code(x)), xhat[i]));
        assert!(
            close(slopes.0, low[i]) && close(slopes.1, high[i]),
            "{x}: {slopes:?}"
        );
    }
}

#[test]
fn a_dot_product_of_values_is_that_of_codes_with_three_corrections() {
    let case = &vectors()["dot"];
    let (a, w) = (map(case, "s_a", "b_a", 4), map(case, "s_w", "b_w", 2));
    let (q, p) = (codes(&case["q"]), codes(&case["p"]));
    let sum = |v: &[u8]| v.iter().map(|&c| i64::from(c)).sum::<i64>();
    let acc: i64 = q.iter().zip(&p).map(|(&q, &p)| i64::from(q) * i64::from(p)).sum();
    assert_eq!(
        [acc, sum(&q), sum(&p)],
        ["acc", "sum_q", "sum_p"].map(|k| case[k].as_i64().unwrap())
    );
    let y = combined(&a, &w, acc, sum(&q), sum(&p), q.len() as i64);
    let real: f64 = q.iter().zip(&p).map(|(&q, &p)| a.value(q) * w.value(p)).sum();
    assert!(close(y, case["y"].as_f64().unwrap()) && close(y, real));
    assert_eq!(case["acc_max"].as_i64().unwrap(), q.len() as i64 * 15 * 3);
}

/// Σ x̂·ŵ of the four integers.
fn combined(a: &AffineMap, w: &AffineMap, acc: i64, inputs: i64, weights: i64, taps: i64) -> f64 {
    let [acc, inputs, weights, taps] = [acc, inputs, weights, taps].map(|i| i as f64);
    a.scale * w.scale * acc
        + a.scale * w.offset * inputs
        + w.scale * a.offset * weights
        + taps * a.offset * w.offset
}

/// acc, Sq, Sp and n of a 3 × 3 × 3 convolution over `[channels, side, side, side]` at one voxel: of the taps inside, or of all where `pad` is the code outside.
fn sums(q: &[u8], p: &[u8], channels: usize, side: usize, at: [usize; 3], pad: Option<u8>) -> [i64; 4] {
    let mut out = [0; 4];
    for c in 0..channels {
        for tap in 0..27 {
            let k = [tap / 9, tap / 3 % 3, tap % 3];
            let inside = (0..3).all(|d| (1..=side).contains(&(at[d] + k[d])));
            let code = match (inside, pad) {
                (true, _) => {
                    q[((c * side + at[0] + k[0] - 1) * side + at[1] + k[1] - 1) * side + at[2] + k[2] - 1]
                }
                (false, Some(code)) => code,
                (false, None) => continue,
            };
            let (x, w) = (i64::from(code), i64::from(p[c * 27 + tap]));
            for (sum, term) in out.iter_mut().zip([x * w, x, w, 1]) {
                *sum += term;
            }
        }
    }
    out
}

fn voxels(side: usize) -> impl Iterator<Item = [usize; 3]> {
    (0..side.pow(3)).map(move |i| [i / (side * side), i / side % side, i % side])
}

#[test]
fn a_convolution_that_counts_its_taps_has_the_published_integers_and_sums() {
    let case = &vectors()["conv3d"];
    let (a, w) = (map(case, "s_a", "b_a", 4), map(case, "s_w", "b_w", 4));
    let (q, p) = (codes(&case["q"]), codes(&case["p"]));
    let want = ["acc", "sum_q", "sum_p_valid", "count_valid"].map(|k| integers(&case[k]));
    let mut y = Vec::new();
    for o in 0..3 {
        let own = &p[o * 54..(o + 1) * 54];
        for (i, at) in voxels(4).enumerate() {
            let have = sums(&q, own, 2, 4, at, None);
            let [acc, inputs, weights, taps] =
                [want[0][o * 64 + i], want[1][i], want[2][o * 64 + i], want[3][i]];
            assert_eq!(have, [acc, inputs, weights, taps], "{o} {at:?}");
            let real = real_sum(&a, &w, &q, own, at);
            y.push(combined(&a, &w, acc, inputs, weights, taps));
            assert!(close(y[y.len() - 1], real), "{o} {at:?}");
        }
    }
    assert!(
        reals(&case["y_first8"])
            .iter()
            .zip(&y)
            .all(|(a, b)| close(*a, *b))
    );
    assert!((y.iter().sum::<f64>() - case["y_sum"].as_f64().unwrap()).abs() < 1e-9);
}

/// The convolution of decoded values with real zeros around.
fn real_sum(a: &AffineMap, w: &AffineMap, q: &[u8], p: &[u8], at: [usize; 3]) -> f64 {
    let mut sum = 0.0;
    for c in 0..2 {
        for tap in 0..27 {
            let k = [tap / 9, tap / 3 % 3, tap % 3];
            if (0..3).all(|d| (1..=4).contains(&(at[d] + k[d]))) {
                let x = q[((c * 4 + at[0] + k[0] - 1) * 4 + at[1] + k[1] - 1) * 4 + at[2] + k[2] - 1];
                sum += a.value(x) * w.value(p[c * 27 + tap]);
            }
        }
    }
    sum
}

/// Snap and count, the two ways to pad, on constant and random inputs: at the border and inside they give the convolution with real zeros around.
#[test]
fn both_ways_to_pad_are_the_convolution_with_zeros_around() {
    let case = &vectors()["conv3d"];
    let (a, w) = (map(case, "s_a", "b_a", 4), map(case, "s_w", "b_w", 4));
    let p = codes(&case["p"]);
    for q in [vec![9u8; 128], codes(&case["q"])] {
        let (zero, snapped) = a.with_zero();
        assert_eq!(u64::from(zero), case["zero_code"].as_u64().unwrap());
        assert_eq!(snapped.value(zero), 0.0);
        for at in voxels(4) {
            let [acc, inputs, weights, taps] = sums(&q, &p[..54], 2, 4, at, None);
            assert!(close(
                combined(&a, &w, acc, inputs, weights, taps),
                real_sum(&a, &w, &q, &p[..54], at)
            ));
            let [acc, inputs, weights, taps] = sums(&q, &p[..54], 2, 4, at, Some(zero));
            assert_eq!(taps, 54, "the same everywhere");
            assert!(close(
                combined(&snapped, &w, acc, inputs, weights, taps),
                real_sum(&snapped, &w, &q, &p[..54], at)
            ));
        }
    }
}

#[test]
fn the_end_of_a_layer_is_batch_norm_relu_and_encode() {
    let all = vectors();
    let (conv, case) = (&all["conv3d"], &all["requant"]);
    let zero = conv["zero_code"].as_u64().unwrap() as u8;
    let (_, input) = map(conv, "s_a", "b_a", 4).with_zero();
    let weight = map(conv, "s_w", "b_w", 4);
    let next = AffineMap {
        scale: case["s_out"].as_f64().unwrap(),
        offset: 0.0,
        bits: case["bits_out"].as_u64().unwrap() as u32,
    };
    let (q, p, want) = (
        codes(&case["q_zero_padded"]),
        codes(&conv["p"]),
        codes(&case["q_out"]),
    );
    let list = |k: &str| reals(&case[k]);
    let mut seen = 0;
    for o in 0..3 {
        let norm = Norm {
            gain: list("gamma")[o],
            shift: list("beta")[o],
            mean: list("mean")[o],
            variance: list("var")[o],
            epsilon: case["eps"].as_f64().unwrap(),
        };
        let own = &p[o * 54..(o + 1) * 54];
        let weights = own.iter().map(|&c| i64::from(c)).sum();
        let end = LayerEnd::new(&input, &weight, 54, weights, &norm, &next);
        for (have, key) in [(end.products, "A"), (end.inputs, "R"), (end.constant, "C")] {
            assert!(close(have, list(key)[o]), "{key} of channel {o}: {have}");
        }
        for (i, at) in voxels(4).enumerate() {
            let [acc, inputs, ..] = sums(&q, own, 2, 4, at, Some(zero));
            let code = end.code(acc, inputs, next.top());
            assert_eq!(code, want[o * 64 + i], "{o} {at:?}");
            // As one would in float: sum, BatchNormalization, ReLU, quantizer.
            let y = real_sum(&input, &weight, &q, own, at);
            let y = (y - norm.mean) / (norm.variance + norm.epsilon).sqrt() * norm.gain + norm.shift;
            assert_eq!(code, next.code(y.max(0.0)));
            // The integers of FORMAT.md 1.3: levels 2^F·p less a zero point Z.
            let (z, snapped) = weight.snapped(14);
            let integer = (acc << 14) - i64::from(z) * inputs;
            let sum = combined(&input, &snapped, acc, inputs, weights, 54);
            let codes = (input.value(0) / input.scale, weights);
            let levels = f64::from(1 << 14) * codes.1 as f64 - 54.0 * f64::from(z);
            assert!(
                (input.scale * weight.scale / f64::from(1 << 14) * (integer as f64 + codes.0 * levels) - sum)
                    .abs()
                    < 1e-9
            );
        }
        seen += usize::from(end.products < 0.0);
    }
    assert_eq!(seen, 1, "a channel with a negative gain is among them");
}

#[test]
fn products_of_bit_planes_are_those_of_codes() {
    let case = &vectors()["bitplane"];
    let (q, p) = (codes(&case["q"]), codes(&case["p"]));
    assert_eq!(plane_product(&q, &p, 2, 2), case["dot"].as_i64().unwrap());
}

/// Σ 2^(i+j)·popcount(q_i & p_j).
fn plane_product(q: &[u8], p: &[u8], bits: u32, other: u32) -> i64 {
    let pairs = (0..bits).flat_map(|i| (0..other).map(move |j| (i, j)));
    let both = |i: u32, j: u32| {
        q.iter()
            .zip(p)
            .filter(|(q, p)| *q >> i & **p >> j & 1 == 1)
            .count() as i64
    };
    pairs.map(|(i, j)| both(i, j) << (i + j)).sum()
}

#[test]
fn the_longest_sums_fit_and_one_tap_more_does_not() {
    for (a, w, want) in [
        (8, 8, 33_025),
        (8, 4, 561_433),
        (8, 2, 2_807_168),
        (6, 6, 541_064),
        (4, 4, 9_544_371),
        (2, 2, 238_609_294),
    ] {
        let n = most_taps(a, w);
        assert_eq!(n, want);
        let largest = |n: u64| n * ((1 << a) - 1) * ((1 << w) - 1);
        assert!(largest(n) <= i32::MAX as u64 && largest(n + 1) > i32::MAX as u64);
    }
}

/// Any map whose codes differ as f64.
fn maps() -> impl Strategy<Value = AffineMap> {
    (1e-3f64..10.0, -20f64..20.0, 1u32..=8).prop_map(|(scale, offset, bits)| AffineMap {
        scale,
        offset,
        bits,
    })
}

proptest! {
    #[test]
    fn values_of_codes_stay_and_errors_are_half_a_step(map in maps(), t in -0.5f64..1.5) {
        let x = map.offset + t * map.scale * map.top();
        let code = map.code(x);
        prop_assert!(f64::from(code) <= map.top());
        prop_assert_eq!(map.code(map.value(code)), code);
        if (0.0..=1.0).contains(&t) {
            prop_assert!((map.value(code) - x).abs() <= map.scale / 2.0 * (1.0 + 1e-9));
        }
    }

    #[test]
    fn snapping_moves_the_offset_by_less_than_a_part_of_a_step(map in maps(), fraction in 0u32..12) {
        let (z, near) = map.snapped(fraction);
        let part = map.scale / f64::from(1u32 << fraction);
        if z.abs() < 1 << 22 {
            prop_assert!((near.offset - map.offset).abs() <= part / 2.0 * (1.0 + 1e-6));
            prop_assert_eq!(near.snapped(fraction).0, z);
        }
    }

    /// Max-pooling and nearest up-sampling pick elements, and encoding keeps their order.
    #[test]
    fn the_code_of_the_largest_is_the_largest_code(map in maps(), xs in prop::collection::vec(-50f64..50.0, 8)) {
        let largest = xs.iter().copied().fold(f64::MIN, f64::max);
        prop_assert_eq!(map.code(largest), xs.iter().map(|&x| map.code(x)).max().unwrap());
    }

    /// A concatenation with a map for each part: the sums of the parts, each with its map, add up to the real one.
    #[test]
    fn sums_over_parts_with_maps_of_their_own_add_up(a in maps(), b in maps(), w in maps(), raw in prop::collection::vec((any::<u8>(), any::<u8>()), 40)) {
        let of = |code: u8, map: &AffineMap| code & map.top() as u8;
        let (mut parts, mut real) = (0.0, 0.0);
        for (side, map) in raw.chunks(20).zip([&a, &b]) {
            let mut sums = [0; 4];
            for &(q, p) in side {
                let (q, p) = (of(q, map), of(p, &w));
                real += map.value(q) * w.value(p);
                let (x, w) = (i64::from(q), i64::from(p));
                for (sum, term) in sums.iter_mut().zip([x * w, x, w, 1]) {
                    *sum += term;
                }
            }
            let [acc, inputs, weights, taps] = sums;
            parts += combined(map, &w, acc, inputs, weights, taps);
        }
        prop_assert!((parts - real).abs() <= 1e-9 * real.abs().max(1e6));
    }

    #[test]
    fn bit_planes_multiply_as_codes_do(bits in 1u32..=4, other in 1u32..=4, raw in prop::collection::vec((any::<u8>(), any::<u8>()), 1..90)) {
        let q: Vec<u8> = raw.iter().map(|r| r.0 & ((1 << bits) - 1)).collect();
        let p: Vec<u8> = raw.iter().map(|r| r.1 & ((1 << other) - 1)).collect();
        let dot: i64 = q.iter().zip(&p).map(|(&q, &p)| i64::from(q) * i64::from(p)).sum();
        prop_assert_eq!(plane_product(&q, &p, bits, other), dot);
    }
}
