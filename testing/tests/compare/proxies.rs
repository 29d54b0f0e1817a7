//! xrtc, nginx and haproxy, each as it is usually set up, each in front of an upstream of its own.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, SystemTime};

use xrtc_testing::lab::{Process, WorkDir, binary};

use crate::origin::Origin;

const START: Duration = Duration::from_secs(10);

/// A proxy that runs, and its upstream.
pub(crate) struct Proxy {
    pub(crate) name: &'static str,
    /// The second is for HTTP/2.
    pub(crate) ports: [u16; 2],
    pub(crate) origin: Origin,
    _process: Process,
}

/// All of them, in the order of the table.
pub(crate) fn start(work: &WorkDir) -> [Proxy; 3] {
    let root = work.join("root");
    for directory in ["sub", "empty"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    for (name, text) in [("file.txt", "text\n"), ("sub/index.html", "index\n")] {
        fs::write(root.join(name), text).unwrap();
        let file = fs::File::options().append(true).open(root.join(name)).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        file.set_modified(time).unwrap();
    }
    [xrtc(work), nginx(work), haproxy(work)]
}

/// A port that nothing listens on.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn run(work: &WorkDir, name: &'static str, ports: [u16; 2], origin: Origin, command: &mut Command) -> Proxy {
    let mut process = Process::spawn(name, command, work.path()).unwrap();
    for port in ports {
        process.wait_for_listener(port, START).unwrap();
    }
    Proxy {
        name,
        ports,
        origin,
        _process: process,
    }
}

fn xrtc(work: &WorkDir) -> Proxy {
    let (origin, port, down) = (Origin::start(), free_port(), free_port());
    let text = format!(
        r#"state_dir: {directory}/state
services:
  origin:
    proto: upstream
    servers: [{{url: "http://{upstream}", max_fails: 0}}]
  down:
    proto: upstream
    servers: [{{url: "http://127.0.0.1:{down}", max_fails: 0}}]
  front:
    proto: tcp
    net: {{addr: "127.0.0.1:{port}"}}
    enable_http: true
    http:
      root: {directory}/root
      response_header_timeout: 1s
      routes:
        origin: {{upstream: "http://origin", paths: [/api]}}
        down: {{upstream: "http://down", paths: [/down]}}
"#,
        directory = work.path().display(),
        upstream = origin.addr,
    );
    fs::write(work.join("routes.yml"), text).unwrap();
    let mut command = Command::new(binary().unwrap());
    command.args(["run", "-c"]).arg(work.join("routes.yml"));
    run(work, "xrtc", [port, port], origin, &mut command)
}

fn nginx(work: &WorkDir) -> Proxy {
    let (origin, ports, down) = (Origin::start(), [free_port(), free_port()], free_port());
    // One process, so that what ends it ends all of it.
    let text = format!(
        r#"daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    types {{ text/plain txt; text/html html; }}
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    proxy_http_version 1.1;
    proxy_set_header Host $host;
    proxy_set_header Connection $connection_upgrade;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_read_timeout 1s;
    server {{
        listen 127.0.0.1:{port};
        listen 127.0.0.1:{http2} http2;
        root {directory}/root;
        location /api {{ proxy_pass http://{upstream}; }}
        location /down {{ proxy_pass http://127.0.0.1:{down}; }}
    }}
}}
"#,
        directory = work.path().display(),
        port = ports[0],
        http2 = ports[1],
        upstream = origin.addr,
    );
    fs::write(work.join("nginx.conf"), text).unwrap();
    let mut command = Command::new("nginx");
    command.args(["-e", "stderr", "-c"]).arg(work.join("nginx.conf"));
    run(work, "nginx", ports, origin, &mut command)
}

fn haproxy(work: &WorkDir) -> Proxy {
    let (origin, ports, down) = (Origin::start(), [free_port(), free_port()], free_port());
    let text = format!(
        "defaults\n  mode http\n  option forwardfor\n  retries 1\n  timeout connect 1s\n  timeout client 10s\n\
         \x20 timeout server 1s\n\
         frontend front\n  bind 127.0.0.1:{}\n  bind 127.0.0.1:{} proto h2\n\
         \x20 use_backend down if {{ path_beg /down }}\n  default_backend origin\n\
         backend origin\n  server origin {}\n\
         backend down\n  server down 127.0.0.1:{down}\n",
        ports[0], ports[1], origin.addr,
    );
    fs::write(work.join("haproxy.cfg"), text).unwrap();
    let mut command = Command::new("haproxy");
    command.args(["-db", "-f"]).arg(work.join("haproxy.cfg"));
    run(work, "haproxy", ports, origin, &mut command)
}
