//! What a response tells of calls: which it created, and which it ended.

use std::time::Instant;

use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, LOCATION};
use hyper::{Method, StatusCode};
use serde_json::Value;

use crate::upstream::Purpose;

use super::super::references;
use super::super::site::Exchange;
use super::Choice;

/// A Janus server's answer to `create`, and its errors, are a hundred bytes or so.
const MAX_SHORT: usize = 1024;
/// `JANUS_ERROR_SESSION_NOT_FOUND`.
const NO_SUCH_SESSION: u64 = 458;
const SDP: &str = "application/sdp";
/// RFC 8840 section 9.
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// A response as its client will see it, and the request before it.
pub(in super::super) struct Told<'a> {
    pub(in super::super) method: &'a Method,
    pub(in super::super) request: &'a HeaderMap,
    pub(in super::super) status: StatusCode,
    pub(in super::super) response: &'a HeaderMap,
    /// If it was looked at.
    pub(in super::super) body: Option<&'a [u8]>,
}

/// Notes where the call is that a response created, and forgets the one that it ended.
pub(in super::super) fn learn(exchange: &Exchange<'_>, choice: &Choice, told: &Told<'_>) {
    let shared = &exchange.site.shared;
    let group = shared.upstreams.group(exchange.route.upstream);
    if !super::serves_calls(group, Purpose::Request) || !told.status.is_success() {
        return;
    }
    let route = exchange.route.id;
    let path = exchange.target.path();
    if *told.method == Method::DELETE {
        return shared.affinity.forget(route, path);
    }
    let call = if *told.method == Method::POST {
        created_resource(path, told).or_else(|| created_session(path, told.body?))
    } else {
        None
    };
    // A call that was not known, on a server that knows it.
    let found = || {
        told.body
            .filter(|_| !choice.bound)
            .and_then(|body| found_session(path, body))
    };
    let noted = call
        .or_else(|| found_resource(path, choice.bound, told))
        .or_else(found)
        .is_some_and(|call| {
            shared
                .affinity
                .note(route, &call, choice.lease.id(), Instant::now())
        });
    if noted {
        shared.counters.affinity_learned.add();
    }
}

/// Whether a server says that it does not know the Janus session, or the resource, and others might.
pub(in super::super) fn is_disclaimer(exchange: &Exchange<'_>, told: &Told<'_>) -> bool {
    let group = exchange.site.shared.upstreams.group(exchange.route.upstream);
    super::serves_calls(group, Purpose::Request)
        && (denies_resource(told)
            || match told.body {
                Some(body) => denies_session(body),
                None => denies_poll(exchange.target.path(), told),
            })
}

/// The answer to what is asked of WHIP and WHEP resources (RFC 9725 sections 4.2 and 4.3): nothing was done.
fn denies_resource(told: &Told<'_>) -> bool {
    let asked = *told.method == Method::DELETE || is_fragment(told);
    asked && told.status == StatusCode::NOT_FOUND
}

fn is_fragment(told: &Told<'_>) -> bool {
    *told.method == Method::PATCH && is_of_type(told.request, FRAGMENT)
}

fn is_of_type(headers: &HeaderMap, expected: &str) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.trim_start().to_ascii_lowercase().starts_with(expected))
}

/// The answer to a message.
pub(in super::super) fn denies_session(body: &[u8]) -> bool {
    let told: Option<Value> = Some(body)
        .filter(|body| body.len() <= MAX_SHORT)
        .and_then(|body| serde_json::from_slice(body).ok());
    told.is_some_and(|told| told["janus"] == "error" && told["error"]["code"] == NO_SUCH_SESSION)
}

/// The answer to a long poll: 404 and nothing else, for a path that ends in a number as sessions do.
fn denies_poll(path: &str, told: &Told<'_>) -> bool {
    let is_number = |segment: &str| !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_digit());
    let is_empty = told
        .response
        .get(CONTENT_LENGTH)
        .is_some_and(|length| length == "0");
    *told.method == Method::GET
        && told.status == StatusCode::NOT_FOUND
        && is_empty
        && path
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .is_some_and(is_number)
}

/// WHIP (RFC 9725 section 4.2) and WHEP: the resource that `201 Created` locates.
fn created_resource(path: &str, told: &Told<'_>) -> Option<String> {
    let created = told.status == StatusCode::CREATED
        && (is_of_type(told.request, SDP) || is_of_type(told.response, SDP));
    let location = told.response.get(LOCATION).filter(|_| created)?;
    references::resolved_path(path, location.to_str().ok()?)
}

/// The resource that took a fragment, though nobody knew that it is there.
fn found_resource(path: &str, known: bool, told: &Told<'_>) -> Option<String> {
    (!known && is_fragment(told)).then(|| path.to_owned())
}

/// Janus REST: the session that `create` made lies below the path that it was posted to. Other successes name the
/// session that they belong to.
fn created_session(path: &str, body: &[u8]) -> Option<String> {
    let told: Value = serde_json::from_slice(Some(body).filter(|body| body.len() <= MAX_SHORT)?).ok()?;
    let success = told.get("janus")? == "success" && told.get("session_id").is_none();
    let id = id_text(told.get("data")?.get("id").filter(|_| success)?)?;
    Some(format!("{}/{id}", path.trim_end_matches('/')))
}

