//! Decides what becomes of a description, for either direction; [`crate::sdp::Plan`] carries it out.

use std::net::SocketAddr;

use super::addresses;
use super::context::{Context, Direction};
use super::outcome::{Fact, Refusal};
use crate::ice::{Claims, Credentials, Mode, ServerCandidate};
use crate::sdp::{Description, Edit, IceCredentials, Lite, Plan, Replacement};

/// Options whose meaning ends where ICE ends: at xrtc, in hijack mode.
const OWN_OPTIONS: &[&str] = &["ice2", "renomination"];

/// What the surroundings of a description say about it.
#[derive(Clone, Debug, Default)]
pub(super) struct Hint {
    /// Offer or answer, if a `type` beside it says so.
    pub(super) offer: Option<bool>,
    /// The call on its transport.
    pub(super) scope: Option<String>,
}

/// Rewrites a description.
pub(super) fn rewrite(
    cx: &mut Context<'_>,
    direction: Direction,
    text: &str,
    hint: &Hint,
    facts: &mut Vec<Fact>,
) -> Result<Vec<Edit>, Refusal> {
    let sdp = Description::parse(text).map_err(|_| Refusal::TooMany)?;
    if !sdp.concerns_ice() {
        return Ok(Vec::new());
    }
    let identities = identities(&sdp)?;
    let (renewed, found) = match direction {
        Direction::ToClient => for_client(cx, &sdp, &identities, hint)?,
        Direction::ToServer => for_server(cx, &identities, hint),
    };
    let plan = plan(cx, direction, &sdp, &identities, &renewed)?;
    facts.extend(found);
    Ok(plan.edits(text, &sdp))
}

/// One set of credentials and the sections it governs.
struct Identity<'a> {
    credentials: IceCredentials<'a>,
    /// All, as indices into [`Description::sections`].
    sections: Vec<usize>,
    /// Some section that it governs is active.
    active: bool,
}

/// What replaces the credentials of an [`Identity`], at the same index.
type Renewed = Vec<Option<Credentials>>;

/// The sets of credentials in order of appearance.
fn identities<'a>(sdp: &Description<'a>) -> Result<Vec<Identity<'a>>, Refusal> {
    let mut all: Vec<Identity<'a>> = Vec::new();
    for index in 0..sdp.sections.len() {
        let orphan = sdp.sections[index].pwd.is_some() && sdp.sections[index].ufrag.is_none();
        let source = sdp.credentials_section(index).filter(|_| !orphan);
        let Some(credentials) = source.and_then(|source| sdp.own_credentials(source)) else {
            if orphan || sdp.is_active(index) && !sdp.is_fragment {
                return Err(Refusal::CredentialsMissing);
            }
            continue;
        };
        if credentials.pwd.is_none() && !sdp.is_fragment {
            return Err(Refusal::CredentialsMissing);
        }
        let active = sdp.is_active(index);
        match all.iter_mut().find(|known| known.credentials == credentials) {
            Some(known) => {
                known.sections.push(index);
                known.active |= active;
            }
            None => all.push(Identity {
                credentials,
                sections: vec![index],
                active,
            }),
        }
    }
    Ok(all)
}

/// Why one port could not serve this description, if so.
fn unservable(sdp: &Description<'_>, identities: &[Identity<'_>]) -> Option<Refusal> {
    let active = |index: &&usize| sdp.is_active(**index);
    for identity in identities.iter().filter(|_| !sdp.is_fragment) {
        let mut sections = identity.sections.iter().filter(active);
        let first = sections.next().map(|&index| sdp.sections[index].bundle);
        if sections.any(|&index| first != Some(sdp.sections[index].bundle) || first == Some(None)) {
            return Some(Refusal::NoBundle);
        }
    }
    let rtcp_apart = sdp.sections.iter().enumerate().any(|(index, section)| {
        let mut candidates = section.candidates();
        sdp.is_active(index)
            && !sdp.is_fragment
            && section.is_rtp()
            && !section.rtcp_mux
            && candidates.any(|candidate| candidate.component == 2)
    });
    rtcp_apart.then_some(Refusal::NoRtcpMux)
}

fn for_client(
    cx: &mut Context<'_>,
    sdp: &Description<'_>,
    identities: &[Identity<'_>],
    hint: &Hint,
) -> Result<(Renewed, Vec<Fact>), Refusal> {
    if let Some(refusal) = unservable(sdp, identities) {
        return Err(refusal);
    }
    let active = || (0..sdp.sections.len()).filter(|&index| sdp.is_active(index));
    let candidates = |index: usize| sdp.sections[index].candidates();
    let usable = addresses::best(cx, active().flat_map(candidates));
    if usable.is_empty() && active().any(|index| !sdp.sections[index].candidates.is_empty()) {
        return Err(Refusal::ServerNotAllowed);
    }
    let server_offers = hint.offer.unwrap_or_else(|| sdp.looks_like_offer());
    let mut renewed = Vec::new();
    let mut facts = Vec::new();
    for identity in identities {
        let own = active().filter(|index| identity.sections.contains(index));
        let server = Server {
            credentials: identity.credentials,
            offers: server_offers,
            lite: sdp.is_lite(),
            candidates: addresses::best(cx, own.flat_map(candidates)),
        };
        let token = match cx.mode {
            Mode::Hijack => Some(server.token(cx)?),
            Mode::Direct => None,
        };
        if identity.active {
            facts.extend(server.facts(hint, token.as_deref()));
        }
        renewed.push(token.map(|token| Credentials {
            pwd: cx.keys.client_facing_pwd(&token),
            ufrag: token,
        }));
    }
    if identities.is_empty() {
        let trickled = |candidate| Fact::ServerCandidate {
            scope: hint.scope.clone(),
            ufrag: None,
            candidate,
        };
        facts.extend(usable.into_iter().map(trickled));
    }
    Ok((renewed, facts))
}

/// One identity of a server.
struct Server<'a> {
    credentials: IceCredentials<'a>,
    offers: bool,
    lite: bool,
    candidates: Vec<ServerCandidate>,
}

