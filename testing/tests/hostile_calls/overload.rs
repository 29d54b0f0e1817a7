//! More packets than the daemon has the time to read: the kernel drops them, the daemon says so, and calls go on.

use std::process::Command;
use std::time::Instant;

use xrtc_testing::calls::Route;
use xrtc_testing::lab::{Error, Result, report};

use crate::scene::{PATIENCE, RECEIVE_BUFFER, Scene, with_calls};

/// More than any receive buffer holds.
const PACKETS: u64 = 10_000;

fn signal(scene: &Scene, name: &str) -> Result<()> {
    let status = Command::new("kill")
        .args([name, &scene.daemon.id().to_string()])
        .status()?;
    if status.success() {
        return Ok(());
    }
    Err(Error::new(format!("kill {name}: {status}")))
}

#[test]
fn what_the_kernel_drops_is_counted() {
    with_calls(async |scene, _| {
        let fence = scene.signalled(Route::Hijack).await?;
        let attacker = scene.socket().await?;
        let before = scene.daemon.metrics().await?;
        signal(scene, "-STOP")?;
        for _ in 0..PACKETS {
            attacker.send(&[0xff; 1000]).await?;
        }
        signal(scene, "-CONT")?;
        // Drops are told with the next packet for which there is room.
        let (mut sent, deadline) = (PACKETS, Instant::now() + PATIENCE);
        while scene.refused(&before, RECEIVE_BUFFER).await? == 0 {
            assert!(Instant::now() < deadline, "no drop is told");
            attacker.send(&[0xff; 1000]).await?;
            sent += 1;
        }
        // What was sent before this has been read by then.
        fence.exchange(&attacker).await?;
        let refused = scene.refused(&before, "not_ice").await?;
        let dropped = scene.refused(&before, RECEIVE_BUFFER).await?;
        report(format_args!(
            "{sent} packets: {refused} refused, {dropped} dropped by the kernel"
        ));
        assert!(refused > 0);
        // The calls' own packets may be among those for which there was no room.
        assert!(
            refused + dropped >= sent,
            "{sent} sent, {refused} refused, {dropped} dropped"
        );
        Ok(())
    });
}
