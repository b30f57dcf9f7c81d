//! The simulated tenant (room: sim): Microsoft Graph and the sign-in, over HTTP on the loopback interface.
//!
//! It is written from Microsoft's documentation (`REFERENCE` and the sample answers), not from the client in
//! this crate, and shares nothing with it but the error type: where the two disagree, one of them read the
//! documentation wrongly. All data follow from a seed; contents are made when they are read. Time inside the
//! tenant moves by [`SimHandle::advance_day`] alone; only tokens, download URLs and limits follow the clock.

mod app;
mod auth;
mod batch;
mod calendar;
mod calendar_http;
mod calendar_json;
mod calendar_series;
mod calendar_write;
mod channels;
mod chats;
mod contacts;
mod contacts_write;
mod content;
mod control;
mod conversations;
mod directory;
mod doors;
mod download;
mod drive;
mod drive_json;
mod drive_write;
mod faults;
mod groups;
mod http;
mod lazy;
mod letter;
mod library;
mod lists;
mod lists_write;
mod login;
mod login_pages;
mod mail;
mod mail_delta;
mod mail_json;
mod mail_write;
mod mailbox;
mod migration;
mod mime;
mod odd;
mod options;
mod oracle;
mod pages_write;
mod planner;
mod planner_write;
mod populate;
mod properties;
mod query;
mod quickxor;
mod registration;
mod reply;
mod rng;
mod route;
mod route_groups;
mod row_lists;
mod schema;
mod script;
mod series;
mod settings;
mod settings_write;
mod shelf;
mod shelf_http;
mod sites;
mod sites_http;
mod sites_oracle;
mod sites_write;
mod state;
mod tasks;
mod tasks_write;
mod team;
mod team_write;
mod terms;
mod terms_write;
mod throttle;
mod times;
mod token;
mod uploads;
mod wipe;
mod words;
mod writes;
mod written;

#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::serve::ListenerExt as _;
use tokio::sync::oneshot;

pub use app::SimStats;
pub use content::Blob;
pub use faults::{Fault, FaultKind};
pub use options::{BACKUP_ROLES, Contents, Limits, Pages, Profile, RESTORE_ROLES, Script, SimOptions};
pub use oracle::{
    Expected, ExpectedCollection, ExpectedDrive, ExpectedFolder, ExpectedItem, ExpectedLibrary, ExpectedMailbox,
    ExpectedMessage, ExpectedThing, ExpectedUser, ItemKind, Mime,
};
pub use state::UserKind;

use crate::error::{Error, Result};
use app::App;
use state::World;

/// Starts simulated tenants.
#[derive(Debug)]
pub struct SimTenant;

impl SimTenant {
    /// Makes a tenant and serves it on the current Tokio runtime until the handle is dropped.
    ///
    /// Fails if the port is taken.
    pub async fn start(options: SimOptions) -> Result<SimHandle> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))
            .await
            .map_err(|e| Error::io(format!("Port {} of the loopback interface", options.port), e))?;
        let address = listener.local_addr().map_err(|e| Error::io("The simulated tenant's port", e))?;
        let world = World::new(&options);
        let app = Arc::new(App::new(options, format!("http://{address}"), world));
        // Answers of many requests share a connection of HTTP/2: none waits until another was acknowledged.
        let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
        let router = axum::Router::new().fallback(http::serve).with_state(app.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(async move {
            let server = axum::serve(listener, router).into_future();
            tokio::select! {
                _ = server => {}
                _ = stopped => {}
            }
        });
        Ok(SimHandle { app, _stop: stop })
    }
}

/// A running simulated tenant. Dropping it stops the server.
#[derive(Debug)]
pub struct SimHandle {
    app: Arc<App>,
    _stop: oneshot::Sender<()>,
}

impl SimHandle {
    /// The server's address: `http://127.0.0.1:40123`.
    pub fn base_url(&self) -> &str {
        &self.app.base_url
    }

    /// What stands for `https://graph.microsoft.com`.
    pub fn graph_url(&self) -> &str {
        &self.app.base_url
    }

    /// What stands for `https://login.microsoftonline.com`.
    pub fn login_url(&self) -> &str {
        &self.app.base_url
    }

    /// The tenant's id.
    pub fn tenant_id(&self) -> &str {
        &self.app.auth.tenant_id
    }

    /// The application's (client) id.
    pub fn client_id(&self) -> &str {
        &self.app.auth.client_id
    }

