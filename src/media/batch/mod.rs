//! Many packets per system call: [`RecvBatch`] reads them, [`SendQueue`] groups and sends them.
//!
//! The kernel's per-packet path costs more than everything that we do with a packet, so it is entered as seldom as it
//! allows: `recvmmsg` with UDP_GRO, which hands out runs of packets of one flow in one piece, and `sendmmsg` with
//! UDP_SEGMENT, which takes them in one piece. Packets are sent out of the buffers that they were received into.
//!
//! This is the only module of the daemon with `unsafe` in it, and Linux is the only system that it knows.

#![allow(unsafe_code)] // recvmmsg, sendmmsg and their control messages have no safe wrapper that reuses its headers.

mod control;
pub(super) mod options;
mod recv;
mod send;
mod transmit;

pub(super) use recv::RecvBatch;
pub(super) use send::{Destination, SendBatch, SendQueue};

#[cfg(test)]
mod tests;
