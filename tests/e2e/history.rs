//! History: the versions of an item over the days of the tenant.