impl Server<'_> {
    /// The token for it: the one that the client knows already, else a new one.
    fn token(&self, cx: &mut Context<'_>) -> Result<String, Refusal> {
        let ufrag = self.credentials.ufrag;
        let Some(pwd) = self.credentials.pwd else {
            return cx.memory.token_of(cx.route, ufrag).ok_or(Refusal::UnknownUfrag);
        };
        if let Some(token) = cx.memory.token(cx.route, ufrag, pwd) {
            return Ok(token);
        }
        let claims = Claims {
            route: cx.route,
            minted_at: cx.now,
            server_offers: self.offers,
            server_lite: self.lite,
            icetcp: cx.icetcp,
            ufrag: ufrag.to_owned(),
            pwd: pwd.to_owned(),
            candidates: self.candidates.clone(),
        };
        let token = cx.keys.seal(&claims).map_err(|_| Refusal::TooLong)?;
        cx.memory.remember(cx.route, ufrag, pwd, &token);
        Ok(token)
    }

    fn facts(&self, hint: &Hint, token: Option<&str>) -> Vec<Fact> {
        let ufrag = self.credentials.ufrag.to_owned();
        let Some(pwd) = self.credentials.pwd else {
            let trickled = |&candidate| Fact::ServerCandidate {
                scope: hint.scope.clone(),
                ufrag: Some(ufrag.clone()),
                candidate,
            };
            return self.candidates.iter().map(trickled).collect();
        };
        vec![Fact::ServerDescription {
            scope: hint.scope.clone(),
            ufrag,
            pwd: pwd.to_owned(),
            token: token.map(str::to_owned),
            server_offers: self.offers,
            server_lite: self.lite,
            candidates: self.candidates.clone(),
        }]
    }
}

fn for_server(cx: &Context<'_>, identities: &[Identity<'_>], hint: &Hint) -> (Renewed, Vec<Fact>) {
    let renewed = identities
        .iter()
        .map(|identity| match cx.mode {
            Mode::Hijack => Some(cx.keys.server_facing(cx.route, identity.credentials.ufrag, None)),
            Mode::Direct => None,
        })
        .collect();
    let facts = identities
        .iter()
        .filter(|identity| identity.active)
        .map(|identity| Fact::ClientDescription {
            scope: hint.scope.clone(),
            ufrag: identity.credentials.ufrag.to_owned(),
        })
        .collect();
    (renewed, facts)
}

/// Spells the decisions out for every section.
fn plan(
    cx: &Context<'_>,
    direction: Direction,
    sdp: &Description<'_>,
    identities: &[Identity<'_>],
    renewed: &Renewed,
) -> Result<Plan<'static>, Refusal> {
    let hosts = sdp.candidate_sections();
    let mut shown = Vec::with_capacity(identities.len());
    for (identity, renewed) in identities.iter().zip(renewed) {
        let ufrag = renewed
            .as_ref()
            .map_or(identity.credentials.ufrag, |new| &new.ufrag);
        shown.push(Shown::to(cx, direction, ufrag)?);
    }
    // A session part without credentials, and a rejected section without any, show what the first identity shows.
    let fallback = match shown.first() {
        Some(first) => first.clone(),
        None => Shown::to(cx, direction, "")?,
    };
    let sections = (0..sdp.sections.len()).map(|index| {
        let identity = identities
            .iter()
            .position(|known| known.sections.contains(&index));
        let shown = identity.map_or(&fallback, |identity| &shown[identity]);
        let new = identity.and_then(|identity| renewed[identity].as_ref());
        Replacement {
            ufrag: new.map(|new| new.ufrag.clone()),
            pwd: new.map(|new| new.pwd.clone()),
            candidates: if hosts.contains(&index) {
                shown.lines.clone()
            } else {
                Vec::new()
            },
            default: shown.default,
        }
    });
    let hijack = cx.mode == Mode::Hijack;
    // A fragment without credentials is a trickle: it neither states what the agent is nor ends anything.
    let complete = !identities.is_empty();
    Ok(Plan {
        sections: sections.collect(),
        end_of_candidates: direction == Direction::ToClient && complete,
        lite: match direction {
            Direction::ToServer => Lite::Remove,
            Direction::ToClient if hijack && complete => Lite::Ensure,
            Direction::ToClient => Lite::Keep,
        },
        drop_options: if hijack { OWN_OPTIONS } else { &[] },
    })
}

/// The addresses of ours that one side is shown.
#[derive(Clone)]
struct Shown {
    lines: Vec<String>,
    default: SocketAddr,
}

impl Shown {
    /// `ufrag` is the one that the other side will see.
    fn to(cx: &Context<'_>, direction: Direction, ufrag: &str) -> Result<Self, Refusal> {
        match direction {
            Direction::ToClient => Ok(Self {
                lines: addresses::client_lines(cx.client_candidates),
                default: addresses::default_address(cx.client_candidates)
                    .ok_or(Refusal::NoClientCandidate)?,
            }),
            Direction::ToServer => {
                let addr = (cx.server_leg)(ufrag).ok_or(Refusal::NoServerLeg)?;
                Ok(Self {
                    lines: vec![addresses::server_line(addr, None)],
                    default: addr,
                })
            }
        }
    }
}
