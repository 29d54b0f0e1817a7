//! What one proxy made of a case, field by field, without what is different each time.

use std::collections::BTreeMap;

use crate::client::Got;
use crate::message::{Head, Message};
use crate::proxies::Proxy;

/// Longer values are cut.
const MAX: usize = 120;

/// By name; what is missing is not there.
pub(crate) type Fields = BTreeMap<String, String>;

/// The fields of what the client got and of what the upstream saw.
pub(crate) fn of(proxy: &Proxy, got: &Got, seen: &[Message]) -> Fields {
    let mut fields = Fields::new();
    let interim: Vec<&str> = got.interim.iter().map(Head::status).collect();
    if !interim.is_empty() {
        fields.insert("interim".into(), interim.join(", "));
    }
    match &got.response {
        None => drop(fields.insert("status".into(), "closed without a response".into())),
        Some(response) => {
            fields.insert("status".into(), response.head.status().into());
            let own_page = seen.is_empty() || response.head.status().starts_with('5');
            enter(&mut fields, "response", response, own_page);
        }
    }
    if seen.len() != 1 {
        fields.insert("requests".into(), seen.len().to_string());
    }
    if let Some(request) = seen.first() {
        fields.insert("request line".into(), request.head.start.clone());
        enter(&mut fields, "request", request, false);
    }
    fields
        .into_iter()
        .map(|(name, value)| (name, masked(proxy, &value)))
        .collect()
}

fn enter(fields: &mut Fields, side: &str, message: &Message, own_page: bool) {
    for (name, value) in &message.head.fields {
        let value = match name.as_str() {
            "date" => "a date",
            "etag" if value.contains('-') => "a tag",
            "x-request-id" => "an id",
            "content-length" if own_page => "a length",
            "sec-websocket-key" | "sec-websocket-accept" => "a key",
            "content-type" if value.contains("boundary=") => "multipart/byteranges",
            _ => value,
        };
        let all = fields.entry(format!("{side}: {name}")).or_default();
        if !all.is_empty() {
            all.push_str(" | ");
        }
        all.push_str(value);
    }
    let body = if own_page && !message.body.is_empty() {
        "a page of its own".into()
    } else {
        String::from_utf8_lossy(&message.body).escape_debug().to_string()
    };
    if !body.is_empty() {
        fields.insert(format!("{side} body"), body);
    }
}

fn masked(proxy: &Proxy, value: &str) -> String {
    let upstream = proxy.origin.addr;
    let mut value = value.replace(&upstream.to_string(), "UPSTREAM");
    for port in proxy.ports {
        value = value.replace(&format!(":{port}"), ":PORT");
        if value == port.to_string() {
            value = "PORT".into();
        }
    }
    match value.char_indices().nth(MAX) {
        Some((at, _)) => format!("{}…", &value[..at]),
        None => value,
    }
}