    /// The application's secret. It opens nothing but this simulation.
    pub fn client_secret(&self) -> &str {
        &self.app.auth.secret
    }

    /// The id of the application that restores: another one, so that the backup's can only read.
    pub fn restore_client_id(&self) -> &str {
        &self.app.auth.restore_client_id
    }

    /// The secret of the application that restores. It opens nothing but this simulation.
    pub fn restore_client_secret(&self) -> &str {
        &self.app.auth.restore_secret
    }

    /// From now on a user's mailbox takes no more than so many bytes; `None`: as many as come.
    pub fn limit_mailbox(&self, upn: &str, bytes: Option<usize>) {
        let mut world = self.app.write();
        if let Some(mailbox) = world.user(upn).and_then(|index| world.users[index].mailbox.as_deref_mut()) {
            mailbox.room = bytes;
        }
    }

    /// From now on a user's OneDrive takes no more than so many bytes; `None`: as many as come.
    pub fn limit_drive(&self, upn: &str, bytes: Option<usize>) {
        let mut world = self.app.write();
        if let Some(index) = world.user(upn) {
            match bytes {
                Some(bytes) => drop(world.room.insert(index, bytes)),
                None => drop(world.room.remove(&index)),
            }
        }
    }

    /// Deletes all messages and folders that a user made from the mailbox, and all that is in the OneDrive, as an
    /// attacker would.
    pub fn wipe(&self, upn: &str) {
        let mut world = self.app.write();
        let now = world.now();
        let Some(index) = world.user(upn) else { return };
        if let Some(mailbox) = world.users[index].mailbox.as_deref_mut() {
            mailbox.wipe(now);
        }
        if let Some(drive) = world.users[index].drive.as_deref_mut() {
            drive.children(library::ROOT).collect::<Vec<_>>().into_iter().for_each(|item| drive.delete(item, now));
        }
    }

    /// Brings a user who left back into the directory, with all that was theirs.
    pub fn bring_back(&self, id: &str) {
        self.app.write().users.iter_mut().filter(|user| user.id == id).for_each(|user| user.present = true);
    }

    /// Mails that restoring made the tenant send: there should be none.
    pub fn mails_sent(&self) -> u64 {
        self.app.read().mails_sent + self.app.stats().invitations
    }

    /// From now on all upload sessions given so far are gone.
    pub fn expire_uploads(&self) {
        self.app.uploads.expire();
    }

