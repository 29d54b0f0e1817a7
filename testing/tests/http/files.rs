//! Static files, and attempts to read others.

use std::path::PathBuf;

use hyper::Method;

use crate::front::{Front, Setup, send, text};

/// A root with a page and a directory, and a secret beside it.
struct Root(PathBuf);

impl Root {
    fn new(name: &str) -> Self {
        let base = std::env::temp_dir().join(format!("xrtc-files-{name}-{}", std::process::id()));
        let root = base.join("root");
        std::fs::create_dir_all(root.join("dir")).unwrap();
        std::fs::create_dir_all(root.join("empty")).unwrap();
        std::fs::write(root.join("index.html"), "home").unwrap();
        std::fs::write(root.join("dir/index.html"), "dir").unwrap();
        std::fs::write(root.join("janus.js"), "script").unwrap();
        std::fs::write(base.join("secret"), "secret").unwrap();
        Self(base)
    }

    fn front(&self) -> Front {
        Setup::empty().root(self.0.join("root")).start()
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn files_are_served_with_their_type_and_directories_by_their_index() {
    let root = Root::new("served");
    let front = root.front();
    let script = send(front.get("/janus.js")).await;
    assert_eq!(script.headers()["content-type"], "text/javascript");
    assert_eq!(text(script).await, "script");
    assert_eq!(text(send(front.get("/")).await).await, "home");
    assert_eq!(text(send(front.get("/dir/")).await).await, "dir");
    assert_eq!(send(front.get("/empty/")).await.status(), 404);
    assert_eq!(send(front.get("/none")).await.status(), 404);
}

#[tokio::test]
async fn files_are_only_read() {
    let root = Root::new("read");
    let front = root.front();
    let mut head = front.get("/janus.js");
    *head.method_mut() = Method::HEAD;
    let head = send(head).await;
    assert_eq!(head.headers()["content-length"], "6");
    assert_eq!(text(head).await, "");
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let mut request = front.get("/janus.js");
        *request.method_mut() = method;
        let refused = send(request).await;
        assert_eq!(refused.status(), 405);
        assert_eq!(refused.headers()["allow"], "GET, HEAD");
    }
}

#[tokio::test]
async fn nothing_outside_of_the_root_is_read() {
    let root = Root::new("outside");
    let front = root.front();
    let absolute = root.0.join("secret").display().to_string();
    let paths = [
        "/../secret".to_owned(),
        "/dir/../../secret".to_owned(),
        "/%2e%2e/secret".to_owned(),
        "/%2e%2e%2fsecret".to_owned(),
        "/..%2fsecret".to_owned(),
        "/..%5csecret".to_owned(),
        "/%252e%252e/secret".to_owned(),
        "/.%00./secret".to_owned(),
        "//../secret".to_owned(),
        format!("/{absolute}"),
        format!("/{}", absolute.replace('/', "%2f")),
        absolute,
    ];
    for path in paths {
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let answer = front.raw(&request).await;
        assert!(
            answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.1 404 "),
            "{path}: {answer}"
        );
        assert!(!answer.ends_with("secret"), "{path}");
    }
}