/// Janus REST: the session that an answer, or the first event of several, belongs to, if the path names it.
fn found_session(path: &str, body: &[u8]) -> Option<String> {
    let told: Value = serde_json::from_slice(body).ok()?;
    let event = match &told {
        Value::Array(events) => events.first()?,
        other => other,
    };
    if event.get("janus")? == "error" {
        return None;
    }
    let id = id_text(event.get("session_id")?)?;
    let segments: Vec<&str> = path.split('/').collect();
    let at = segments.iter().position(|segment| *segment == id)?;
    Some(segments[..=at].join("/"))
}

fn id_text(id: &Value) -> Option<String> {
    match id {
        Value::Number(id) => Some(id.as_u64()?.to_string()),
        Value::String(id) if !id.is_empty() => Some(id.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(body: &str) -> Option<String> {
        created_session("/base/", body.as_bytes())
    }

    #[test]
    fn a_session_is_found_again_by_the_path_that_names_it() {
        let found = |path, body: &str| found_session(path, body.as_bytes());
        let ack = r#"{"janus":"ack","session_id":12,"transaction":"t"}"#;
        assert_eq!(found("/a/b/12/34", ack).as_deref(), Some("/a/b/12"));
        assert_eq!(found("/a/b/12", ack).as_deref(), Some("/a/b/12"));
        assert_eq!(found("/a/b/123", ack), None, "not its path");
        let events = r#"[{"janus":"event","session_id":"s","sender":1},{"janus":"hangup"}]"#;
        assert_eq!(found("/a/s", events).as_deref(), Some("/a/s"));
        let error = r#"{"janus":"error","session_id":12,"error":{"code":458}}"#;
        assert_eq!(found("/a/b/12", error), None);
        assert!(denies_session(error.as_bytes()));
        for other in [ack, "", r#"{"janus":"error","error":{"code":459}}"#] {
            assert!(!denies_session(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_poll_is_denied_by_a_bare_404() {
        let mut response = HeaderMap::new();
        response.insert(CONTENT_LENGTH, 0.into());
        let denied = |method: &Method, path: &str, status, response: &HeaderMap| {
            let told = Told {
                method,
                request: &HeaderMap::new(),
                status,
                response,
                body: None,
            };
            denies_poll(path, &told)
        };
        let not_found = StatusCode::NOT_FOUND;
        assert!(denied(&Method::GET, "/janus/12", not_found, &response));
        assert!(!denied(&Method::POST, "/janus/12", not_found, &response));
        assert!(!denied(&Method::GET, "/janus/page", not_found, &response));
        assert!(!denied(&Method::GET, "/janus/12", StatusCode::OK, &response));
        response.insert(CONTENT_LENGTH, 9.into());
        assert!(
            !denied(&Method::GET, "/janus/12", not_found, &response),
            "somebody's error page"
        );
    }

    #[test]
    fn a_janus_session_lies_below_the_path_it_was_created_at() {
        let created = r#"{"janus":"success","transaction":"t","data":{"id":9007199254740993}}"#;
        assert_eq!(session(created).as_deref(), Some("/base/9007199254740993"));
        let text = r#"{"janus":"success","data":{"id":"abc"}}"#;
        assert_eq!(session(text).as_deref(), Some("/base/abc"));
    }

    #[test]
    fn other_answers_create_nothing() {
        for body in [
            r#"{"janus":"success","session_id":1,"data":{"id":2}}"#,
            r#"{"janus":"ack","data":{"id":2}}"#,
            r#"{"janus":"success","data":{"id":-2}}"#,
            r#"{"janus":"success","data":{}}"#,
            r#"{"janus":"success"}"#,
            r#"[{"janus":"success","data":{"id":2}}]"#,
            "",
            "{",
        ] {
            assert_eq!(session(body), None, "{body}");
        }
        let long = format!(
            r#"{{"janus":"success","data":{{"id":2}},"x":"{}"}}"#,
            "x".repeat(MAX_SHORT)
        );
        assert_eq!(session(&long), None);
    }

    #[test]
    fn a_whip_resource_is_where_its_location_says() {
        let mut response = HeaderMap::new();
        response.insert(LOCATION, "res/1?x".parse().unwrap());
        let mut request = HeaderMap::new();
        let told = |status, request: &HeaderMap| {
            let told = Told {
                method: &Method::POST,
                request,
                status,
                response: &response,
                body: None,
            };
            created_resource("/whip/live", &told)
        };
        assert_eq!(
            told(StatusCode::CREATED, &request),
            None,
            "anything else that is created"
        );
        request.insert(CONTENT_TYPE, "Application/SDP; x=y".parse().unwrap());
        assert_eq!(
            told(StatusCode::CREATED, &request).as_deref(),
            Some("/whip/res/1")
        );
        assert_eq!(told(StatusCode::OK, &request), None);
    }
}
