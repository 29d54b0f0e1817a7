//! Where log lines go: standard error, as lines for people or as JSON.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;

/// Sets the log up for the whole process.
///
/// # Errors
/// What is wrong with the filter.
pub(super) fn init(filter: &str, format: LogFormat) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("--log {filter}: {error}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match format {
        LogFormat::Text => builder
            .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
            .init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
