//! What is made when it is first looked at: a mailbox and a drive follow from their seeds, and most of a large tenant is not
//! looked at for long.

use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;

/// A value, or how it is made. Made twice it would be the same, so it does not matter who looks first.
pub(super) struct Lazy<T> {
    made: OnceLock<T>,
    make: Box<dyn Fn() -> T + Send + Sync>,
}

impl<T> Lazy<T> {
    pub(super) fn new(make: impl Fn() -> T + Send + Sync + 'static) -> Self {
        Self { made: OnceLock::new(), make: Box::new(make) }
    }
}

impl<T> std::fmt::Debug for Lazy<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.made.get().is_some() { "Lazy(made)" } else { "Lazy" })
    }
}

impl<T> Deref for Lazy<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.made.get_or_init(&self.make)
    }
}

impl<T> DerefMut for Lazy<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.made.get_or_init(&self.make);
        match self.made.get_mut() {
            Some(made) => made,
            None => unreachable!("it was made above"),
        }
    }
}
