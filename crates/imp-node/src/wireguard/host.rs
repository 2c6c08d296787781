//! This machine as a maker of devices: the kernel's WireGuard where there is one, else this process's.

use std::sync::Arc;

use async_trait::async_trait;

use super::port::{DeviceError, DeviceMaker, DeviceSpec, TunnelDevice};
use super::{kernel, rights, userspace};

/// Which WireGuard to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The kernel's where there is one, else this process's.
    #[default]
    Auto,
    /// The kernel's.
    Kernel,
    /// This process's.
    Userspace,
}

/// Makes interfaces of this machine, in the network namespace of the thread that opens them.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    choice: DeviceChoice,
}

impl Host {
    /// Makes interfaces by this choice.
    pub fn new(choice: DeviceChoice) -> Self {
        Self { choice }
    }
}

#[async_trait]
impl DeviceMaker for Host {
    async fn check(&self, spec: &DeviceSpec) -> Result<(), DeviceError> {
        match self.choice {
            DeviceChoice::Userspace => userspace::check(&spec.name).await,
            DeviceChoice::Kernel => kernel::check(spec).await,
            DeviceChoice::Auto if kernel::is_there() => kernel::check(spec).await,
            DeviceChoice::Auto => userspace::check(&spec.name).await,
        }
    }

    async fn open(&self, spec: DeviceSpec) -> Result<Arc<dyn TunnelDevice>, DeviceError> {
        if let Some(missing) = self.missing() {
            return Err(DeviceError::Missing(missing));
        }
        match self.choice {
            DeviceChoice::Userspace => Ok(Arc::new(userspace::open(spec).await?)),
            DeviceChoice::Kernel => Ok(Arc::new(kernel::open(spec).await?)),
            DeviceChoice::Auto if kernel::is_there() => Ok(Arc::new(kernel::open(spec).await?)),
            DeviceChoice::Auto => Ok(Arc::new(userspace::open(spec).await?)),
        }
    }

    fn missing(&self) -> Option<String> {
        let missing_device = || match self.choice {
            DeviceChoice::Kernel => (!kernel::is_there()).then(|| DeviceError::NoKernelWireGuard.to_string()),
            DeviceChoice::Userspace => rights::missing_tun(),
            DeviceChoice::Auto if kernel::is_there() => None,
            DeviceChoice::Auto => rights::missing_tun(),
        };
        rights::missing_right().or_else(missing_device)
    }
}
