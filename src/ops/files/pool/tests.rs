use super::*;
use crate::format::id::PackId;
use crate::format::record::{ExtentList, Piece, Stream, StreamRole};

fn blob(n: u32) -> BlobId {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&n.to_be_bytes());
    BlobId(id)
}

fn place(id: &BlobId) -> Option<BlobPlace> {
    let n = u32::from_be_bytes([id.0[0], id.0[1], id.0[2], id.0[3]]);
    Some(BlobPlace { pack: PackId([0; 32]), offset: n * 1000, stored_bytes: 1000 })
}

fn item(number: usize, extents: &[(u32, u32)]) -> Item<usize> {
    let list = extents.iter().map(|(n, length)| Extent { blob: blob(*n), offset: 0, length: *length }).collect();
    let pieces = vec![Piece { encoding: Encoding::Raw, extents: ExtentList { depth: 0, list } }];
    let contents = Stream { role: StreamRole::Mime, size_bytes: 0, source_hash: String::new(), pieces };
    Item::new(NewFile { path: PathBuf::new(), modified: None, contents }, number)
}

/// How many blobs were opened, the most bytes held, and the numbers of the items that have all they need, sorted.
fn work_off(pool: &mut Pool<usize>, bound: usize) -> (usize, usize, Vec<usize>) {
    let (mut opened, mut most, mut made, mut pressed) = (0, 0, Vec::new(), false);
    while pool.len() > 0 {
        pressed = pool.held_bytes() > if pressed { bound / 2 } else { bound };
        let mut plan = pool.plan(pressed);
        let orders = pool.next_orders(&mut plan, false);
        assert!(!orders.is_empty(), "{} wait for nothing", pool.len());
        opened += orders.len();
        most = most.max(pool.held_bytes());
        for order in orders {
            made.extend(order.last_of.iter().map(|item| item.known_by));
            for (number, extents) in order.held {
                let bytes = |e: Extent| (e, Held::Memory(Bytes::from(vec![0; e.length as usize])));
                assert!(pool.arrive(number, Ok(extents.into_iter().map(bytes).collect())).is_none());
            }
        }
        made.extend(pool.take_ready().iter().map(|item| item.known_by));
    }
    assert_eq!(pool.held_bytes(), 0);
    made.sort_unstable();
    (opened, most, made)
}

/// Messages whose bodies lie together, every eighth with an attachment in one of many older blobs.
fn mailbox(pool: &mut Pool<usize>, messages: usize, older: u32) {
    for n in 0..messages {
        let body = (older + n as u32 / 50, 300);
        let shared = ((n as u32).wrapping_mul(7919) % older, 5000);
        let extents = if n % 8 == 0 { vec![body, shared] } else { vec![body] };
        pool.add(item(n, &extents), place);
    }
}

#[test]
fn a_blob_is_opened_once_though_many_items_share_older_ones() {
    let mut pool = Pool::new();
    mailbox(&mut pool, 4000, 100);
    let blobs = 80 + (0..4000u32).step_by(8).map(|n| n.wrapping_mul(7919) % 100).collect::<HashSet<_>>().len();
    let (opened, most, made) = work_off(&mut pool, usize::MAX);
    assert_eq!(opened, blobs);
    assert_eq!(made, (0..4000).collect::<Vec<_>>());
    assert!(most <= 500 * 300 + 50 * 5000, "attachments were held rather than bodies: {most} bytes");
}

#[test]
fn little_is_held_when_little_may_be() {
    let mut pool = Pool::new();
    mailbox(&mut pool, 4000, 100);
    // No single blob makes these whole.
    for n in 4000..4050 {
        pool.add(item(n, &[(n as u32, 900), (n as u32 + 100, 900), (n as u32 + 200, 900)]), place);
    }
    let (opened, most, made) = work_off(&mut pool, 20_000);
    assert_eq!(made, (0..4050).collect::<Vec<_>>());
    // What one run of neighbours adds, at most, comes on top.
    assert!(most <= 20_000 + 50 * 5300, "{most} bytes");
    assert!(opened < 1200, "{opened} blobs were opened");
}

#[test]
fn neighbours_are_asked_for_together() {
    let mut pool = Pool::new();
    (0..40).for_each(|n| pool.add(item(n, &[(n as u32 * if n < 20 { 1 } else { 1000 }, 10)]), place));
    let mut plan = pool.plan(false);
    let mut runs = Vec::new();
    while !plan.is_empty() {
        runs.push(pool.next_orders(&mut plan, false).len());
    }
    runs.sort_unstable();
    assert_eq!(runs, [vec![1; 20], vec![20]].concat());
}

#[test]
fn an_item_that_loses_a_part_is_told_of_once_and_what_it_held_is_free() {
    let mut pool = Pool::new();
    pool.add(item(1, &[(1, 10), (2, 10), (3, 10)]), place);
    let mut plan = pool.plan(false);
    let orders = pool.next_orders(&mut plan, false);
    assert_eq!(orders.len(), 3, "one lies beside the other");
    let lost = |_| Err(Error::corrupt("lost"));
    let told: Vec<_> = orders.iter().filter_map(|order| pool.arrive(0, lost(order))).collect();
    assert_eq!(told.len(), 1);
    assert_eq!((pool.len(), pool.held_bytes(), pool.ready()), (0, 0, 0));
}
