//! What all connections share.

use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::Registry;
use tamis::proto::{Agreement, MtaConfig, MtaSession};

use super::check::Check;
use super::connection::{Failure, Spare};
use super::message::{Plan, Shape};
use super::socket::Target;
use super::stint::Stint;
use super::tally::Tally;

/// Settings, buffers and counters of all connections.
#[derive(Debug)]
pub(super) struct World {
    pub(super) registry: Registry,
    pub(super) target: Target,
    pub(super) config: MtaConfig,
    /// Bound on everything that the filter does, where it is set.
    pub(super) timeout: Option<Duration>,
    pub(super) shape: Shape,
    pub(super) spare: Spare,
    pub(super) tally: Tally,
    pub(super) stint: Stint,
    /// Where every reply is verified.
    pub(super) check: Option<Check>,
    /// When the reactor spoke last.
    pub(super) now: Instant,
    plans: Vec<Rc<Plan>>,
}

/// A filter agrees with everyone on the same; one that does not shall not fill the memory.
const PLANS: usize = 8;

impl World {
    pub(super) fn new(registry: Registry, target: Target, config: MtaConfig, shape: Shape) -> Self {
        Self {
            registry,
            target,
            config,
            timeout: None,
            shape,
            spare: Vec::new(),
            tally: Tally::new(),
            stint: Stint::none(),
            check: None,
            now: Instant::now(),
            plans: Vec::new(),
        }
    }

    /// What is said on a connection that has agreed on this.
    pub(super) fn plan(&mut self, session: &MtaSession, agreement: Agreement) -> Result<Rc<Plan>, Failure> {
        if let Some(plan) = self.plans.iter().find(|plan| plan.agreement == agreement) {
            return Ok(plan.clone());
        }
        let plan = self.shape.plan(session, agreement).map_err(|error| Failure::plan(&error))?;
        let plan = Rc::new(plan);
        if self.plans.len() == PLANS {
            self.plans.remove(0);
        }
        self.plans.push(plan.clone());
        Ok(plan)
    }

    /// Begins to count anew; errors stay.
    pub(super) fn reset(&mut self) {
        self.tally.reset();
        if let Some(check) = &mut self.check {
            check.reset();
        }
    }
}
