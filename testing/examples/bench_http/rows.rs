//! What is measured.

use super::load::{Load, Post};
use super::proxies::Proxy;

/// One line of the table.
pub(crate) struct Row {
    /// What the line begins with.
    pub(crate) name: &'static str,
    /// What is asked for.
    pub(crate) load: Load,
    /// haproxy has no files.
    file: bool,
}

impl Row {
    const fn new(name: &'static str, load: Load) -> Self {
        Self {
            name,
            load,
            file: false,
        }
    }

    /// Whether a proxy can do this.
    pub(crate) fn is_served_by(&self, proxy: &Proxy) -> bool {
        proxy.has_files || !self.file
    }
}

/// Every line, in order.
pub(crate) const ALL: [Row; 8] = [
    Row::new(
        "GET 1 KiB",
        Load::Get {
            tls: false,
            path: "/get",
        },
    ),
    Row {
        file: true,
        ..Row::new(
            "file 1 KiB",
            Load::Get {
                tls: false,
                path: "/file.bin",
            },
        )
    },
    Row::new(
        "TLS GET 1 KiB",
        Load::Get {
            tls: true,
            path: "/get",
        },
    ),
    Row::new("h2 TLS GET 1 KiB", Load::Http2 { path: "/get" }),
    Row::new("WebSocket 64 B echo", Load::WebSocket { length: 64 }),
    Row::new("WebSocket 1 KiB echo", Load::WebSocket { length: 1024 }),
    Row::new(
        "POST 1 KiB JSON",
        Load::Post {
            path: "/janus",
            body: Post::Json,
        },
    ),
    Row::new(
        "POST offer",
        Load::Post {
            path: "/janus",
            body: Post::Offer,
        },
    ),
];
