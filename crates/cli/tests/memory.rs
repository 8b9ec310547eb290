//! Memory is that of the work, whatever the number of threads.

mod common;

use std::path::Path;

use common::{bmp, detector, lowbit};

/// Most memory that quantization with so many threads was seen to hold, in MiB; `None` where the system does not tell.
fn most(threads: &str, paths: &[&Path]) -> Option<u64> {
    let words = "quantize --grid int8 --quiet --force --threads";
    let mut command = lowbit();
    command.args(words.split_whitespace()).arg(threads).args(paths);
    let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    let mut most = None;
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
        let seen = line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok());
        most = most.max(seen.map(|kib| kib >> 10));
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(child.wait().unwrap().success());
    most
}

/// A picture of 1760 × 1760 takes 9 MiB in its file, and as much decoded: eight at a time would take 130 MiB more than one.
#[test]
fn large_pictures_take_no_more_memory_on_more_threads() {
    let dir = tempfile::tempdir().unwrap();
    let model = detector(dir.path());
    let pictures = dir.path().join("large");
    std::fs::create_dir(&pictures).unwrap();
    std::fs::write(pictures.join("p00.bmp"), bmp(1760, 1760, 1)).unwrap();
    for k in 1..16 {
        std::fs::hard_link(pictures.join("p00.bmp"), pictures.join(format!("p{k:02}.bmp"))).unwrap();
    }
    let out = dir.path().join("out.onnx");
    let paths: [&Path; 5] = [&model, Path::new("--calib"), &pictures, Path::new("-o"), &out];
    let (Some(one), Some(eight)) = (most("1", &paths), most("8", &paths)) else {
        return println!("SKIPPED: this system does not tell what a process holds");
    };
    assert!(
        eight < one + 48,
        "{eight} MiB with eight threads, {one} MiB with one"
    );
}
