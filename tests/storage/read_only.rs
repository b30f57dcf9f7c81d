//! The read-only wrapper.

use std::sync::Arc;

use bytes::Bytes;
use tenantvault::ErrorKind;
use tenantvault::storage::{ReadOnlyStorage, Storage};

#[tokio::test]
async fn nothing_can_be_changed_through_it_and_everything_read() {
    let place = super::memory();
    place.storage.put("config", vec![Bytes::from_static(b"x")]).await.unwrap();
    let storage = ReadOnlyStorage::new(Arc::clone(&place.storage));
    assert_eq!(storage.put("new", vec![]).await.unwrap_err().kind(), ErrorKind::Permission);
    assert_eq!(storage.delete("config").await.unwrap_err().kind(), ErrorKind::Permission);
    assert_eq!(&storage.get("config", 9).await.unwrap()[..], b"x");
    assert_eq!(&storage.get_range("config", 0, 1).await.unwrap()[..], b"x");
    assert_eq!(storage.list("").await.unwrap(), [storage.stat("config").await.unwrap()]);
    assert_eq!(storage.describe(), place.storage.describe());
}
