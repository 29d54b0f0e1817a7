//! ICE over TCP through real sockets: clients and servers by hand at both ends, the media plane and its front door
//! between them.

mod calls;
mod client;
mod hostile;
mod rig;
mod server;
mod slow;
mod timing;
