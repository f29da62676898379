//! The client against the real servers, where they are installed (`npm test` installs them).

#[cfg(test)]
mod etcd;
#[cfg(test)]
mod memcached;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod redis;
#[cfg(test)]
mod sqs;
