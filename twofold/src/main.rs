//! The `twofold` program: reads the command line, runs one command, turns its error into words and an exit code.

use std::process::ExitCode;

use clap::Parser;
use twofold::arguments::{Arguments, LogFormat};
use twofold::commands;
use twofold::console::complain;
use twofold::private_files::give_up_rights_of_others;

/// The runtime cannot be started.
const FAILED: u8 = 1;
/// Stack of each thread that works on requests. SQL may nest as deep as the limits on queries allow, and frames of a
/// build that is not optimised are several times as large as those of a release.
const STACK_BYTES: usize = 16 << 20;

fn main() -> ExitCode {
    give_up_rights_of_others();
    #[cfg(feature = "failpoints")]
    let _armed = twofold::fail_points::arm();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start the runtime: {error}"));
            return ExitCode::from(FAILED);
        }
    };
    let code = runtime.block_on(run(Arguments::parse()));
    // A client of brokers that are gone may never end to close: the ordered shutdown has given it its time.
    runtime.shutdown_background();
    code
}

async fn run(arguments: Arguments) -> ExitCode {
    let format = arguments.logs.log_format;
    match commands::run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whoever collects log lines as JSON gets no other line, and this one whatever the log filter says.
            complain(&match format {
                LogFormat::Text => commands::describe_error(&error),
                LogFormat::Json => commands::error_as_json(&error),
            });
            ExitCode::from(commands::exit_code(&error))
        }
    }
}
