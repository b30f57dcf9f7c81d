//! Restores that the user stops: what is done stays and is told, going on makes the rest, undo takes back all, and can be
//! stopped itself.

use tenantvault::ops::backup::Stop;
use tenantvault::ops::restore::{Around, run, undo};

use crate::restore::{ALICE, Restorer, in_folder, seen};
use crate::support::StopAfter;

/// What is around a run that is stopped when so many steps are done.
fn stopped_after(r: &Restorer, steps: i64) -> Around {
    let stop = Stop::new();
    if steps == 0 {
        stop.stop();
    }
    Around { monitor: StopAfter::new(steps, &stop), stop, ..r.around() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_stopped_keeps_what_it_did_goes_on_and_is_taken_back() {
    let r = Restorer::new().await;
    let before = seen(&r);
    let there = || seen(&r).difference(&before).count() as u64;
    let (_, view) = r.view(0).await;
    for path in [format!("users/{ALICE}/Mail"), format!("users/{ALICE}/OneDrive")] {
        for steps in [0, 1, 9] {
            let plan = r.plan(&path, "original", in_folder()).await.unwrap();
            let report = run(&plan, &view, &r.client, &stopped_after(&r, steps)).await.unwrap();
            assert!(report.interrupted && report.stopped.is_empty(), "{path} {steps}: {report:?}");
            assert_eq!(there(), report.created, "{path} {steps}: what was under way is finished, and counted");
            assert!(report.created < plan.counts().create, "{path} {steps}: {report:?}");
            assert_eq!(report.created > 0, steps > 0, "{path} {steps}: {report:?}");
            // Stopped once more, it does not lose what it had.
            let again = run(&plan, &view, &r.client, &stopped_after(&r, steps + 5)).await.unwrap();
            assert!(again.interrupted && again.created >= report.created, "{path} {steps}: {again:?}");
            assert_eq!(there(), again.created, "{path} {steps}");
            let whole = r.run(&plan).await.unwrap();
            assert!(!whole.interrupted, "{path} {steps}: {whole:?}");
            assert_eq!((there(), whole.created), (plan.counts().create, plan.counts().create), "{path} {steps}");
            let back = undo(&plan.run, Some(&view), &r.client, &r.around()).await.unwrap();
            assert!(!back.interrupted && back.left.is_empty(), "{path} {steps}: {back:?}");
            assert_eq!(seen(&r), before, "{path} {steps}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_stopped_is_taken_back_in_two_goes_without_going_on() {
    let r = Restorer::new().await;
    let before = seen(&r);
    let there = || seen(&r).difference(&before).count() as u64;
    let (_, view) = r.view(0).await;
    for path in [format!("users/{ALICE}/Mail"), format!("users/{ALICE}/OneDrive")] {
        let plan = r.plan(&path, "original", in_folder()).await.unwrap();
        let report = run(&plan, &view, &r.client, &stopped_after(&r, 9)).await.unwrap();
        assert!(report.interrupted && report.created > 4, "{path}: {report:?}");
        let part = undo(&plan.run, Some(&view), &r.client, &stopped_after(&r, 3)).await.unwrap();
        assert_eq!((part.interrupted, part.undone, part.left.len()), (true, 3, 0), "{path}: {part:?}");
        assert_eq!(there(), report.created - 3, "{path}");
        // What was begun to be taken back is not made anew.
        let refused = r.run(&plan).await.unwrap_err();
        assert!(refused.to_string().contains("taken back"), "{refused}");
        let rest = undo(&plan.run, Some(&view), &r.client, &r.around()).await.unwrap();
        let told = (rest.interrupted, rest.undone, rest.left.len());
        assert_eq!(told, (false, report.created - 3, 0), "{path}: {rest:?}");
        assert_eq!(seen(&r), before, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_stopped_while_its_targets_are_opened_asks_no_more_of_them() {
    let r = Restorer::new().await;
    let (_, view) = r.view(0).await;
    let plan = r.plan(&format!("users/{ALICE}/Contacts"), "original", in_folder()).await.unwrap();
    r.setting.sim.clear_stats();
    let report = run(&plan, &view, &r.client, &stopped_after(&r, 0)).await.unwrap();
    assert!(report.interrupted && report.stopped.is_empty() && report.problems.is_empty(), "{report:?}");
    assert_eq!(r.setting.sim.stats().requests_to("contactFolders"), 0);
    assert_eq!(r.run(&plan).await.unwrap().created, plan.counts().create);
}
