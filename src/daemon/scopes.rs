//! Which call a trickled server candidate belongs to, where the message does not name the server's ufrag.
//!
//! A scope is what tells calls apart on their transport (Janus: session and handle; else the connection itself).
//! A bounded table: the oldest scope goes first. Node-local; a restart loses only candidates not yet trickled.

use std::collections::{HashMap, VecDeque};

use crate::ice::{RouteId, ServerCandidate};

/// Scopes remembered at once.
const MAX_SCOPES: usize = 16_384;
/// Candidates kept for a scope whose description has not passed yet.
const MAX_WAITING: usize = 8;

/// A call's place in the signalling.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    route: RouteId,
    name: String,
}

impl Scope {
    /// The scope that a message named, or its connection.
    #[must_use]
    pub(super) fn new(route: RouteId, named: Option<String>, connection: u64) -> Self {
        Self {
            route,
            name: named.unwrap_or_else(|| format!("#{connection}")),
        }
    }
}

/// What is known of a scope: the name of its latest call, or the candidates that came before it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    Call(String),
    Waiting(Vec<ServerCandidate>),
}

/// The table. A call's name is its token (hijack) or its server's ufrag (icedirect).
#[derive(Debug, Default)]
pub(super) struct Scopes {
    known: HashMap<Scope, Known>,
    order: VecDeque<Scope>,
}

impl Scopes {
    /// A description has named the call; gives the candidates that waited for it.
    pub(super) fn describe(&mut self, scope: Scope, call: &str) -> Vec<ServerCandidate> {
        match self.enter(scope, Known::Call(call.to_owned())) {
            Some(Known::Waiting(candidates)) => candidates,
            Some(Known::Call(_)) | None => Vec::new(),
        }
    }

    /// The call of a trickled candidate; `None` if it is not known yet, and the candidate waits.
    pub(super) fn call_of(&mut self, scope: Scope, candidate: ServerCandidate) -> Option<String> {
        match self.known.get_mut(&scope) {
            Some(Known::Call(call)) => Some(call.clone()),
            Some(Known::Waiting(waiting)) => {
                if waiting.len() < MAX_WAITING {
                    waiting.push(candidate);
                }
                None
            }
            None => {
                self.enter(scope, Known::Waiting(vec![candidate]));
                None
            }
        }
    }

    fn enter(&mut self, scope: Scope, known: Known) -> Option<Known> {
        let before = self.known.insert(scope.clone(), known);
        if before.is_none() {
            self.order.push_back(scope);
            if self.order.len() > MAX_SCOPES
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ice::Transport;

    fn candidate(port: u16) -> ServerCandidate {
        ServerCandidate {
            transport: Transport::Udp,
            addr: ([192, 0, 2, 1], port).into(),
        }
    }

    fn scope(name: &str) -> Scope {
        Scope::new(RouteId(1), Some(name.into()), 7)
    }

    #[test]
    fn candidates_after_the_description_go_to_its_call() {
        let mut scopes = Scopes::default();
        assert_eq!(scopes.describe(scope("1:2"), "token"), []);
        assert_eq!(
            scopes.call_of(scope("1:2"), candidate(1)).as_deref(),
            Some("token")
        );
        assert_eq!(scopes.call_of(scope("1:3"), candidate(1)), None);
    }

    #[test]
    fn candidates_before_the_description_wait_for_it() {
        let mut scopes = Scopes::default();
        assert_eq!(scopes.call_of(scope("1:2"), candidate(1)), None);
        assert_eq!(scopes.call_of(scope("1:2"), candidate(2)), None);
        assert_eq!(
            scopes.describe(scope("1:2"), "token"),
            [candidate(1), candidate(2)]
        );
    }

    #[test]
    fn equal_names_on_two_routes_and_two_connections_are_apart() {
        let mut scopes = Scopes::default();
        scopes.describe(Scope::new(RouteId(1), None, 7), "one");
        assert_eq!(
            scopes.call_of(Scope::new(RouteId(2), None, 7), candidate(1)),
            None
        );
        assert_eq!(
            scopes.call_of(Scope::new(RouteId(1), None, 8), candidate(1)),
            None
        );
    }

    #[test]
    fn the_table_is_bounded() {
        let mut scopes = Scopes::default();
        for connection in 0..2 * MAX_SCOPES as u64 {
            scopes.describe(Scope::new(RouteId(1), None, connection), "call");
        }
        assert_eq!(scopes.known.len(), MAX_SCOPES);
        assert_eq!(scopes.order.len(), MAX_SCOPES);
    }
}
