//! The proxies, configured for the same work, and the upstream that they share.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use xrtc_testing::lab::{Error, Process, Result, WorkDir, binary};

use super::websocket;

/// Where the proxy under test runs, and where all the rest.
pub(crate) const PROXY_CPU: u32 = 0;
pub(crate) const LOAD_CPU: u32 = 1;
const START: Duration = Duration::from_secs(10);
const KIBIBYTE: usize = 1024;

/// A proxy that runs.
pub(crate) struct Proxy {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    pub(crate) tls_port: u16,
    pub(crate) has_files: bool,
    pub(crate) process: Process,
}

/// Everything that runs, ended when dropped.
pub(crate) struct Scene {
    pub(crate) proxies: Vec<Proxy>,
    _upstreams: [Process; 2],
}

/// What the configurations are made of.
struct Ground<'a> {
    work: &'a WorkDir,
    http: u16,
    websocket: u16,
    certificate: String,
    key: String,
}

impl Scene {
    /// Starts the upstreams, then every proxy.
    pub(crate) fn start(work: &WorkDir) -> Result<Self> {
        let ground = Ground::prepare(work)?;
        let upstreams = [upstream(&ground)?, websocket::start_echo(ground.websocket, work)?];
        Ok(Self {
            proxies: vec![xrtc(&ground)?, nginx(&ground)?, haproxy(&ground)?],
            _upstreams: upstreams,
        })
    }
}

impl<'a> Ground<'a> {
    fn prepare(work: &'a WorkDir) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])
            .map_err(|error| Error::new(error.to_string()))?;
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        fs::write(work.join("cert.pem"), &certificate)?;
        fs::write(work.join("key.pem"), &key)?;
        fs::write(work.join("both.pem"), format!("{certificate}{key}"))?;
        fs::create_dir_all(work.join("root"))?;
        fs::write(work.join("root").join("file.bin"), "f".repeat(KIBIBYTE))?;
        Ok(Self {
            work,
            http: free_port()?,
            websocket: free_port()?,
            certificate: work.join("cert.pem").display().to_string(),
            key: work.join("key.pem").display().to_string(),
        })
    }

    /// Starts a proxy on a configuration and waits until it listens.
    fn start(&self, name: &'static str, [port, tls_port]: [u16; 2], mut command: Command) -> Result<Proxy> {
        let mut process = Process::spawn(name, &mut command, self.work.path())?;
        process.wait_for_listener(port, START)?;
        process.wait_for_listener(tls_port, START)?;
        Ok(Proxy {
            name,
            port,
            tls_port,
            has_files: true,
            process,
        })
    }
}

/// A port that nothing listens on; whoever is told to take it had better be quick.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A command that runs on one processor only.
pub(crate) fn pinned(cpu: u32, program: impl AsRef<Path>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &cpu.to_string()]).arg(program.as_ref());
    command
}

/// nginx in one process: ended by one signal, and all of its processor time is its own.
fn nginx_command(work: &WorkDir, cpu: u32, name: &str, http: &str) -> Result<Command> {
    let file = work.join(&format!("{name}.conf"));
    let directory = work.path().display();
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = write!(
        text,
        "daemon off;\nmaster_process off;\nworker_processes 1;\npid {directory}/{name}.pid;\n\
         error_log stderr error;\nevents {{ worker_connections 4096; }}\n\
         http {{\naccess_log off;\nkeepalive_requests 100000000;\nkeepalive_timeout 75s;\n\
         client_body_temp_path {directory}/{name}-body;\nproxy_temp_path {directory}/{name}-proxy;\n\
         fastcgi_temp_path {directory}/{name}-fastcgi;\nuwsgi_temp_path {directory}/{name}-uwsgi;\n\
         scgi_temp_path {directory}/{name}-scgi;\n{http}\n}}\n"
    );
    fs::write(&file, text)?;
    let mut command = pinned(cpu, "nginx");
    command.args(["-e", "stderr", "-c"]).arg(file);
    Ok(command)
}

