//! What goes back into a tenant is what was backed up, but for what the table of losses says.

mod driver;
mod outlook;
mod sites;
