//! A machine that only notes what it is asked for, for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{ExitError, ExitHost, ExitSpec};

/// A call of [`ExitHost`] that changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitCall {
    /// [`ExitHost::prepare`].
    Prepare(ExitSpec),
    /// [`ExitHost::open`], with the interface.
    Open(String),
    /// [`ExitHost::remove`], with the interface.
    Remove(String),
}

/// A machine whose rules are notes. Clones are the same machine.
#[derive(Clone, Debug, Default)]
pub struct FakeExit(Arc<Mutex<Machine>>);

#[derive(Debug, Default)]
struct Machine {
    calls: Vec<ExitCall>,
    rules: BTreeMap<String, ExitSpec>,
    open: BTreeSet<String>,
    refusal: Option<String>,
}

impl FakeExit {
    /// A machine without rules.
    pub fn new() -> Self {
        Self::default()
    }

    /// All calls, in order, also those that failed.
    pub fn calls(&self) -> Vec<ExitCall> {
        self.lock().calls.clone()
    }

    /// The rules of an interface, while they stand.
    pub fn rules(&self, interface: &str) -> Option<ExitSpec> {
        self.lock().rules.get(interface).cloned()
    }

    /// Whether packets are forwarded for an interface.
    pub fn is_open(&self, interface: &str) -> bool {
        self.lock().open.contains(interface)
    }

    /// Has all calls fail with this message from now on, or none.
    pub fn refuse(&self, message: Option<&str>) {
        self.lock().refusal = message.map(str::to_owned);
    }

    /// Takes all rules away, as `nft flush ruleset` would. What is forwarded goes on being so.
    pub fn flush(&self) {
        self.lock().rules.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, call: ExitCall, interface: &str) -> Result<MutexGuard<'_, Machine>, ExitError> {
        let mut machine = self.lock();
        machine.calls.push(call);
        match &machine.refusal {
            None => Ok(machine),
            Some(message) => {
                Err(ExitError::Rules { interface: interface.to_owned(), message: message.clone() })
            }
        }
    }
}

#[async_trait]
impl ExitHost for FakeExit {
    async fn prepare(&self, spec: &ExitSpec) -> Result<(), ExitError> {
        let mut machine = self.call(ExitCall::Prepare(spec.clone()), &spec.interface)?;
        machine.rules.insert(spec.interface.clone(), spec.clone());
        Ok(())
    }

    async fn open(&self, spec: &ExitSpec) -> Result<(), ExitError> {
        let mut machine = self.call(ExitCall::Open(spec.interface.clone()), &spec.interface)?;
        machine.open.insert(spec.interface.clone());
        Ok(())
    }

    async fn stands(&self, spec: &ExitSpec) -> Result<bool, ExitError> {
        Ok(self.lock().rules.get(&spec.interface) == Some(spec))
    }

    async fn remove(&self, interface: &str) -> Result<(), ExitError> {
        let mut machine = self.call(ExitCall::Remove(interface.to_owned()), interface)?;
        machine.open.remove(interface);
        machine.rules.remove(interface);
        Ok(())
    }
}
