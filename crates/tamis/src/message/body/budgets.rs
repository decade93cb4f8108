//! The budgets of servers that take over from each other.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::budget::WeakBudget;
use super::{BodyOptions, Budget, Usage};

/// Budgets that somebody still has.
#[derive(Debug, Default)]
pub(crate) struct Budgets(Mutex<Vec<WeakBudget>>);

impl Budgets {
    /// A budget with these options: the one that is there already if they are the same, so that who takes over has no
    /// more than is left.
    pub(crate) fn with(&self, options: &BodyOptions) -> Budget {
        let mut all = self.all();
        all.retain(|budget| budget.upgrade().is_some());
        let same = all.iter().filter_map(WeakBudget::upgrade).find(|budget| budget.options() == options);
        same.unwrap_or_else(|| {
            let budget = Budget::new(options.clone());
            all.push(budget.downgrade());
            budget
        })
    }

    /// What is taken of all of them.
    pub(crate) fn usage(&self) -> Usage {
        let budgets: Vec<Budget> = self.all().iter().filter_map(WeakBudget::upgrade).collect();
        budgets.iter().map(Budget::usage).fold(Usage::default(), |all, one| Usage {
            memory: all.memory + one.memory,
            spool: all.spool + one.spool,
            waiting: all.waiting + one.waiting,
        })
    }

    fn all(&self) -> MutexGuard<'_, Vec<WeakBudget>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_takes_over_has_what_is_left() {
        let budgets = Budgets::default();
        let options = BodyOptions { total_memory: 100_000, ..BodyOptions::default() };
        let (first, second) = (budgets.with(&options), budgets.with(&options));
        let mut body = first.message().collector();
        body.push(vec![b'x'; 50_000].into()).await.unwrap();
        assert!(second.usage().memory > 0);
        assert_eq!(budgets.usage(), second.usage());
        let third = budgets.with(&BodyOptions { total_memory: 200_000, ..options });
        assert_eq!(third.usage(), Usage::default());
        assert_eq!(budgets.usage(), first.usage());
        drop((body, first, second));
        assert_eq!(budgets.usage(), Usage::default());
    }
}
