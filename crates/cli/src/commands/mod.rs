//! One file per command.

mod doctor;

use clap::Subcommand;
use lowbit::Result;

use crate::context::{Common, Context, Outcome};

macro_rules! commands {
    ($($(#[$meta:meta])* $variant:ident($module:ident)),* $(,)?) => {
        /// The commands.
        #[derive(Debug, Subcommand)]
        pub(crate) enum Command { $($(#[$meta])* $variant($module::Arguments)),* }

        impl Command {
            pub(crate) fn common(&self) -> &Common {
                match self { $(Command::$variant(a) => &a.common),* }
            }

            pub(crate) fn run(&self, context: &Context) -> Result<Outcome> {
                match self { $(Command::$variant(a) => $module::run(a, context)),* }
            }
        }
    };
}

commands! {
    /// CPU features, instruction sets and kernels usable, limits, version
    Doctor(doctor),
}
