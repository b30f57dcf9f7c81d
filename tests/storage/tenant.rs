//! The life of a repository at each kind of server: a tenant with the demonstration's users is backed up day by day, by two
//! writers at once too, forgotten, pruned, checked with all data, and read back byte for byte.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tenantvault::monitor::Silent;
use tenantvault::ops::backup::{BackupOptions, Surroundings, backup};
use tenantvault::ops::{check, prune};
use tenantvault::repo::{Clock, PruneOptions, ReadData};
use tenantvault::sim::{Contents, Limits, SimOptions};
use tenantvault::snapshot::store;

use super::compare::assert_equal;
use super::tenant_support::Setting;
use super::{Place, services};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto, which .ci/servers installs"]
async fn a_repository_lives_in_s3() {
    lives(services::s3()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs azurite-blob, which .ci/servers installs"]
async fn a_repository_lives_in_azure() {
    lives(services::azblob()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs wsgidav, which .ci/servers installs"]
async fn a_repository_lives_at_a_webdav_server() {
    lives(services::webdav()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs sshd, which .ci/servers installs"]
async fn a_repository_lives_at_an_ssh_server() {
    lives(services::sftp().await).await;
}

async fn lives(place: Place) {
    let options = SimOptions { limits: Limits::unlimited(), contents: Contents::tiny(), ..SimOptions::default() };
    let setting = Setting::with_storage(options, Arc::clone(&place.storage)).await;
    setting.backup().await.unwrap();
    setting.next_day();
    let (first, second) = tokio::join!(setting.backup(), second_writer(&setting));
    assert!(first.unwrap().complete && second.unwrap().complete);
    let truth = setting.sim.expected();
    setting.next_day();
    setting.backup().await.unwrap();

    let snapshots = setting.snapshots().await;
    assert_eq!(snapshots.len(), 4);
    store::delete(&setting.repo, &[&snapshots[0]]).await.unwrap();
    let before = setting.repo.stored_packs().await.unwrap().len();
    let now_us = setting.clock.load(Ordering::Relaxed);
    let options = PruneOptions { grace_us: 0, max_unused_percent: 0.0, now_us, clock: Clock::still(now_us) };
    let plan = prune::plan(&setting.repo, &options, &Silent).await.unwrap();
    plan.execute(&setting.repo, &Silent).await.unwrap();

    let repo = setting.reopen(false).await;
    let after = repo.stored_packs().await.unwrap().len();
    assert!(after < before, "{after} of {before} packs are left");
    let report = check::check(&repo, ReadData::All, &Silent).await.unwrap();
    assert!(!report.has_errors(), "{:?} {:?}", report.findings, report.items);
    let left = setting.snapshots().await;
    assert_eq!(left.len(), 3);
    for snapshot in &left[..2] {
        assert_equal(&repo, &snapshot.file, &truth, false).await;
    }
    assert_equal(&repo, &left[2].file, &setting.sim.expected(), false).await;
}

/// Backs up the same tenant as another set, from another process as it were: nothing is shared but the storage.
async fn second_writer(setting: &Setting) -> tenantvault::Result<tenantvault::ops::backup::BackupReport> {
    let repo = setting.reopen(false).await;
    let client = super::tenant_support::client(&setting.sim);
    let mut set = setting.options.set.clone();
    set.name = "second".into();
    let options = BackupOptions { set, ..setting.options.clone() };
    let clock = setting.clock.clone();
    let around = Surroundings {
        monitor: Arc::new(Silent),
        now_us: Arc::new(move || clock.fetch_add(1000, Ordering::Relaxed)),
        stop: setting.stop.clone(),
    };
    backup(&repo, &client, &options, &around).await
}
