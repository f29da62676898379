//! Servers that send without end, in a process of their own: its memory is measured.

#[cfg(test)]
mod http2;
#[cfg(test)]
#[path = "../client/server.rs"]
#[allow(dead_code)]
mod server;
