//! Runs the embedded echo server alone, without the proxy in front of it: for work on its page.

use std::io::{self, Write};

use xrtc::demo::Demo;

#[tokio::main]
async fn main() -> io::Result<()> {
    let demo = Demo::start().await?;
    writeln!(
        io::stdout(),
        "page: 127.0.0.1:{}, media: {}",
        demo.http_port(),
        demo.ice_addr()
    )?;
    std::future::pending().await
}
