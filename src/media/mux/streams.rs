//! TCP connections as the multiplexer sees them: a server's is dialled, opens and closes, a client's only closes.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::ice::{ClientPath, Now, ServerCandidate, ServerPath, Shell, Transport};
use crate::media::direct::DirectFlow;
use crate::media::shared::{Call, Peer};
use crate::media::tcp::StreamEvent;

use super::client::forget;
use super::{ClientPeer, Mux, Out};

impl Mux {
    /// Takes note of what happened to a connection.
    pub fn handle_stream<'b>(&mut self, now: Now, event: StreamEvent, shell: &mut impl Shell<'b>) {
        match event {
            StreamEvent::ClientClosed(path) => self.client_closed(now, &path, shell),
            StreamEvent::ServerOpen(path) => self.server_open(now, path, shell),
            StreamEvent::ServerClosed(path) => self.server_closed(now, path, shell),
        }
    }

    /// Begins a connection for a call or flow.
    pub(super) fn dial<'b>(
        &self,
        remote: SocketAddr,
        peer: &Peer,
        now: Now,
        shell: &mut impl Shell<'b>,
    ) -> Option<ServerPath> {
        let socket = shell.dial_server(remote)?;
        self.shared.hold(ServerPath { socket, remote }, peer, now.mono)
    }

    /// Gives up a path that is of no use.
    pub(super) fn release<'b>(&self, path: ServerPath, now: Now, shell: &mut impl Shell<'b>) {
        self.shared.release(path, now.mono);
        shell.hang_up_server(&path);
    }

    fn client_closed<'b>(&mut self, now: Now, path: &ClientPath, shell: &mut impl Shell<'b>) {
        match self.clients.remove(path) {
            Some(ClientPeer::Hijack(call, tuple)) => forget(&call, &tuple, now),
            Some(ClientPeer::Direct(flow)) => {
                super::direct::close(&self.shared, &self.counters, &flow, now, shell);
            }
            None => {}
        }
    }

    fn server_open<'b>(&mut self, now: Now, path: ServerPath, shell: &mut impl Shell<'b>) {
        // What an icedirect flow has sent meanwhile waits in the connection.
        let Some(Peer::Hijack(call)) = self.shared.holder(path) else {
            return;
        };
        let mut session = call.lock();
        session.open_path(path, now);
        session.poll(now, &mut Out::new(shell));
        self.settle(&call, &mut session, now, shell);
    }

    fn server_closed<'b>(&mut self, now: Now, path: ServerPath, shell: &mut impl Shell<'b>) {
        self.servers.remove(&(path.socket, path.remote));
        let holder = self.shared.holder(path);
        self.shared.release(path, now.mono);
        match holder {
            Some(Peer::Hijack(call)) if !call.is_closed() => self.lost_of_call(now, &call, path, shell),
            Some(Peer::Direct(flow)) if !flow.is_closed() => self.lost_of_flow(now, &flow, path, shell),
            Some(_) | None => {}
        }
    }

    fn lost_of_call<'b>(&mut self, now: Now, call: &Arc<Call>, path: ServerPath, shell: &mut impl Shell<'b>) {
        if call.lock().remove_path(path, now) {
            // It has worked, so that it may work again; one that never has is not dialled twice.
            let again = ServerCandidate {
                transport: Transport::Tcp,
                addr: path.remote,
            };
            self.add_paths(call, std::iter::once(again), now, shell);
        }
        self.drive(call, now, shell);
    }

    fn lost_of_flow<'b>(
        &self,
        now: Now,
        flow: &Arc<DirectFlow>,
        path: ServerPath,
        shell: &mut impl Shell<'b>,
    ) {
        if flow.remove_path(path)
            && let Some(path) = self.dial(path.remote, &Peer::Direct(flow.clone()), now, shell)
        {
            flow.add_path(path, now.mono);
        }
    }
}
