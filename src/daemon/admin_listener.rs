//! The admin listener over reloads: begun, moved to another address, ended.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::admin::{self, Report};
use crate::config::ListenAddr;
use crate::http;

use super::StartError;
use super::listen_error::admin_error;

/// The listener, or that there is none.
#[derive(Debug, Default)]
pub(super) struct AdminListener {
    addr: Option<ListenAddr>,
    /// One per family. A connection ends with the task that accepted it.
    tasks: Vec<JoinHandle<()>>,
}

/// What a configuration says of it.
#[derive(Debug)]
pub(super) enum PreparedAdmin {
    /// All stays.
    Same,
    /// It is at another address, which is bound, or nowhere.
    Other(Option<ListenAddr>, Vec<TcpListener>),
}

impl AdminListener {
    /// Binds the address that a configuration names, if it is another one.
    ///
    /// # Errors
    /// It cannot be listened on.
    pub(super) fn prepare(&self, addr: Option<ListenAddr>) -> Result<PreparedAdmin, StartError> {
        if addr == self.addr {
            return Ok(PreparedAdmin::Same);
        }
        let bound = match addr {
            Some(addr) => http::bind(addr).map_err(|source| admin_error(addr, source))?,
            None => Vec::new(),
        };
        Ok(PreparedAdmin::Other(addr, bound))
    }

    /// Serves where the configuration says; what was served elsewhere ends at once.
    pub(super) fn serve(&mut self, prepared: PreparedAdmin, report: &Arc<impl Report + 'static>) {
        let PreparedAdmin::Other(addr, bound) = prepared else {
            return;
        };
        self.stop();
        self.addr = addr;
        for listener in bound {
            tracing::info!(addr = ?listener.local_addr().ok(), "admin: /metrics, /status, /healthz, /readyz");
            self.tasks
                .push(tokio::spawn(admin::serve(listener, report.clone())));
        }
    }

    /// Ends it.
    pub(super) fn stop(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
    }
}
