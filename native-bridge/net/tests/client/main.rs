//! The client against servers that a test controls.

mod hostile;
mod random;
mod server;
