//! How many connections a listener may have at once; the number may change while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The places of a listener.
#[derive(Debug)]
pub(super) struct Slots {
    taken: AtomicUsize,
    most: AtomicUsize,
}

/// A place taken; given back when dropped.
#[derive(Debug)]
pub(super) struct Slot(Arc<Slots>);

impl Slots {
    pub(super) fn new(most: usize) -> Self {
        Self {
            taken: AtomicUsize::new(0),
            most: AtomicUsize::new(most),
        }
    }

    /// A place, if one is free.
    pub(super) fn take(self: &Arc<Self>) -> Option<Slot> {
        let most = self.most.load(Ordering::Relaxed);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken < most).then_some(taken + 1)
            })
            .ok()?;
        Some(Slot(self.clone()))
    }

    /// Has `most` places from now on. What is taken stays.
    pub(super) fn resize(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_as_there_are() {
        let slots = Arc::new(Slots::new(2));
        let (one, two) = (slots.take().unwrap(), slots.take().unwrap());
        assert!(slots.take().is_none());
        drop(one);
        let three = slots.take().unwrap();
        slots.resize(1);
        drop(two);
        assert!(slots.take().is_none(), "the one that is left is taken");
        drop(three);
        assert!(slots.take().is_some());
    }
}
