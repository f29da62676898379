//! The application's socket (docs/app-protocol.md): a listener per instance, a task per connection.

mod checkpoint;
mod connection;
mod handover;
mod packet;
mod requests;
mod seqpacket;

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::sync::Arc;

use headstart_base::Result;

use crate::app::connection::Connection;
use crate::app::seqpacket::Listener;
use crate::errors::io;
use crate::instance::Instance;

/// Messages and events up to this size come in the packet itself.
pub(crate) const INLINE: usize = 3 << 10;

/// Makes an instance's folder and listener, and serves it until the instance closes.
pub(crate) fn listen(instance: &Arc<Instance>) -> Result<()> {
    let folder = instance.node.instance_dir(&instance.id);
    std::fs::DirBuilder::new()
        .mode(0o755)
        .create(&folder)
        .map_err(|error| io("cannot make the instance's folder", &error))?;
    let path = folder.join("app.sock");
    let listener = {
        let _runtime = instance.node.data.enter();
        Listener::bind(&path)?
    };
    // Ours, until the sandbox gives it to its user: whoever reaches it is this instance's application.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
        .map_err(|error| io("cannot keep the application's socket", &error))?;
    let serving = Arc::clone(instance);
    instance.spawn(async move {
        accept(&serving, &listener).await;
        serving.close_foreign(vec![listener.into_fd()]).await;
    });
    Ok(())
}

async fn accept(instance: &Arc<Instance>, listener: &Listener) {
    loop {
        let socket = tokio::select! {
            () = instance.closing.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok(socket) => socket,
                Err(error) => {
                    // Out of fds, say: wait, so as not to spin.
                    tracing::warn!(instance = instance.id, %error, "cannot accept an application's connection");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        if !instance.connection_opened() {
            tracing::info!(instance = instance.id, "too many connections of the application");
            instance.close_foreign(vec![socket.into_fd()]).await;
            continue;
        }
        let serving = Arc::clone(instance);
        instance.spawn(async move {
            let mut connection = Connection::new(&serving, socket);
            connection.serve().await;
            serving.close_foreign(vec![connection.into_fd()]).await;
            serving.connection_closed();
        });
    }
}
