//! Clients of a Janus REST API without a browser, many at once.

use super::{Namespace, Process, Result, WorkDir, prerequisites};

/// Starts `count` clients of the API at `base` in `namespace`. What they tell, in `NAME.log`, is described in
/// `rest-clients.mjs`.
pub fn rest_clients(
    namespace: &Namespace,
    work: &WorkDir,
    name: &str,
    base: &str,
    count: usize,
) -> Result<Process> {
    let mut command = namespace.command("node");
    let script = prerequisites::browser_directory().join("rest-clients.mjs");
    command.arg(script).args([base, &count.to_string()]);
    Process::spawn(name, &mut command, work.path())
}
