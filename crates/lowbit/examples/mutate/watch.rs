//! Runs one case: a panic is caught, time and memory are watched, what is found is kept.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::targets::Target;

const LONGEST: Duration = Duration::from_secs(10);
const MOST_KIB: u64 = 1 << 20;

/// The case that runs now.
type Current = Arc<Mutex<Option<(Instant, String, Vec<u8>)>>>;

pub(crate) struct Watch {
    out: PathBuf,
    current: Current,
    /// Where panics came from: one file for each place is enough.
    places: Arc<Mutex<HashSet<String>>>,
    message: Arc<Mutex<String>>,
}

impl Watch {
    /// Starts the clock's thread; a case that runs too long ends the process, since nothing else can stop it.
    pub(crate) fn start(out: PathBuf) -> Watch {
        std::fs::create_dir_all(&out).unwrap_or_else(|e| panic!("{}: {e}", out.display()));
        let current = Current::default();
        let (clock, folder) = (current.clone(), out.clone());
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_millis(200));
                if let Some((start, target, bytes)) = &*clock.lock().expect("no panic while held")
                    && start.elapsed() > LONGEST
                {
                    let file = folder.join(format!("{target}-slow-{:016x}", hash(bytes)));
                    std::fs::write(&file, bytes).ok();
                    println!(
                        "{target}: a case runs longer than {LONGEST:?}: {}",
                        file.display()
                    );
                    std::process::exit(1);
                }
            }
        });
        let message = Arc::new(Mutex::new(String::new()));
        let told = message.clone();
        std::panic::set_hook(Box::new(move |info| {
            *told.lock().expect("no panic while held") = info.to_string().replace('\n', " ");
        }));
        Watch {
            out,
            current,
            places: Arc::default(),
            message,
        }
    }

    /// Whether the case is no finding.
    pub(crate) fn run(&self, target: &Target, bytes: &[u8]) -> bool {
        // Should the process be killed or abort, the case lies here.
        let last = self.out.join(format!("{}-last", target.name));
        std::fs::write(&last, bytes).ok();
        *self.current.lock().expect("no panic while held") =
            Some((Instant::now(), target.name.into(), bytes.to_vec()));
        let result = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)));
        self.current.lock().expect("no panic while held").take();
        let peak = peak_kib();
        if peak >= MOST_KIB {
            // Peak memory counts anew.
            std::fs::write("/proc/self/clear_refs", "5").ok();
        }
        if result.is_ok() && peak < MOST_KIB {
            std::fs::remove_file(&last).ok();
            return true;
        }
        let why = match result {
            Ok(()) => format!("takes {peak} KiB"),
            Err(_) => self.message.lock().expect("no panic while held").clone(),
        };
        let place: String = why
            .split(": inferred")
            .next()
            .unwrap_or(&why)
            .chars()
            .filter(|c| !c.is_ascii_digit())
            .take(120)
            .collect();
        let new = self.places.lock().expect("no panic while held").insert(place);
        if new {
            let file = self.out.join(format!("{}-{:016x}", target.name, hash(bytes)));
            std::fs::rename(&last, &file).ok();
            println!("{}: {}: {why}", target.name, file.display());
        }
        // What is known already counts once.
        !new
    }
}

fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, &b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Peak resident memory since it was reset; 0 where the system does not tell.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap_or(0)
}
