//! The files of the page, part of the binary. Nothing is loaded from elsewhere.

/// A file as it is served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asset {
    path: &'static str,
    /// For `Content-Type`.
    pub(super) media_type: &'static str,
    /// The file's text.
    pub(super) body: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

const ASSETS: [Asset; 7] = [
    Asset {
        path: "/",
        media_type: HTML,
        body: include_str!("page/index.html"),
    },
    Asset {
        path: "/app.js",
        media_type: JS,
        body: include_str!("page/app.js"),
    },
    Asset {
        path: "/call.js",
        media_type: JS,
        body: include_str!("page/call.js"),
    },
    Asset {
        path: "/pattern.js",
        media_type: JS,
        body: include_str!("page/pattern.js"),
    },
    Asset {
        path: "/plot.js",
        media_type: JS,
        body: include_str!("page/plot.js"),
    },
    Asset {
        path: "/stats.js",
        media_type: JS,
        body: include_str!("page/stats.js"),
    },
    Asset {
        path: "/style.css",
        media_type: CSS,
        body: include_str!("page/style.css"),
    },
];

/// The file at `path`, which starts with a slash.
pub(super) fn asset(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every relative reference of the page and its modules, as the browser would ask for it.
    fn references(body: &str) -> impl Iterator<Item = String> {
        let targets = ["href=\"", "src=\"", "from \"./"]
            .into_iter()
            .flat_map(|mark| body.split(mark).skip(1));
        targets
            .filter_map(|rest| rest.split('"').next())
            .filter(|target| !target.starts_with("data:"))
            .map(|target| format!("/{target}"))
    }

    #[test]
    fn the_page_refers_to_every_file_and_to_no_other() {
        let mut pending = vec!["/".to_owned()];
        let mut seen = Vec::new();
        while let Some(path) = pending.pop() {
            let asset = asset(&path).unwrap_or_else(|| panic!("{path} is missing"));
            if !seen.contains(&path) {
                pending.extend(references(asset.body));
                seen.push(path);
            }
        }
        seen.sort();
        assert_eq!(seen, ASSETS.map(|asset| asset.path));
    }

    #[test]
    fn the_page_names_no_other_site() {
        for Asset { path, body, .. } in ASSETS {
            // The namespace of the icon is a name, not an address.
            let body = body.replace("http://www.w3.org/2000/svg", "");
            assert!(
                !body.contains("http://") && !body.contains("https://"),
                "{path} names another site"
            );
        }
    }
}
