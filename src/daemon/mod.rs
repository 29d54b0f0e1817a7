//! Assembly: from a configuration to a running daemon, and its orderly end. Nothing here decides about packets or
//! requests.
//!
//! ```text
//!  config ─▶ key ─▶ media plane ─▶ upstream names ─▶ policies ─▶ revived calls ─▶ HTTP listeners ─▶ admin
//!             reload ──────────────────▲                                                               │
//!               └──────────────────────────────────────────────────────────────────────────────── signals ─▶ drain
//! ```

mod addresses;
mod admin_listener;
mod calls;
mod expiry;
mod generation;
mod ice_tcp;
mod key_store;
mod listen_error;
mod listeners;
mod logging;
mod metrics;
mod policies;
mod reload;
mod report;
mod running;
mod scopes;
mod signals;
mod snapshot;
mod status;
mod succession;
mod systemd;
mod udp;
mod watch;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::{EX_USAGE, Run};
use crate::config::{self, Config, Errors};
use crate::demo::Demo;
use crate::http::TlsError;

pub use key_store::KeyError;
use running::Running;

/// Where a configuration is looked for when none is named.
const SEARCHED: [&str; 2] = ["routes.yml", "/etc/xrtc/routes.yml"];

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error("the configuration is wrong\n{0}")]
    Config(Errors),
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// There is no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An address cannot be listened on.
    #[error("{key}: cannot listen on {addr}: {source}{hint}")]
    Listen {
        /// The key that names the address.
        key: String,
        /// The address.
        addr: config::ListenAddr,
        /// What is known of the reason, as the rest of the sentence; or nothing.
        hint: String,
        /// What the system said.
        source: io::Error,
    },
    /// An access log cannot be written.
    #[error("access log {path}: {source}")]
    AccessLog {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A certificate went bad after the configuration was read.
    #[error("service {service}: {source}")]
    Tls {
        /// The service.
        service: String,
        /// What is wrong.
        source: TlsError,
    },
    /// Something else of the system is missing.
    #[error("{what}: {source}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl StartError {
    /// The exit status: 64 (`EX_USAGE`) for what the user wrote, 1 for the rest.
    #[must_use]
    pub fn status(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Usage(_) => EX_USAGE,
            Self::Key(_)
            | Self::Listen { .. }
            | Self::Tls { .. }
            | Self::AccessLog { .. }
            | Self::System { .. } => 1,
        }
    }

    fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

/// `xrtc run`: returns when the daemon has stopped in good order.
///
/// # Errors
/// If it cannot start.
pub fn run(args: &Run) -> Result<(), StartError> {
    logging::init(&args.log, args.log_format).map_err(StartError::Usage)?;
    let file = args.config.clone().or_else(found);
    let from_file = match &file {
        Some(path) => Some(config::load(path).map_err(StartError::Config)?),
        None => None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(StartError::system("starting the runtime"))?;
    runtime.block_on(serve(from_file, file.as_deref()))
}

fn found() -> Option<PathBuf> {
    SEARCHED.iter().map(PathBuf::from).find(|path| path.exists())
}

async fn serve(from_file: Option<Config>, file: Option<&Path>) -> Result<(), StartError> {
    let mut demo = None;
    let config = match from_file {
        Some(config) => config,
        None => {
            let started = Demo::start()
                .await
                .map_err(StartError::system("starting the built-in demo"))?;
            Config::embedded(demo.insert(started).http_port())
        }
    };
    announce_config(&config, file);
    let key = key_store::load_or_make(config.global.state_dir.as_deref())?;
    match &key.path {
        Some(path) => tracing::info!(key = %path.display(), "calls survive a restart with this key"),
        None => tracing::warn!(
            "no state directory can be written; the key is in memory only and calls will not survive a restart"
        ),
    }
    let running = Running::start(Arc::new(config), &key, file).await?;
    if demo.is_some() {
        running.announce_demo();
    }
    running.until_stopped().await;
    Ok(())
}

fn announce_config(config: &Config, file: Option<&Path>) {
    match file {
        Some(path) => {
            tracing::info!(version = env!("CARGO_PKG_VERSION"), config = %path.display(), "xrtc starts")
        }
        None => tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            "xrtc starts with the built-in demo; `xrtc run -c routes.yml` serves your own servers"
        ),
    }
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
}