    /// The `[tenants.sim]` table of the product's configuration; `secret_file` must hold [`Self::client_secret`].
    pub fn config_toml(&self, secret_file: &str) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        format!(
            "[tenants.sim]\ntenant_id = {}\nclient_id = {}\nclient_secret_file = {}\ngraph_url = {}\nlogin_url = {}\n",
            quoted(self.tenant_id()),
            quoted(self.client_id()),
            quoted(secret_file),
            quoted(self.graph_url()),
            quoted(self.login_url()),
        )
    }

    /// The tenant's day; 0 at the start.
    pub fn day(&self) -> u32 {
        self.app.read().day
    }

    /// Moves the tenant on by one day, as the script says.
    pub fn advance_day(&self) {
        script::advance_day(&mut self.app.write(), &self.app.options);
    }

    /// Moves the tenant on by one day, as another script says.
    pub fn advance_day_by(&self, script: &Script) {
        let options = SimOptions { script: script.clone(), ..self.app.options.clone() };
        script::advance_day(&mut self.app.write(), &options);
    }

    /// Deletes from a mailbox what is no mail: events and calendars, contacts, tasks, rules and the like, as an attacker
    /// would; or of a group its plans and what its team is made of; or of a site its lists, pages, columns and content types; or, with an empty id, the tenant's terms. What cannot be
    /// deleted stays.
    pub fn wipe_items(&self, id: &str) {
        let mut world = self.app.write();
        let now = world.now();
        if let Some(user) = world.user(id) {
            wipe::items(&mut world.users[user], now);
        } else if id.is_empty() {
            wipe::terms(&mut world.terms);
        } else if let Ok(group) = groups::find(&world, id) {
            wipe::group(&mut world.groups[group]);
        } else if let Ok(site) = sites_http::find(&world, id) {
            wipe::site(&mut world.sites[site]);
        }
    }

    /// Moves a contact or an event of a user into another folder or calendar, as people do in Outlook: Graph has no request for it.
    pub fn carry(&self, upn: &str, id: &str, to: &str) {
        let mut world = self.app.write();
        let now = world.now();
        if let Some(user) = world.user(upn) {
            let user = &mut world.users[user];
            user.contacts.carry(id, to, now);
            user.calendars.carry(id, to, now);
        }
    }

    /// Takes somebody out of each sharing of the user's OneDrive, of which no delta tells: Graph says it only to
    /// who has all rights, and not of every folder. `touched`: delta tells the items, as if something else of them had changed.
    /// Gives how many these are.
    pub fn shrink_sharing(&self, upn: &str, touched: bool) -> usize {
        let mut world = self.app.write();
        let now = world.now();
        let Some(index) = world.user(upn) else { return 0 };
        world.users[index].drive.as_deref_mut().map_or(0, |drive| drive.shrink_sharing(touched, now))
    }

    /// Shares up to so many items of the user's OneDrive, of which no delta tells, for the same reason.
    pub fn share_untold(&self, upn: &str, items: usize) -> usize {
        let mut world = self.app.write();
        let Some(index) = world.user(upn) else { return 0 };
        world.users[index].drive.as_deref_mut().map_or(0, |drive| drive.share_untold(items))
    }

    /// Gives all items of the user's OneDrive the rights of what holds them again.
    pub fn stop_sharing(&self, upn: &str) {
        let mut world = self.app.write();
        let now = world.now();
        let Some(index) = world.user(upn) else { return };
        world.users[index].drive.as_deref_mut().into_iter().for_each(|drive| drive.stop_sharing(now));
    }

    /// From now on so many people may use each list, beside its owners. Nothing else tells it.
    pub fn share_lists(&self, people: u32) {
        let mut world = self.app.write();
        world.sites.iter_mut().flat_map(|site| &mut site.lists).for_each(|list| list.people = people);
    }

    /// The truth of the present day.
    pub fn expected(&self) -> Expected {
        oracle::tell(&self.app.read())
    }

    /// The access tokens and download permissions that clients got so far, if the options say to remember them.
    pub fn given_out(&self) -> std::collections::BTreeSet<String> {
        self.app.counts.given_out()
    }

    /// What clients asked for so far.
    pub fn stats(&self) -> SimStats {
        self.app.stats()
    }

    /// Forgets the counts of requests, answers and bytes.
    pub fn clear_stats(&self) {
        self.app.clear_counts();
    }

    /// Arms a fault.
    pub fn inject(&self, fault: Fault) {
        self.app.faults.arm(fault);
    }

    /// Takes all faults away.
    pub fn clear_faults(&self) {
        self.app.faults.clear();
    }

    /// From now on all mail delta tokens given so far are answered 410.
    pub fn expire_mail_deltas(&self) {
        self.app.write().mail_generation += 1;
    }

    /// From now on all drive delta tokens given so far are answered 410.
    pub fn expire_drive_deltas(&self) {
        self.app.write().drive_generation += 1;
    }

    /// From now on all access tokens given so far are refused.
    pub fn revoke_tokens(&self) {
        self.app.auth.revoke_tokens();
    }

    /// From now on the secret is refused as expired (AADSTS7000222).
    pub fn expire_secret(&self) {
        self.app.auth.expire_secret();
    }

    /// Moves the sign-in's clock on: tokens, codes and what was signed in earlier grow older.
    pub fn pass_time(&self, time: std::time::Duration) {
        self.app.auth.pass(time);
    }

    /// From now on tokens must have been asked for with these claims (continuous access evaluation); `of_user`: and by the
    /// user in person.
    pub fn demand_claims(&self, claims: &str, of_user: bool) {
        self.app.auth.demand(claims, of_user);
    }

    /// From now on no earlier sign-in of a user goes on (AADSTS50173).
    pub fn revoke_sign_ins(&self) {
        self.app.logins.revoke();
    }

    /// From now on the sign-in refuses a user with this AADSTS code; `None`: no longer.
    pub fn refuse_user(&self, upn: &str, code: Option<u32>) {
        self.app.logins.refuse(upn, code);
    }

    /// The password of a user. It opens nothing but this simulation.
    pub fn password_of(&self, upn: &str) -> String {
        login::password(&self.app, upn)
    }

    /// The device codes that wait for somebody to type them.
    pub fn waiting_codes(&self) -> Vec<String> {
        self.app.logins.waiting()
    }

    /// Types a device code as a user, and approves or declines; says whether that worked.
    pub fn answer_device(&self, user_code: &str, upn: &str, approve: bool) -> bool {
        login::answer_device(&self.app, user_code, upn, approve).is_ok()
    }
}
