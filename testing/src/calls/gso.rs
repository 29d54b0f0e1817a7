//! Trains of packets: one message of the sender, cut by the kernel, and one message of a receiver with UDP_GRO.

#![expect(
    unsafe_code,
    reason = "UDP_SEGMENT has no safe wrapper among our dependencies"
)]

use std::io;
use std::os::fd::AsRawFd as _;

use tokio::net::UdpSocket;

use crate::lab::Result;

/// Sends `train` as packets of `segment` bytes, the last one of what is left; at most 64 of them. All later sends on
/// this socket are cut too.
pub async fn send_train(socket: &UdpSocket, train: &[u8], segment: u16) -> Result<()> {
    let value = libc::c_int::from(segment);
    // SAFETY: the option's value is an int, which lives until the call returns.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error().into());
    }
    socket.send(train).await?;
    Ok(())
}
