use std::sync::Arc;

use super::*;

/// An output that can be read afterwards.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("one writer").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("one reader").clone()).expect("text")
    }
}

fn status(counts: &[(Counter, i64)], seconds: u64) -> Status {
    let mut status = Status { elapsed: Duration::from_secs(seconds), ..Status::default() };
    for &(counter, count) in counts {
        status.counts[slot(counter).expect("a slot")] = count;
    }
    status
}

#[test]
fn a_line_says_how_far_how_fast_and_how_long() {
    let mut status = status(
        &[
            (Counter::Items, 1234),
            (Counter::ItemsTotal, 9872),
            (Counter::BytesRead, 10 << 20),
            (Counter::BytesStored, 4 << 20),
            (Counter::Requests, 310),
        ],
        62,
    );
    status.phase = "Reading alice@contoso.com: Mail".into();
    assert_eq!(
        status.line(),
        "[1:02]  12.5%  1,234/9,872 items  19 items/s  10.000 MiB (165.161 KiB/s)  4.000 MiB stored  310 requests  7:14 left  \
         Reading alice@contoso.com: Mail"
    );
    status.waiting = "SharePoint's request budget, 12 s".into();
    assert!(status.line().ends_with("  waiting: SharePoint's request budget, 12 s"));
}

#[test]
fn nothing_is_claimed_that_is_not_known() {
    assert_eq!(status(&[], 0).line(), "[0:00]  0 items");
    assert_eq!(status(&[(Counter::Items, 1)], 0).time_left(), None);
    // More done than was expected, and counts that went below zero.
    let odd = status(&[(Counter::Items, 30), (Counter::ItemsTotal, 20), (Counter::Gaps, -3)], 10);
    assert_eq!(odd.fraction(), Some(1.0));
    assert_eq!(odd.count(Counter::Gaps), 0);
    // Bytes count more than items, collections only if nothing else is known.
    let both = [(Counter::BytesRead, 1), (Counter::BytesTotal, 4), (Counter::Items, 1), (Counter::ItemsTotal, 2)];
    assert_eq!(status(&both, 10).fraction(), Some(0.25));
    assert_eq!(status(&[(Counter::Collections, 1), (Counter::CollectionsTotal, 2)], 10).fraction(), Some(0.5));
}

#[test]
fn every_counter_has_a_slot_of_its_own() {
    let monitor = ProgressMonitor::with_output(Display::Silent, false, Box::new(Paper::default()));
    for (index, (counter, _)) in COUNTERS.iter().enumerate() {
        monitor.add(*counter, index as i64 + 1);
    }
    let status = monitor.status();
    for (index, (counter, name)) in COUNTERS.iter().enumerate() {
        assert_eq!(status.count(*counter), index as u64 + 1, "{name}");
        assert_eq!(status.json()[name], index + 1);
    }
}

#[test]
fn json_lines_carry_status_and_problems() {
    let paper = Paper::default();
    let monitor = ProgressMonitor::with_output(Display::Json, false, Box::new(paper.clone()));
    monitor.add(Counter::Items, 3);
    monitor.add(Counter::Items, 4);
    monitor.problem("mail 7", "not there");
    let lines: Vec<Value> = paper.text().lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    // The second event comes long before the next status is due.
    assert_eq!(lines[0]["message_type"], "status");
    assert_eq!(lines[0]["items"], 3);
    let last = lines.last().expect("a line");
    assert_eq!(*last, json!({"message_type": "error", "object": "mail 7", "message": "not there"}));
    monitor.say("for people");
    assert!(!paper.text().contains("for people"));
}

#[test]
fn silence_lets_problems_through_unless_it_is_quiet() {
    for (quiet, expected) in [(false, "mail\\u{1b}: not there\n"), (true, "")] {
        let paper = Paper::default();
        let monitor = ProgressMonitor::with_output(Display::Silent, quiet, Box::new(paper.clone()));
        monitor.add(Counter::Items, 1);
        monitor.phase("Reading");
        monitor.problem("mail\x1b", "not there");
        monitor.finish();
        assert_eq!(paper.text(), expected);
    }
}

#[test]
fn quiet_wins_over_json() {
    assert_eq!(Display::choose(true, true), Display::Silent);
    assert_eq!(Display::choose(true, false), Display::Json);
}