/// 1 KiB from memory, and what Janus answers to most things.
fn upstream(ground: &Ground<'_>) -> Result<Process> {
    let text = "g".repeat(KIBIBYTE);
    let json = r#"{"janus":"ack","session_id":4711000000000001,"transaction":"aBcDeFgHiJkL"}"#;
    let http = format!(
        "server {{\nlisten 127.0.0.1:{};\ndefault_type text/html;\nlocation /get {{ return 200 '{text}'; }}\n\
         location /janus {{ default_type application/json; return 200 '{json}'; }}\n}}",
        ground.http
    );
    let mut command = nginx_command(ground.work, LOAD_CPU, "upstream", &http)?;
    let mut process = Process::spawn("upstream", &mut command, ground.work.path())?;
    process.wait_for_listener(ground.http, START)?;
    Ok(process)
}

fn xrtc(ground: &Ground<'_>) -> Result<Proxy> {
    let port = free_port()?;
    let file = ground.work.join("routes.yml");
    let Ground {
        http,
        websocket,
        certificate,
        key,
        ..
    } = ground;
    let text = format!(
        r#"state_dir: {state}
services:
  origin:
    proto: upstream
    servers: ["http://127.0.0.1:{http}", "ws://127.0.0.1:{websocket}"]
  front:
    proto: tcp
    net: {{addr: "127.0.0.1:{port}", tls_crt_file: "{certificate}", tls_key_file: "{key}"}}
    enable_http: true
    http:
      root: {root}
      routes:
        origin: {{upstream: "http://origin", paths: [/get, /janus, /ws]}}
"#,
        state = ground.work.join("state").display(),
        root = ground.work.join("root").display(),
    );
    fs::write(&file, text)?;
    // It has as many threads as it sees processors.
    let mut command = pinned(PROXY_CPU, binary()?);
    command.args(["run", "-c"]).arg(file);
    ground.start("xrtc", [port, port], command)
}

fn nginx(ground: &Ground<'_>) -> Result<Proxy> {
    let (port, tls_port) = (free_port()?, free_port()?);
    let Ground {
        http,
        websocket,
        certificate,
        key,
        work,
    } = ground;
    let root = work.join("root").display().to_string();
    let text = format!(
        "map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}\n\
         upstream origin {{ server 127.0.0.1:{http}; keepalive 100; keepalive_requests 100000000; }}\n\
         server {{\nlisten 127.0.0.1:{port} backlog=1024;\nlisten 127.0.0.1:{tls_port} ssl http2 backlog=1024;\n\
         ssl_certificate {certificate};\nssl_certificate_key {key};\nssl_protocols TLSv1.2 TLSv1.3;\n\
         root {root};\nproxy_http_version 1.1;\nproxy_set_header Host $host;\n\
         proxy_set_header Connection $connection_upgrade;\nproxy_set_header Upgrade $http_upgrade;\n\
         proxy_set_header X-Real-IP $remote_addr;\nproxy_set_header X-Forwarded-Proto $scheme;\n\
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
         location /get {{ proxy_pass http://origin; }}\nlocation /janus {{ proxy_pass http://origin; }}\n\
         location /ws {{ proxy_pass http://127.0.0.1:{websocket}; }}\n}}"
    );
    let command = nginx_command(work, PROXY_CPU, "nginx", &text)?;
    ground.start("nginx", [port, tls_port], command)
}

fn haproxy(ground: &Ground<'_>) -> Result<Proxy> {
    let (port, tls_port) = (free_port()?, free_port()?);
    let Ground {
        http,
        websocket,
        work,
        ..
    } = ground;
    let file = work.join("haproxy.cfg");
    let both = work.join("both.pem").display().to_string();
    let text = format!(
        "global\n  nbthread 1\n  ssl-default-bind-options ssl-min-ver TLSv1.2\n\
         defaults\n  mode http\n  option forwardfor\n  timeout connect 10s\n  timeout client 75s\n\
         \x20 timeout server 300s\n  timeout tunnel 1h\n  http-reuse always\n\
         frontend front\n  bind 127.0.0.1:{port}\n  bind 127.0.0.1:{tls_port} ssl crt {both} alpn h2,http/1.1\n\
         \x20 use_backend websocket if {{ path_beg /ws }}\n  default_backend origin\n\
         backend origin\n  server origin 127.0.0.1:{http}\n\
         backend websocket\n  server websocket 127.0.0.1:{websocket}\n"
    );
    fs::write(&file, text)?;
    let mut command = pinned(PROXY_CPU, "haproxy");
    command.args(["-db", "-f"]).arg(file);
    Ok(Proxy {
        has_files: false,
        ..ground.start("haproxy", [port, tls_port], command)?
    })
}
