//! What HTTP tests are made of: a site with a real server in front, upstream servers that a test scripts, and
//! clients that send and see bytes.

// Each test file uses a part of this.
#![allow(dead_code, unreachable_pub, unused_imports)]

pub mod client;
pub mod random;
pub mod upstream;
pub mod websocket;

use crate::common::{Server, Site};

pub use client::{Answer, Client};
pub use upstream::{Request, Then, Upstream};

/// The frame around an `http` block's content: logs and temporary files in the site's folder.
pub fn conf(http: &str) -> String {
    format!(
        "daemon off;
pid DIR/nginx.pid;
error_log DIR/error.log info;
events {{ }}
http {{
    access_log DIR/access.log;
    client_body_temp_path DIR/body;
    proxy_temp_path DIR/proxy;
{http}
}}
"
    )
}

/// A running server with this content of its `http` block. `PORT` is its port, `DIR` its folder.
pub fn serve(http: &str) -> Server {
    Site::new(&conf(http)).start()
}

/// A running server that passes everything to one address, with more directives beside `proxy_pass`.
pub fn proxy_to(upstream: &Upstream, more: &str) -> Server {
    serve(&format!(
        "server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://{}; {more} }} }}",
        upstream.address()
    ))
}

/// Sends one request on a new connection and reads one answer.
pub fn exchange(server: &Server, request: &str) -> Answer {
    let mut client = Client::to(server);
    client.send(request);
    client.answer()
}

/// GET on a new connection that is closed afterwards.
pub fn get(server: &Server, target: &str) -> Answer {
    exchange(server, &format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}
