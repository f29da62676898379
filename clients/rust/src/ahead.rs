//! Maps what the initscript sends while the program still starts, so that a claim finds it mapped.

use std::io;
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use crate::connection::Connection;
use crate::error::Result;
use crate::numbers::Code;
use crate::segments::Segments;

/// How long one request waits for news; then the next one does.
const WAIT: Duration = Duration::from_secs(3600);
const STACK: usize = 128 << 10;

/// Maps the segments of the instance behind `path` as they come, in a thread that ends with the instance. There is one of these.
pub(crate) fn start(path: &Arc<str>) -> io::Result<()> {
    let segments = Segments::of(path);
    if !segments.begin() {
        return Ok(());
    }
    let (path, running) = (Arc::clone(path), Running(segments));
    let run = move || {
        // The instance has ended, or its bridge: whoever claims hears of it.
        let _ = map(&path);
        drop(running);
    };
    Builder::new().name("headstart-segments".to_owned()).stack_size(STACK).spawn(run).map(drop)
}

/// Whatever ends the thread, or keeps it from running: claims ask for fds again.
struct Running(Arc<Segments>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn map(path: &Arc<str>) -> Result<()> {
    let mut connection = Connection::silent(path)?;
    loop {
        match connection.map_ahead(WAIT) {
            Ok(Some(mapping)) => mapping.populate(),
            Ok(None) => {}
            Err(error) if error.code == Code::Deadline && connection.is_usable() => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::fd::OwnedFd;
    use std::time::Instant;

    use crate::client::{Client, Wait};
    use crate::fake_bridge::{Asked, Deed, FakeBridge, Told, memory};
    use crate::numbers::{self, OP_FREE, OP_MARK, OP_RECV_MSG, OP_SEGMENT};

    const EARLY: &[u8] = b"early";

    fn is_news(asked: &Asked) -> bool {
        asked.op == OP_SEGMENT && asked.a == 0
    }

    /// News of segments 1, 2, …, then of none.
    fn news(asked: &Asked, segments: u64) -> Deed {
        match asked.b {
            before if before < segments => Deed::Tell(Told { id: before + 1, ..bytes(before + 1, EARLY) }),
            _ => Deed::Wait,
        }
    }

    /// Bytes that have a segment for themselves, with its fd.
    fn bytes(segment: u64, bytes: &[u8]) -> Told {
        Told::of(segment, bytes.len(), Some(memory(bytes)))
    }

    fn named(segment: u64) -> Deed {
        Deed::Tell(Told::of(segment, EARLY.len(), None))
    }

    /// What was asked beside news.
    fn others(asked: &[Asked]) -> Vec<(u16, u64)> {
        asked.iter().filter(|asked| !is_news(asked)).map(|asked| (asked.op, asked.id.max(asked.a))).collect()
    }

    fn until_it_ends(client: &Client, bridge: &FakeBridge) {
        let (segments, end) = (Segments::of(&Arc::from(&*bridge.path)), Instant::now() + Duration::from_secs(20));
        while segments.expects(1) {
            assert!(Instant::now() < end, "{client:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn what_is_mapped_ahead_is_claimed_in_one_round_trip_without_an_fd() {
        let bridge = FakeBridge::start(|asked| match asked.op {
            OP_SEGMENT => news(asked, 3),
            _ => named(asked.id),
        });
        let client = Client::at(&bridge.path);
        client.map_ahead().unwrap();
        client.map_ahead().unwrap();
        bridge.asked(4, is_news);
        let replies = client.recv_msgs(&[(1, "one"), (2, "two"), (3, "")], Wait::default());
        for reply in &replies {
            assert_eq!(reply.as_ref().unwrap().there(), EARLY);
        }
        let asked = bridge.asked(3, |asked| asked.op == OP_RECV_MSG);
        assert_eq!(others(&asked), [(OP_RECV_MSG, 1), (OP_RECV_MSG, 2), (OP_RECV_MSG, 3)]);
        assert!(asked.iter().all(|asked| is_news(asked) || asked.flags == numbers::FLAG_NO_FD));
        assert_eq!(asked.iter().filter(|asked| is_news(asked)).count(), 4, "one thread maps");

        // Given back by whichever thread asks next, and what nobody has claimed is not.
        drop(replies);
        std::thread::scope(|scope| scope.spawn(|| client.mark("x")).join()).unwrap().unwrap();
        let mut freed = others(&bridge.asked(1, |asked| asked.op == OP_MARK)).split_off(3);
        freed.sort_unstable();
        assert_eq!(freed, [(OP_FREE, 1), (OP_FREE, 2), (OP_FREE, 3), (OP_MARK, 0)]);
    }

    #[test]
    fn who_connects_maps_what_is_there() {
        let bridge = FakeBridge::start(|asked| match (asked.op, asked.b) {
            // The third has gone.
            (OP_SEGMENT, 2 | 3) => Deed::Tell(Told { id: 4, ..bytes(4, EARLY) }),
            (OP_SEGMENT, 9..) => Deed::Tell(Told::error(Code::Deadline)),
            (OP_SEGMENT, before) => Deed::Tell(Told { id: before + 1, ..bytes(before + 1, EARLY) }),
            _ => named(asked.id),
        });
        let client = Client::at(&bridge.path);
        client.connect().unwrap();
        client.connect().unwrap();
        let replies = client.recv_msgs(&[1, 2, 4, 5, 6, 7, 8, 9].map(|id| (id, "")), Wait::default());
        assert!(replies.iter().all(|reply| reply.as_ref().is_ok_and(|reply| reply.there() == EARLY)));
        let asked = bridge.asked(8, |asked| asked.op == OP_RECV_MSG);
        assert!(asked.iter().all(|asked| is_news(asked) || asked.flags == numbers::FLAG_NO_FD));
        let news: Vec<u64> = asked.iter().filter(|asked| is_news(asked)).map(|asked| asked.b).collect();
        let asked = |from: u64| (from..from + 6).collect::<Vec<_>>();
        assert_eq!(news, [asked(0), asked(6), asked(9)].concat());
    }

    #[test]
    fn what_was_not_mapped_in_time_is_asked_for() {
        let bridge = FakeBridge::start(|asked| match asked.op {
            OP_SEGMENT if asked.a == 0 => Deed::Wait,
            OP_SEGMENT if asked.a == 7 => Deed::Tell(bytes(7, b"later")),
            OP_SEGMENT => Deed::Tell(Told::error(Code::NotFound)),
            _ => named(asked.id),
        });
        let client = Client::at(&bridge.path);
        client.map_ahead().unwrap();
        bridge.asked(1, is_news);
        let replies = client.recv_msgs(&[(7, ""), (8, ""), (7, "")], Wait::default());
        let there = |at: usize| replies[at].as_ref().map(|reply| reply.there().to_vec()).map_err(|error| error.code);
        assert_eq!([there(0), there(1), there(2)], [Ok(b"later".to_vec()), Err(Code::NotFound), Ok(b"later".to_vec())]);
        let asked = others(&bridge.asked(0, is_news));
        let claims = [(OP_RECV_MSG, 7), (OP_RECV_MSG, 8), (OP_RECV_MSG, 7)];
        assert_eq!(asked, [&claims[..], &[(OP_SEGMENT, 7), (OP_SEGMENT, 8)]].concat());
    }

    #[test]
    fn more_claims_than_the_socket_has_room_for_are_all_answered() {
        let bridge = FakeBridge::start(|asked| match asked.id {
            id if id % 2 == 0 => Deed::Tell(bytes(id + 1, EARLY)),
            _ => Deed::Tell(Told::error(Code::Miss)),
        });
        let claims: Vec<(u64, &str)> = (0..100).map(|id| (id, "")).collect();
        let replies = Client::at(&bridge.path).recv_msgs(&claims, Wait::default());
        for (id, reply) in replies.iter().enumerate() {
            match reply {
                Ok(reply) => assert!(id % 2 == 0 && reply.there() == EARLY),
                Err(error) => assert!(id % 2 == 1 && error.code == Code::Miss),
            }
        }
        assert!(Client::at(&bridge.path).recv_msgs(&[], Wait::default()).is_empty());
    }

    #[test]
    fn a_bridge_that_dies_between_two_answers_has_given_the_first() {
        let bridge = FakeBridge::start(|asked| match asked.id {
            1 => Deed::Tell(bytes(1, EARLY)),
            2 => Deed::Wait,
            _ => Deed::Cut,
        });
        let long = "x".repeat(5000);
        let replies = Client::at(&bridge.path).recv_msgs(&[(1, ""), (1, &long), (2, ""), (3, "")], Wait::default());
        let codes: Vec<Code> =
            replies.iter().map(|reply| reply.as_ref().map_or_else(|error| error.code, |_| Code::Ok)).collect();
        assert_eq!(codes, [Code::Ok, Code::InvalidArgument, Code::BridgeLost, Code::BridgeLost]);
    }

    #[test]
    fn without_news_claims_ask_for_fds_again() {
        let none = || Deed::Tell(Told { id: 0, ..bytes(1, EARLY) });
        let pipe = || Deed::Tell(Told { id: 1, ..Told::of(1, 5, Some(reader_of_a_pipe())) });
        let nowhere = || Deed::Tell(Told { id: 1, ..bytes(0, EARLY) });
        let over = || Deed::Tell(Told::error(Code::InstanceClosed));
        let cut = || Deed::Cut;
        let unknown = || Deed::Tell(Told::error(Code::Protocol));
        let ends: [fn() -> Deed; 6] = [none, pipe, nowhere, over, cut, unknown];
        for end in ends {
            let bridge = FakeBridge::start(move |asked| match asked.op {
                OP_SEGMENT => end(),
                _ => Deed::Tell(bytes(1, b"plain")),
            });
            let client = Client::at(&bridge.path);
            client.map_ahead().unwrap();
            until_it_ends(&client, &bridge);
            assert_eq!(client.recv_msg(1, "", Wait::default()).unwrap().there(), b"plain");
            assert_eq!(bridge.asked(1, |asked| asked.op == OP_RECV_MSG)[1].flags, 0);
        }
    }

    #[test]
    fn where_there_is_no_bridge_it_ends() {
        let client = Client::at("/nowhere/ahead.sock");
        client.map_ahead().unwrap();
        assert_eq!(client.recv_msgs(&[(1, "")], Wait::default())[0].as_ref().unwrap_err().code, Code::BridgeLost);
    }

    #[test]
    fn a_segment_that_went_away_is_unmapped() {
        let bridge = FakeBridge::start(|asked| match (asked.op, asked.b) {
            (OP_SEGMENT, 0) => Deed::Tell(Told { id: 1, ..bytes(1, EARLY) }),
            (OP_SEGMENT, 1) => Deed::Tell(Told { id: 2, ..Told::of(1, 0, None) }),
            (OP_SEGMENT, _) => Deed::Wait,
            _ => Deed::Tell(bytes(1, b"again")),
        });
        let client = Client::at(&bridge.path);
        client.map_ahead().unwrap();
        bridge.asked(3, is_news);
        assert_eq!(client.recv_msg(1, "", Wait::default()).unwrap().there(), b"again");
    }

    fn reader_of_a_pipe() -> OwnedFd {
        std::io::pipe().unwrap().0.into()
    }
}
