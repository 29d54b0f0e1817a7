//! The files of the page, part of the binary. Nothing is loaded from elsewhere.

/// A file as it is served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asset {
    /// For `Content-Type`.
    pub(super) media_type: &'static str,
    /// The file's bytes.
    pub(super) body: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// The file at `path`, which starts with a slash.
pub(super) fn asset(path: &str) -> Option<Asset> {
    let (media_type, body) = match path {
        "/" | "/index.html" => (HTML, include_str!("page/index.html")),
        "/style.css" => (CSS, include_str!("page/style.css")),
        "/app.js" => (JS, include_str!("page/app.js")),
        "/call.js" => (JS, include_str!("page/call.js")),
        "/pattern.js" => (JS, include_str!("page/pattern.js")),
        "/plot.js" => (JS, include_str!("page/plot.js")),
        "/stats.js" => (JS, include_str!("page/stats.js")),
        _ => return None,
    };
    Some(Asset { media_type, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every relative reference of the page and its modules, as the browser would ask for it.
    fn references(body: &str) -> Vec<String> {
        let marks = ["href=\"", "src=\"", "from \"./"];
        let found = marks
            .iter()
            .flat_map(|mark| body.split(mark).skip(1).map(move |rest| (mark, rest)));
        found
            .filter_map(|(_, rest)| rest.split('"').next())
            .filter(|target| !target.starts_with("data:") && !target.starts_with('#'))
            .map(|target| format!("/{target}"))
            .collect()
    }

    #[test]
    fn whatever_the_page_refers_to_is_embedded() {
        let mut pending = vec!["/".to_owned()];
        let mut seen = Vec::new();
        while let Some(path) = pending.pop() {
            let asset = asset(&path).unwrap_or_else(|| panic!("{path} is missing"));
            if !seen.contains(&path) {
                pending.extend(references(asset.body));
                seen.push(path);
            }
        }
        assert_eq!(
            seen.len(),
            7 - 1,
            "every file but /index.html, the other name of /, is reached: {seen:?}"
        );
    }

    #[test]
    fn the_page_is_self_contained() {
        for path in [
            "/",
            "/style.css",
            "/app.js",
            "/call.js",
            "/pattern.js",
            "/plot.js",
            "/stats.js",
        ] {
            let body = asset(path)
                .unwrap()
                .body
                .replace("http://www.w3.org/2000/svg", "");
            assert!(
                !body.contains("http://") && !body.contains("https://"),
                "{path} names another site"
            );
        }
        assert!(asset("/../Cargo.toml").is_none());
    }
}
