//! The executor's fake quantizers against the formulas of `method::activation`.

mod common;

use train::exec::{Exec, Mode};
use train::method::activation::Fake;

#[test]
fn forward_and_both_derivatives() {
    let (graph, cases) = common::quantizers::cases(&[1, 2, 3, 4, 5, 6, 7, 8]);
    let dy: Vec<f32> = common::pattern(1000).iter().map(|v| v - 0.5).collect();
    for case in cases {
        let mut cpu = common::cpu(&graph, &case.options, 2);
        let mut outputs = Vec::new();
        cpu.forward(&[&case.x], Mode::Train, &mut outputs).unwrap();
        cpu.backward(std::slice::from_ref(&dy)).unwrap();
        let q = &case.quantizer;
        let fake = Fake {
            step: q.step,
            zero_point: q.zero_point,
            bits: q.bits,
            rounding: q.rounding,
        };
        let (mut dx, mut dstep) = (vec![0.0; 1000], [0.0]);
        cpu.input_gradient(0, &mut dx).unwrap();
        cpu.gradient(0, &mut dstep).unwrap();
        let mut sum = 0f64;
        for (i, &x) in case.x.iter().enumerate() {
            let (by_x, by_step) = fake.derivatives(x, q.gradient);
            let what = &case.what;
            assert_eq!(outputs[0][i], fake.value(x), "{what}, x = {x}");
            assert_eq!(dx[i], by_x * dy[i], "{what}, x = {x}");
            sum += f64::from(by_step) * f64::from(dy[i]);
        }
        assert!(
            (f64::from(dstep[0]) - sum).abs() <= 1e-4 * (1.0 + sum.abs()),
            "{}: {} for {sum}",
            case.what,
            dstep[0]
        );
    }
}
