//! What a budget promises, on a clock of the test's own: a service that counts strictly, and clients that ask for permits.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::*;
use crate::monitor::Silent;

/// How the simulated service counts.
#[derive(Debug, Clone, Copy)]
enum Counting {
    Sliding,
    Fixed,
    Refilled,
}

/// A service that allows so much and answers 429 to the rest.
struct Service {
    counting: Counting,
    limit: WindowLimit,
    log: VecDeque<Duration>,
    window: u128,
    used: u32,
    tokens: f64,
    last: Duration,
    allowed: u32,
    refused: u32,
}

impl Service {
    fn new(counting: Counting, limit: WindowLimit) -> Self {
        let tokens = f64::from(limit.units);
        Self {
            counting,
            limit,
            log: VecDeque::new(),
            window: 0,
            used: 0,
            tokens,
            last: Duration::ZERO,
            allowed: 0,
            refused: 0,
        }
    }

    /// Takes one request; throttled ones count too, as Microsoft's do.
    fn arrive(&mut self, at: Duration) -> bool {
        let fine = match self.counting {
            Counting::Sliding => {
                while self.log.front().is_some_and(|t| *t + self.limit.window <= at) {
                    self.log.pop_front();
                }
                self.log.push_back(at);
                self.log.len() <= self.limit.units as usize
            }
            Counting::Fixed => {
                // Windows that begin at an odd time of the server's own.
                let window = (at + self.limit.window.mul_f64(0.37)).as_micros() / self.limit.window.as_micros();
                if window != self.window {
                    (self.window, self.used) = (window, 0);
                }
                self.used += 1;
                self.used <= self.limit.units
            }
            Counting::Refilled => {
                let rate = f64::from(self.limit.units) / self.limit.window.as_secs_f64();
                self.tokens = (self.tokens + (at - self.last).as_secs_f64() * rate).min(f64::from(self.limit.units));
                self.last = at;
                self.tokens -= 1.0;
                self.tokens >= 0.0
            }
        };
        if fine {
            self.allowed += 1;
        } else {
            self.refused += 1;
        }
        fine
    }
}

/// What happens to a client: it wants to send, its request arrives, the answer arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Free,
    Arrives(Duration),
    Answered(bool),
}

/// Runs a mailbox with four clients that always want more, until `end`; `before`: requests another program sent
/// just before. Latencies vary between 20 and 420 ms, by a fixed rule.
fn run(counting: Counting, limit: WindowLimit, end: Duration, before: u32) -> Service {
    let mut service = Service::new(counting, limit);
    (0..before).for_each(|_| {
        service.arrive(Duration::ZERO);
    });
    (service.allowed, service.refused) = (0, 0);
    let start = Instant::now();
    let mut lane = LaneState::new(&[limit], 0.98, start);
    let mut events = BinaryHeap::new();
    (0..4_u64).for_each(|client| events.push(Reverse((Duration::ZERO, client, Event::Free))));
    let mut random = 1_u64;
    while let Some(Reverse((now, client, event))) = events.pop() {
        if now > end {
            break;
        }
        let instant = start + now;
        match event {
            Event::Free => {
                if let Some((at, _)) = lane.next_at(1, instant) {
                    events.push(Reverse((at - start, client, Event::Free)));
                    continue;
                }
                lane.take(1, instant);
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let latency = Duration::from_millis(20 + (random >> 33) % 400);
                events.push(Reverse((now + latency / 3, client, Event::Arrives(latency * 2 / 3))));
            }
            Event::Arrives(back) => {
                let fine = service.arrive(now);
                events.push(Reverse((now + back, client, Event::Answered(fine))));
            }
            Event::Answered(fine) => {
                lane.settle(1, instant);
                if !fine {
                    lane.pause(limit.window / 60, false, instant);
                }
                events.push(Reverse((now, client, Event::Free)));
            }
        }
    }
    service
}

const MAILBOX: WindowLimit = WindowLimit { units: 10_000, window: Duration::from_secs(600) };

#[test]
fn a_busy_mailbox_uses_its_allowance_and_is_never_throttled() {
    for counting in [Counting::Sliding, Counting::Fixed, Counting::Refilled] {
        let windows = 6;
        // Slow answers: 4 clients manage 18 a second, hardly more than the 16.7 allowed.
        let service = run(counting, MAILBOX, MAILBOX.window * windows, 0);
        let part = f64::from(service.allowed) / f64::from(MAILBOX.units * windows);
        assert!(part >= 0.95, "{counting:?}: {part}");
        assert_eq!(service.refused, 0, "{counting:?}");
    }
}

