//! The client against servers that a test controls.

#[cfg(test)]
mod grpc;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod random;
#[cfg(test)]
mod random_replies;
#[cfg(test)]
mod replies;
#[cfg(test)]
mod server;
#[cfg(test)]
mod session;
#[cfg(test)]
mod tls;
