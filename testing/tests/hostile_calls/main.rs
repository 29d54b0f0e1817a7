//! Hostile packets, descriptions and connections against the real `xrtc`, with calls in progress: no reply, no route,
//! no state, one named counter each, and the calls lose nothing.
//!
//! No reply is shown without waiting: after an attack the same socket sends a valid check, and what it hears first has
//! to be the answer to that. One socket's packets are taken in order.

mod descriptions;
mod overload;
mod packets;
mod scene;
mod server_leg;
mod streams;