#[test]
fn a_scaled_mailbox_keeps_both_promises() {
    for counting in [Counting::Sliding, Counting::Fixed, Counting::Refilled] {
        // Plenty of clients' speed against the allowance: bursts, then waits.
        let limit = WindowLimit { units: 500, window: Duration::from_secs(60) };
        let service = run(counting, limit, limit.window * 10, 0);
        let part = f64::from(service.allowed) / 5_000.0;
        assert!(part >= 0.95, "{counting:?}: {part}");
        assert_eq!(service.refused, 0, "{counting:?}");
    }
}

#[test]
fn what_another_program_spent_costs_few_refusals() {
    for counting in [Counting::Sliding, Counting::Fixed, Counting::Refilled] {
        let service = run(counting, MAILBOX, MAILBOX.window * 4, 6_000);
        let part = f64::from(service.refused) / f64::from(service.refused + service.allowed);
        assert!(part < 0.01, "{counting:?}: {part} ({} refused)", service.refused);
        assert!(f64::from(service.allowed) > 0.8 * (4.0 * 10_000.0 - 6_000.0), "{counting:?}: {}", service.allowed);
    }
}

#[test]
fn a_remaining_header_is_never_overspent() {
    let start = Instant::now();
    let mut lane = LaneState::new(&[WindowLimit { units: 1_250, window: Duration::from_secs(60) }], 0.98, start);
    lane.take(2, start);
    lane.observe(RateLimit { limit: Some(1_200), remaining: 10, reset: Duration::from_secs(5) }, start);
    let mut sent = 0;
    while lane.next_at(1, start).is_none() {
        lane.take(1, start);
        sent += 1;
    }
    assert_eq!(sent, 8, "two of the ten left are under way");
    let (at, _) = lane.next_at(1, start).unwrap();
    assert_eq!(at - start, Duration::from_secs(5));
    assert!(lane.next_at(1, at).is_none());
}

#[test]
fn a_pause_holds_the_whole_scope_and_the_longer_one_counts() {
    let start = Instant::now();
    let mut lane = LaneState::new(&[MAILBOX], 0.98, start);
    lane.pause(Duration::from_secs(30), false, start);
    lane.pause(Duration::from_secs(10), false, start);
    let (at, why) = lane.next_at(1, start).unwrap();
    assert_eq!(at - start, Duration::from_secs(30));
    assert!(why.contains("Microsoft asked"));
    assert_eq!(lane.pace.as_ref().unwrap().fraction, 1.0, "one overrun counts once");
}

#[tokio::test]
async fn four_at_once_and_no_fifth() {
    let budget = Budget::new(Limits::default(), Arc::new(Silent));
    let scope = Scope::Mailbox("a".into());
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(budget.acquire(&scope, 1).await);
    }
    assert!(budget.would_wait(&scope));
    assert!(!budget.would_wait(&Scope::Mailbox("b".into())), "another mailbox has lanes of its own");
    let mut fifth = std::pin::pin!(budget.acquire(&scope, 1));
    assert!(futures::poll!(&mut fifth).is_pending());
    held.pop();
    fifth.await;
}

#[tokio::test]
async fn those_who_wait_are_served_in_order() {
    let limits = Limits { mailbox_concurrent: 1, ..Limits::default() };
    let budget = Budget::new(limits, Arc::new(Silent));
    let scope = Scope::Mailbox("a".into());
    let first = budget.acquire(&scope, 1).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let tasks: Vec<_> = (0..10)
        .map(|n| {
            let (budget, scope, order) = (budget.clone(), scope.clone(), order.clone());
            async move {
                let _permit = budget.acquire(&scope, 1).await;
                lock(&order).push(n);
            }
        })
        .collect();
    let all = futures::future::join_all(tasks);
    let mut all = std::pin::pin!(all);
    assert!(futures::poll!(&mut all).is_pending());
    drop(first);
    all.await;
    assert_eq!(*lock(&order), (0..10).collect::<Vec<_>>());
}

#[derive(Default)]
struct Words(Mutex<Vec<String>>);

impl Monitor for Words {
    fn waiting(&self, text: &str) {
        lock(&self.0).push(text.to_owned());
    }
}

