//! The executor on a CUDA device against the one on the CPU: on a device where there is one, and by its kernels compiled as C++.

use std::path::PathBuf;
use std::sync::OnceLock;

use graph::Graph;
use kernels::cuda::{CudaError, Device};
use testing::SplitMix64;
use train::exec::{Cpu, Cuda, Exec, Mode};
use train::program::{Program, ProgramOptions};

/// What kernels run on: a CUDA device, else the host. What is missing is told once, and fails where `LOWBIT_REQUIRE` lists `cuda` or `cxx`.
pub(crate) fn devices() -> Vec<Device> {
    type Open = fn() -> Result<Device, CudaError>;
    static FOUND: OnceLock<Option<Open>> = OnceLock::new();
    let host: Open = || {
        static FOLDER: OnceLock<PathBuf> = OnceLock::new();
        let name = || testing::scratch(&format!("cuda-{}", std::process::id()));
        Device::host(FOLDER.get_or_init(name))
    };
    let found = FOUND.get_or_init(|| {
        let all: [(&str, Open); 2] = [("cuda", || Device::cuda(0)), ("cxx", host)];
        all.into_iter().find_map(|(what, open)| match open() {
            Ok(device) => {
                println!("{what}: {}", device.name());
                Some(open)
            }
            Err(e) => {
                testing::skip("kernels of the CUDA executor", what, &e.to_string());
                None
            }
        })
    });
    found.iter().map(|open| open().unwrap()).collect()
}

/// The largest number of a list.
fn size(list: &[f32]) -> f64 {
    let finite = list.iter().filter(|w| w.is_finite());
    finite.fold(1e-6, |most: f64, &w| most.max(f64::from(w).abs()))
}

/// Largest distance of two lists, relative to `size`; a NaN is to meet a NaN.
fn distance(what: &str, have: &[f32], want: &[f32], size: f64) -> f64 {
    assert_eq!(have.len(), want.len(), "{what}: length");
    have.iter().zip(want).fold(0.0, |worst: f64, (&h, &w)| {
        if h == w || (h.is_nan() && w.is_nan()) {
            return worst;
        }
        let far = (f64::from(h) - f64::from(w)).abs();
        worst.max(if far.is_nan() { f64::INFINITY } else { far / size })
    })
}

/// Every number that comes out of a step, by name.
pub(crate) fn results(
    exec: &mut dyn Exec,
    program: &Program,
    inputs: &[Vec<f32>],
) -> Vec<(String, Vec<f32>)> {
    let slices: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let (mut all, mut outputs) = (Vec::new(), Vec::new());
    exec.forward(&slices, Mode::Train, &mut outputs).unwrap();
    let mut random = SplitMix64(9);
    let mut draw = |y: &Vec<f32>| (0..y.len()).map(|_| random.unit_f32() - 0.5).collect();
    let gradients: Vec<Vec<f32>> = outputs.iter().map(&mut draw).collect();
    exec.backward(&gradients).unwrap();
    for (port, y) in program.outputs().iter().zip(outputs) {
        all.push((format!("output {}", port.name), y));
    }
    for (i, p) in program.parameters().iter().enumerate() {
        let (mut value, mut gradient) = (vec![0.0; p.len()], vec![0.0; p.len()]);
        exec.parameter(i, &mut value).unwrap();
        exec.gradient(i, &mut gradient).unwrap();
        all.push((p.name.clone(), value));
        all.push((format!("gradient of {}", p.name), gradient));
    }
    let mut outputs = Vec::new();
    exec.forward(&slices, Mode::Evaluate, &mut outputs).unwrap();
    for (port, y) in program.outputs().iter().zip(outputs) {
        all.push((format!("evaluated {}", port.name), y));
    }
    all
}

/// The same step by both executors, `allowed` apart relative to each tensor's largest number, of a gradient to no less than `least`. Gives how far they
/// were.
pub(crate) fn compare(
    what: &str,
    cpu: &mut Cpu,
    device: Device,
    options: &ProgramOptions,
    inputs: &[Vec<f32>],
    [allowed, least]: [f64; 2],
) -> f64 {
    let program = cpu.program().clone();
    let mut cuda = Cuda::new(program.clone(), device).unwrap();
    let want = results(cpu, &program, inputs);
    let have = results(&mut cuda, &program, inputs);
    let mut all: Vec<(String, Vec<f32>, Vec<f32>)> = (have.into_iter().zip(want))
        .map(|((name, have), (_, want))| (name, have, want))
        .collect();
    if options.input_gradients {
        for (i, port) in program.inputs().iter().enumerate() {
            let (mut have, mut want) = (vec![0.0; port.len()], vec![0.0; port.len()]);
            cuda.input_gradient(i, &mut have).unwrap();
            cpu.input_gradient(i, &mut want).unwrap();
            all.push((format!("gradient of {}", port.name), have, want));
        }
    }
    // A gradient that is zero but for rounding, as of what a normalization takes away again, is small against the others.
    let gradients = all.iter().filter(|(name, ..)| name.starts_with("gradient"));
    let largest = gradients.map(|(_, _, want)| size(want)).fold(0.0, f64::max);
    let floor = least.max(1e-3 * largest);
    let mut worst = 0f64;
    for (name, have, want) in &all {
        let size = match name.starts_with("gradient") {
            true => size(want).max(floor),
            false => size(want),
        };
        let far = distance(&format!("{what}: {name}"), have, want, size);
        assert!(
            far <= allowed,
            "{what}: {name} is {far:e} of its size {size:e} from the CPU's on {}",
            cuda.device()
        );
        worst = worst.max(far);
    }
    worst
}

/// Compares the executors on a graph of the grid, with the tolerances of the comparison with float64: 2e-4 of the size, and 1e-5.
pub(crate) fn check(what: &str, graph: &Graph, options: &ProgramOptions, inputs: &[Vec<f32>]) {
    for device in devices() {
        let mut cpu = super::cpu(graph, options, 1);
        compare(what, &mut cpu, device, options, inputs, [2e-4, 0.05]);
    }
}
