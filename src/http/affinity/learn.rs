//! What a response tells of calls: which it created, and which it ended.

use std::time::Instant;

use hyper::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use hyper::{Method, StatusCode};
use serde_json::Value;

use crate::upstream::{Lease, Purpose};

use super::super::references;
use super::super::site::Exchange;

/// The answer to a Janus `create` is a hundred bytes or so.
const MAX_CREATED: usize = 1024;
const SDP: &str = "application/sdp";

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
pub(in super::super) fn learn(exchange: &Exchange<'_>, lease: &Lease, told: &Told<'_>) {
    let shared = &exchange.site.shared;
    let group = shared.upstreams.group(exchange.route.upstream);
    if !super::serves_calls(group, Purpose::Request) || !told.status.is_success() {
        return;
    }
    let route = exchange.route.id;
    let path = exchange.target.path();
    match *told.method {
        Method::DELETE => shared.affinity.forget(route, path),
        Method::POST => {
            let call = created_resource(path, told).or_else(|| created_session(path, told));
            let noted =
                call.is_some_and(|call| shared.affinity.note(route, &call, lease.id(), Instant::now()));
            if noted {
                shared.counters.affinity_learned.add();
            }
        }
        _ => {}
    }
}

/// WHIP (RFC 9725 section 4.2) and WHEP: the resource that `201 Created` locates.
fn created_resource(path: &str, told: &Told<'_>) -> Option<String> {
    let is_sdp = |headers: &HeaderMap| {
        headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.trim_start().to_ascii_lowercase().starts_with(SDP))
    };
    let created = told.status == StatusCode::CREATED && (is_sdp(told.request) || is_sdp(told.response));
    let location = told.response.get(LOCATION).filter(|_| created)?;
    references::resolved_path(path, location.to_str().ok()?)
}

/// Janus REST: the session that `create` made lies below the path that it was posted to. Other successes name the
/// session that they belong to.
fn created_session(path: &str, told: &Told<'_>) -> Option<String> {
    let body = told.body.filter(|body| body.len() <= MAX_CREATED)?;
    let told: Value = serde_json::from_slice(body).ok()?;
    let success = told.get("janus")? == "success" && told.get("session_id").is_none();
    let id = match told.get("data")?.get("id").filter(|_| success)? {
        Value::Number(id) => id.as_u64()?.to_string(),
        Value::String(id) => id.clone(),
        _ => return None,
    };
    Some(format!("{}/{id}", path.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(body: &str) -> Option<String> {
        let told = Told {
            method: &Method::POST,
            request: &HeaderMap::new(),
            status: StatusCode::OK,
            response: &HeaderMap::new(),
            body: Some(body.as_bytes()),
        };
        created_session("/base/", &told)
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
            "x".repeat(MAX_CREATED)
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