#[tokio::test]
async fn it_says_in_words_what_is_waited_for() {
    let words = Arc::new(Words::default());
    let budget = Budget::new(Limits::default(), words.clone());
    budget.name_mailbox("id-1", "alice@contoso.com");
    let scope = Scope::Mailbox("id-1".into());
    assert_eq!(budget.waiting_text(), "");
    budget.throttled(&scope, Duration::from_secs(40), false);
    {
        let mut waiting = std::pin::pin!(budget.acquire(&scope, 1));
        assert!(futures::poll!(&mut waiting).is_pending());
        let text = budget.waiting_text();
        assert!(text.contains("mailbox alice@contoso.com (Microsoft asked to wait), 40 s"), "{text}");
    }
    assert_eq!(budget.waiting_text(), "", "who gives up waits no more");
    let said = lock(&words.0).clone();
    assert_eq!(said.len(), 2, "{said:?}");
    assert_eq!(said[1], "");
}

#[tokio::test]
async fn idle_mailboxes_do_not_pile_up() {
    let limits = Limits { mailbox: WindowLimit { units: 10, window: Duration::from_millis(1) }, ..Limits::default() };
    let budget = Budget::new(limits, Arc::new(Silent));
    for n in 0..LANES_KEPT * 2 {
        drop(budget.lane(&Scope::Mailbox(n.to_string())));
    }
    assert!(lock(&budget.mailboxes).len() <= LANES_KEPT);
}

/// What a tenant may be asked follows from its licences, and is known only when its users were listed.
#[test]
fn more_licences_allow_more_at_once_and_never_less() {
    let budget = Budget::new(Limits { share: 1.0, ..Limits::for_licences(0) }, Arc::new(Silent));
    let now = Instant::now();
    let spend = |units: u32| {
        let mut state = budget.files.state();
        state.take(units, now);
        state.settle(units, now);
    };
    let waits = || budget.files.state().next_at(1, now).is_some();
    spend(1_249);
    assert!(!waits());
    spend(1);
    assert!(waits());
    for licences in [1_001, 900, 0] {
        budget.learn_licences(licences);
        assert_eq!(budget.files_units(), [2_500, 2_400_000]);
        assert!(!waits(), "the larger budget is there at once");
    }
    spend(1_250);
    assert!(waits(), "and no more than that");
}

#[tokio::test]
async fn what_is_spent_is_told_with_what_may_be() {
    let budget = Budget::new(Limits::default(), Arc::new(Silent));
    let mut permit = budget.acquire(&Scope::Files, 5).await;
    let told = |budget: &Budget| budget.spent().iter().map(|one| (one.what, one.used, one.limit)).collect::<Vec<_>>();
    let shared = |used| [("files_minute", used, 1_225), ("files_day", 5, 1_176_000), ("directory", 0, 3_430)];
    let single = [("teams", 0, 29), ("planner", 0, 19), ("mailbox", 0, 9_800), ("mailboxes", 0, 0)];
    let of = |used| [&shared(used)[..], &single].concat();
    assert_eq!(told(&budget), of(5));
    permit.answered();
    assert_eq!(told(&budget), of(5));
    let left = RateLimit { limit: None, remaining: 25, reset: Duration::from_secs(5) };
    budget.observe(&Scope::Files, left);
    assert_eq!(told(&budget), of(1_200), "the server knows of others");
}

#[tokio::test]
async fn of_mailboxes_and_teams_those_nearest_to_their_limits_are_told() {
    let budget = Budget::new(Limits::default(), Arc::new(Silent));
    let mut permits = Vec::new();
    for (mailbox, requests) in [("anna", 2), ("bert", 3), ("carl", 1)] {
        for _ in 0..requests {
            permits.push(budget.acquire(&Scope::Mailbox(mailbox.to_owned()), 1).await);
        }
    }
    for call in [TeamsCall::Export, TeamsCall::Team, TeamsCall::Team] {
        permits.push(budget.acquire(&Scope::Teams(call, String::new()), 1).await);
    }
    budget.throttled(&Scope::Mailbox("carl".to_owned()), Duration::from_secs(60), false);
    let told: Vec<_> = budget.spent().iter().skip(3).map(|one| (one.what, one.used, one.limit)).collect();
    assert_eq!(told, [("teams", 2, 29), ("planner", 0, 19), ("mailbox", 3, 9_800), ("mailboxes", 1, 3)]);
}
