//! SIGINT and SIGTERM stop the work at the next layer or picture; a second one ends the process at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lowbit::Control;

/// What has arrived.
pub(crate) struct Signals {
    control: Control,
    last: Arc<AtomicUsize>,
}

const TERMINATED: u8 = 143;
const INTERRUPTED: u8 = 130;

impl Signals {
    /// Handlers that set flags. Where the system refuses them, its own way of ending stays.
    pub(crate) fn install() -> Signals {
        let signals = Signals {
            control: Control::default(),
            last: Arc::default(),
        };
        #[cfg(unix)]
        for (signal, code) in [
            (signal_hook::consts::SIGINT, INTERRUPTED),
            (signal_hook::consts::SIGTERM, TERMINATED),
        ] {
            let flag = signals.control.flag();
            // Registered first, so that it sees the flag of an earlier signal only.
            let _ = signal_hook::flag::register_conditional_shutdown(signal, code.into(), flag.clone());
            let _ = signal_hook::flag::register_usize(signal, signals.last.clone(), code.into());
            let _ = signal_hook::flag::register(signal, flag);
        }
        // A quota on file sizes is an error of the write, not the death of the process with half a file left.
        #[cfg(unix)]
        let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
        signals
    }

    /// Cancelled by a signal.
    pub(crate) fn control(&self) -> Control {
        self.control.clone()
    }

    /// 128 + signal.
    pub(crate) fn exit_code(&self) -> u8 {
        match self.last.load(Ordering::Relaxed) {
            143 => TERMINATED,
            _ => INTERRUPTED,
        }
    }
}
