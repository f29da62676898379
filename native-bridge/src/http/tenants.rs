//! `GET /tenants`, `PUT` and `DELETE /tenants/{name}`: who there is, and how much each may use.

use std::sync::Arc;

use headstart_base::{Error, ErrorCode, Result};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::secrets::{blocking, no_content, small_body};
use super::{Body, json as answer};
use crate::logs::logs;
use crate::node::{Node, is_name};
use crate::tenants::Quota;

const MOST_BYTES: usize = 4096;

pub(super) fn list(node: &Arc<Node>) -> Response<Body> {
    let tenants: Vec<Value> = node
        .tenants
        .all()
        .iter()
        .map(|tenant| {
            let used = json!({
                "instances": tenant.instances(),
                "memory": tenant.memory.used(),
                "connections": node.client.open_connections(&tenant.name),
                "services": node.services.count(&tenant.name),
            });
            json!({ "name": tenant.name, "used": used })
        })
        .collect();
    answer(StatusCode::OK, &json!({ "tenants": tenants }))
}

pub(super) async fn put(node: &Arc<Node>, name: &str, request: Request<Incoming>) -> Result<Response<Body>> {
    let body = small_body(request.into_body(), MOST_BYTES).await?;
    let quota: Quota = serde_json::from_slice(&body)
        .map_err(|error| Error::new(ErrorCode::InvalidArgument, format!("the quota is malformed: {error}")))?;
    node.tenants.put(checked(name)?, quota)?;
    node.client.limit_connections(name, quota.connections.unwrap_or(u64::MAX));
    Ok(no_content())
}

/// Ends what follows the tenant's lines: its token was replaced.
pub(super) fn cut(name: &str) -> Result<Response<Body>> {
    logs().cut(checked(name)?);
    Ok(no_content())
}

/// Ends what runs of the tenant, and removes its secrets.
pub(super) async fn remove(node: &Arc<Node>, name: &str) -> Result<Response<Body>> {
    node.remove_tenant(checked(name)?);
    let (holder, owner) = (Arc::clone(node), name.to_owned());
    blocking(move || holder.secrets.remove_all(&owner)).await?;
    Ok(no_content())
}

fn checked(name: &str) -> Result<&str> {
    match is_name(name) {
        true => Ok(name),
        false => Err(Error::new(ErrorCode::InvalidArgument, "a tenant's name is 1 to 64 of a-z, A-Z, 0-9, - and _")),
    }
}
