//! The `xrtc` command: arguments in, exit status out. Everything it does is in the library.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use xrtc::cli::{self, Cli, Command};
use xrtc::daemon;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Check(check) => match cli::check(&check, &mut io::stdout(), &mut io::stderr()) {
            Ok(status) => ExitCode::from(status),
            Err(_) => ExitCode::FAILURE,
        },
        Command::Run(run) => match daemon::run(&run) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                // Nothing is left to tell that standard error is closed.
                let _ = writeln!(io::stderr(), "xrtc: {error}");
                ExitCode::from(error.status())
            }
        },
    }
}
