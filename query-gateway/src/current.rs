//! The gateway of the moment: requests find it here, so that another one can take its place between two of them.

use std::sync::Arc;

use axum::extract::FromRef;
use tokio::sync::watch;

use crate::Gateway;

/// See the module. Each request is answered by the gateway that it finds at its start.
#[derive(Clone)]
pub struct CurrentGateway(watch::Receiver<Arc<Gateway>>);

impl From<watch::Receiver<Arc<Gateway>>> for CurrentGateway {
    fn from(current: watch::Receiver<Arc<Gateway>>) -> Self {
        Self(current)
    }
}

/// One gateway for ever.
impl From<Arc<Gateway>> for CurrentGateway {
    fn from(gateway: Arc<Gateway>) -> Self {
        Self(watch::channel(gateway).1)
    }
}

impl FromRef<CurrentGateway> for Arc<Gateway> {
    fn from_ref(current: &CurrentGateway) -> Self {
        current.0.borrow().clone()
    }
}
