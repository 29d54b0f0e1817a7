//! What a wrong value was probably meant to be, from what people write who come from other programs. Pure; whoever
//! asks has found the value wrong already, and no hint is ever taken for a value.

use std::net::IpAddr;

use super::tree::{Node, Value, quoted};

/// The words that other formats have for truths.
const TRUE: [&str; 5] = ["true", "yes", "on", "1", "y"];
const FALSE: [&str; 5] = ["false", "no", "off", "0", "n"];

fn written(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar(scalar) => Some(scalar.text.as_str()),
        Value::Null | Value::List(_) | Value::Section(_) => None,
    }
}

fn meant(text: impl AsRef<str>) -> String {
    format!("did you mean {}?", quoted(text.as_ref()))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Of `true` or `false`.
pub(super) fn boolean(node: &Node) -> Option<String> {
    let word = written(node)?.to_ascii_lowercase();
    let means = |words: [&str; 5]| words.contains(&word.as_str());
    match (means(TRUE), means(FALSE)) {
        _ if ["true", "false"].contains(&written(node)?) => Some("leave out the quotes".to_owned()),
        (true, _) => Some(meant("true")),
        (_, true) => Some(meant("false")),
        (false, false) => None,
    }
}

/// Of a number.
pub(super) fn integer(node: &Node) -> Option<String> {
    let text = written(node)?;
    let in_quotes = matches!(&node.value, Value::Scalar(scalar) if !scalar.plain);
    (in_quotes && is_number(text)).then(|| "leave out the quotes".to_owned())
}

/// Of a duration.
pub(super) fn duration(node: &Node) -> Option<String> {
    let text = written(node)?;
    is_number(text).then(|| meant(format!("{text}s")))
}

/// Of a size: decimal units, or none of ours.
pub(super) fn size(node: &Node) -> Option<String> {
    let text = written(node)?;
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "k" | "kb" | "kib" => "KiB",
        "m" | "mb" | "mib" => "MiB",
        "g" | "gb" | "gib" => "GiB",
        _ => return None,
    };
    let likely = format!("{number}{unit}");
    (digits > 0 && likely != text).then(|| meant(likely))
}

/// Of a listening address.
pub(super) fn listen(node: &Node) -> Option<String> {
    let text = written(node)?;
    if is_number(text) {
        return Some(meant(format!(":{text}")));
    }
    if text.parse::<IpAddr>().is_ok() {
        return Some("its port is missing".to_owned());
    }
    let (host, port) = text.rsplit_once(':')?;
    match port.parse::<u16>() {
        Ok(_) if host == "*" => Some(meant(format!(":{port}"))),
        Ok(_) if host == "localhost" => Some(meant(format!("127.0.0.1:{port}"))),
        Ok(_) if host.parse::<IpAddr>().is_err() => {
            Some("names are not looked up here; an address, or none for all".to_owned())
        }
        Err(_) if is_number(port) => Some("a port is at most 65535".to_owned()),
        _ => None,
    }
}

/// Of a host: a URL, or one with a port.
pub(super) fn host(node: &Node) -> Option<String> {
    let text = written(node)?;
    let (_, rest) = text.split_once("://").unwrap_or(("", text));
    let authority = rest.split('/').next()?;
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if is_number(port) => host,
        _ => authority,
    };
    (host != text && !host.is_empty()).then(|| meant(host))
}

/// Of a server's URL.
pub(super) fn server(node: &Node) -> Option<String> {
    let text = written(node)?;
    match text.split_once("://") {
        None => Some(meant(format!("http://{text}"))),
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_once('/')?;
            (!path.is_empty() && !authority.is_empty()).then(|| {
                let url = quoted(&format!("{scheme}://{authority}"));
                format!("did you mean {url}? The `paths` of a route can rewrite: `/a: /b`")
            })
        }
    }
}

/// Of a WebSocket subprotocol.
pub(super) fn subprotocol(node: &Node) -> Option<String> {
    let text = written(node)?;
    (!text.contains('@')).then(|| meant(format!("ws@{text}")))
}

/// Of a URL path, which is a prefix.
pub(super) fn path(node: &Node) -> Option<String> {
    let text = written(node)?;
    if text.starts_with(['~', '^']) {
        return Some("a path is a prefix, not a pattern".to_owned());
    }
    (!text.starts_with('/') && !text.contains("://")).then(|| meant(format!("/{text}")))
}

/// Of a section.
pub(super) fn section(node: &Node) -> Option<String> {
    let is_list = matches!(node.value, Value::List(_));
    is_list.then(|| "write `name:` without the `-`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::errors::Mark;
    use super::*;

    #[test]
    fn hints_come_with_what_is_told_by_them_only() {
        let node = |text: &str| Node::text(Mark::default(), text);
        type Hint = fn(&Node) -> Option<String>;
        let cases: [(Hint, &str, Option<&str>); 21] = [
            (boolean, "yes", Some("did you mean `true`?")),
            (boolean, "Off", Some("did you mean `false`?")),
            (boolean, "maybe", None),
            (duration, "10", Some("did you mean `10s`?")),
            (duration, "-10s", None),
            (size, "10MB", Some("did you mean `10MiB`?")),
            (size, "64 k", Some("did you mean `64KiB`?")),
            (size, "lots", None),
            (size, "65KiB", None),
            (listen, "6443", Some("did you mean `:6443`?")),
            (listen, "::1", Some("its port is missing")),
            (listen, "*:80", Some("did you mean `:80`?")),
            (listen, ":66443", Some("a port is at most 65535")),
            (listen, "a:b:c", None),
            (host, "https://a.example/x", Some("did you mean `a.example`?")),
            (host, "a b", None),
            (server, "10.0.0.1:80", Some("did you mean `http://10.0.0.1:80`?")),
            (server, "ftp://a", None),
            (subprotocol, "janus", Some("did you mean `ws@janus`?")),
            (path, "janus", Some("did you mean `/janus`?")),
            (path, "/a?b", None),
        ];
        for (hint, text, expected) in cases {
            assert_eq!(hint(&node(text)).as_deref(), expected, "{text}");
        }
    }
}
