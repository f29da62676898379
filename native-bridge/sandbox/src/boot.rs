//! How a sandbox comes to its program: by starting it, or from the image of one that was stopped in the middle.
//!
//! gVisor writes the whole of a sandbox (its kernel's state, its memory) into a folder and ends it; `runsc restore` goes on from
//! there, any number of times, with mounts from other places, another cgroup and another network namespace. Neither its
//! host's network nor open connections to the host can be in such an image: these sandboxes have a loopback and nothing
//! else, and reach the world by the bridge. What such a program waits for is its standard input: the one end that is replaced
//! when it goes on.

use crate::failure::{failed, invalid};
use crate::inside::runsc;
use crate::process::new_pipe;
use crate::sandbox::Live;
use headstart_base::Result;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the writing of an image may take.
const LIMIT: Duration = Duration::from_secs(60);
/// What a pipe takes without a reader.
const MAX_STDIN: usize = 64 << 10;
/// What `runsc checkpoint` writes.
pub const IMAGE_FILES: [&str; 3] = ["checkpoint.img", "pages.img", "pages_meta.img"];

/// How a sandbox begins. All but `Command` are for gVisor.
#[derive(Clone, Debug, Default)]
pub enum Boot {
    /// Its command is started.
    #[default]
    Command,
    /// Its command is started so that [`crate::Sandbox::checkpoint`] can stop it. Its standard input is open and never has anything.
    ToBeStopped,
    /// It goes on where the image's program was stopped. The same command, files and mount points as then.
    Restored {
        /// What [`crate::Sandbox::checkpoint`] wrote.
        image: PathBuf,
        /// All of its standard input, at most 64 KiB.
        stdin: Vec<u8>,
    },
}

impl Boot {
    /// Whether the sandbox has a loopback only.
    pub(crate) fn is_alone(&self) -> bool {
        !matches!(self, Self::Command)
    }

    /// The standard input, and what must be held open as long as the sandbox's process. None: there is none.
    pub(crate) fn stdin(&self) -> Result<Option<(OwnedFd, Option<OwnedFd>)>> {
        match self {
            Self::Command => Ok(None),
            Self::ToBeStopped => new_pipe().map(|(reader, writer)| Some((reader, Some(writer)))),
            Self::Restored { stdin, .. } => {
                if stdin.len() > MAX_STDIN {
                    return Err(invalid("the standard input of a restored program is longer than 64 KiB"));
                }
                let (reader, writer) = new_pipe()?;
                File::from(writer).write_all(stdin).map_err(|error| failed("standard input", error))?;
                Ok(Some((reader, None)))
            }
        }
    }
}

/// Writes the image of a sandbox into a folder, which is made, and ends it. Readable for us only: it is all of the program's memory.
pub(crate) async fn checkpoint(live: &Live, folder: &Path) -> Result<()> {
    fs::DirBuilder::new().mode(0o700).create(folder).map_err(|error| failed(folder.display(), error))?;
    let image = format!("--image-path={}", folder.display());
    // Neither packed, which costs each start, nor with the pages that are zero anyway.
    let before = ["checkpoint", &image, "--compression=none", "--exclude-committed-zero-pages"];
    runsc(live, &before, &[], LIMIT).await
}
