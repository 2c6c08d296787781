//! What the implementations of the RPCs stand on.

use std::sync::Arc;

use imp_api::error::{Code, DOMAIN};
use imp_core::record::Service;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::error::Error;
use crate::events::Events;
use crate::node::Services;
use crate::runtime::tasks::Tasks;

/// The RPCs of every service that is in. The listeners are up before the Lightning node is, so that the services come
/// later than the first calls.
#[derive(Clone, Debug)]
pub struct Calls {
    /// The events, which need the store only.
    pub events: Events,
    /// The services, once they run.
    pub services: watch::Receiver<Option<Arc<Services>>>,
    /// Services that the configuration switches off.
    pub inactive: Vec<Service>,
    /// The node stops.
    pub shutdown: CancellationToken,
    /// Where subscriptions run.
    pub tasks: Tasks,
}

impl Calls {
    /// The services, if they run.
    pub(super) fn services(&self) -> Result<Arc<Services>, Error> {
        self.services.borrow().clone().ok_or_else(|| {
            Error::unavailable("the node is starting: its Lightning node is not up yet, see /ready")
        })
    }

    /// Whether the configuration has a service switched on.
    pub(super) fn active(&self, service: Service) -> Result<(), Error> {
        if !self.inactive.contains(&service) {
            return Ok(());
        }
        Err(inactive(service))
    }

    /// The services for a call that sends: its errors hold the word that clients look for.
    pub(super) fn sending(&self, service: Service) -> Result<Arc<Services>, Error> {
        self.active(service).and_then(|()| self.services()).map_err(Error::of_send)
    }
}

/// The error of a service that is switched off.
pub(super) fn inactive(service: Service) -> Error {
    let message = format!("the service {service} is switched off: set its `active` in service_list to true");
    Error::new(Code::FailedPrecondition, "SERVICE_INACTIVE", message)
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let mut info = imp_api::error::ErrorInfo::new(error.reason());
        debug_assert_eq!(info.domain(), DOMAIN);
        for (key, value) in error.details() {
            info = info.with(*key, value.clone());
        }
        imp_api::error::StatusBody { code: error.code(), message: error.to_string(), info: Some(info) }.into()
    }
}
