//! Says once a day which certificates expire soon, or have. At start and at a reload the configuration's own warnings
//! say it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use crate::config::expiry_notice;

use super::report::DaemonReport;

const DAY: Duration = Duration::from_secs(86_400);

/// Warns for as long as it is polled.
pub(super) async fn watch(report: Arc<DaemonReport>) {
    loop {
        sleep(DAY).await;
        for notice in notices(&report, SystemTime::now()) {
            tracing::warn!("{notice}");
        }
    }
}

fn notices(report: &DaemonReport, now: SystemTime) -> Vec<String> {
    let doors = report.doors.load();
    let files = doors
        .iter()
        .flat_map(|door| door.tls.iter())
        .flat_map(|tls| tls.expiries());
    let mut notices: Vec<String> = files
        .filter_map(|(file, expires)| expiry_notice(&file, expires, now))
        .collect();
    // Services may share a certificate.
    notices.sort_unstable();
    notices.dedup();
    notices
}
