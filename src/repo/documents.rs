//! Snapshots, sets and runs: the files that rooms above may write, read and delete by themselves.

use bytes::Bytes;

use crate::crypto;
use crate::error::{Error, ErrorKind, Result};
use crate::format::header::{FileKind, open_document, seal_document};
use crate::format::id::SetId;
use crate::repo::repository::{DOCUMENT_FILE_LIMIT, Repository};

/// The kinds of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DocumentKind {
    /// `snapshots/<set>/<id>`.
    Snapshot,
    /// `sets/<id>`.
    Set,
    /// `runs/<set>/<id>`.
    Run,
}

impl DocumentKind {
    fn folder(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshots",
            Self::Set => "sets",
            Self::Run => "runs",
        }
    }

    fn file_kind(self) -> FileKind {
        match self {
            Self::Snapshot => FileKind::Snapshot,
            Self::Set => FileKind::Set,
            Self::Run => FileKind::Run,
        }
    }

    /// The word for it, to begin a sentence with.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Snapshot => "Snapshot",
            Self::Set => "Set definition",
            Self::Run => "Run",
        }
    }
}

/// Names a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentName {
    /// The set that it belongs to; none for set definitions.
    pub set: Option<SetId>,
    /// BLAKE3 of the file.
    pub id: [u8; 32],
}

fn hex(bytes: &[u8; 32]) -> String {
    SetId(*bytes).to_string()
}

impl DocumentName {
    pub(super) fn path(&self, kind: DocumentKind) -> String {
        let id = hex(&self.id);
        match &self.set {
            Some(set) => format!("{}/{set}/{id}", kind.folder()),
            None => format!("{}/{id}", kind.folder()),
        }
    }
}

impl Repository {
    /// Stores a document, durable when it returns.
    ///
    /// # Errors
    /// The storage's.
    pub async fn put_document<T: bincode::Encode>(
        &self,
        kind: DocumentKind,
        set: Option<SetId>,
        value: &T,
    ) -> Result<DocumentName> {
        let bytes = seal_document(&self.keys, kind.file_kind(), value);
        let name = DocumentName { set, id: crypto::hash_buffers([&bytes[..]]) };
        if let Some(cache) = &self.cache {
            cache.write_document(&hex(&name.id), &bytes);
        }
        self.storage.put(&name.path(kind), vec![bytes.into()]).await?;
        Ok(name)
    }

    /// Lists the documents of a kind. Files with foreign names are left out.
    ///
    /// # Errors
    /// The storage's.
    pub async fn list_documents(&self, kind: DocumentKind) -> Result<Vec<DocumentName>> {
        let mut names = Vec::new();
        for entry in self.storage.list(kind.folder()).await? {
            let mut parts = entry.path.split('/').skip(1);
            let name = match (kind, parts.next(), parts.next()) {
                (DocumentKind::Set, Some(id), None) => id.parse().ok().map(|i: SetId| (None, i.0)),
                (_, Some(set), Some(id)) => {
                    set.parse().ok().zip(id.parse().ok()).map(|(s, i): (SetId, SetId)| (Some(s), i.0))
                }
                _ => None,
            };
            names.extend(name.map(|(set, id)| DocumentName { set, id }));
        }
        Ok(names)
    }

    /// Reads a document.
    ///
    /// # Errors
    /// `Corrupt` when its contents do not match its name; `NotFound`; the storage's.
    pub async fn get_document<T: bincode::Decode<()>>(&self, kind: DocumentKind, name: &DocumentName) -> Result<T> {
        let what = format!("{} {}", kind.noun(), hex(&name.id));
        let file_name = hex(&name.id);
        if let Some(bytes) = self.cache.as_ref().and_then(|c| c.read_document(&file_name))
            && crypto::hash_buffers([&bytes[..]]) == name.id
        {
            return open_document(&what, &self.keys, kind.file_kind(), &bytes);
        }
        let bytes = self.document_bytes(kind, name).await?;
        let value = open_document(&what, &self.keys, kind.file_kind(), &bytes)?;
        if let Some(cache) = &self.cache {
            cache.write_document(&file_name, &bytes);
        }
        Ok(value)
    }

    /// Reads a document's file as it is in the storage; where that fails, from a replica.
    ///
    /// # Errors
    /// `Corrupt` when its contents do not match its name; `NotFound`; the storage's.
    pub async fn document_bytes(&self, kind: DocumentKind, name: &DocumentName) -> Result<Bytes> {
        match self.document_bytes_here(kind, name).await {
            Ok(bytes) => Ok(bytes),
            Err(e) => self.document_bytes_elsewhere(kind, name, e).await,
        }
    }

    pub(super) async fn document_bytes_here(&self, kind: DocumentKind, name: &DocumentName) -> Result<Bytes> {
        let bytes = self.storage.get(&name.path(kind), DOCUMENT_FILE_LIMIT).await?;
        if crypto::hash_buffers([&bytes[..]]) == name.id {
            return Ok(bytes);
        }
        let what = format!("{} {}", kind.noun(), hex(&name.id));
        Err(Error::corrupt(format!("{what} is damaged: its contents do not match its name"))
            .with_hint("bring it back from a copy of the repository, or delete the file"))
    }

    /// Opens the bytes of a document.
    ///
    /// # Errors
    /// `Corrupt`, `UnsupportedVersion`.
    pub fn open_document_bytes<T: bincode::Decode<()>>(
        &self,
        kind: DocumentKind,
        name: &DocumentName,
        bytes: &[u8],
    ) -> Result<T> {
        open_document(&format!("{} {}", kind.noun(), hex(&name.id)), &self.keys, kind.file_kind(), bytes)
    }

    /// Stores the file of a document of this repository that was read elsewhere. That it is there is no error.
    ///
    /// # Errors
    /// The storage's.
    pub async fn put_document_bytes(&self, kind: DocumentKind, name: &DocumentName, bytes: Bytes) -> Result<()> {
        match self.storage.put(&name.path(kind), vec![bytes]).await {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    /// Reads a small file that this machine keeps for itself, beside the local cache; nothing without one.
    pub fn read_note(&self, name: &str) -> Option<Vec<u8>> {
        self.cache.as_ref()?.read_note(name)
    }

    /// Keeps such a file. That it cannot be kept is no failure.
    pub fn write_note(&self, name: &str, bytes: &[u8]) {
        if let Some(cache) = &self.cache {
            cache.write_note(name, bytes);
        }
    }

    /// Lets no other process of this machine change notes until what comes back is dropped.
    pub fn lock_notes(&self) -> Option<std::fs::File> {
        self.cache.as_ref()?.lock_notes()
    }

    /// Removes a document.
    ///
    /// # Errors
    /// The storage's.
    pub async fn delete_document(&self, kind: DocumentKind, name: &DocumentName) -> Result<()> {
        if let Some(cache) = &self.cache {
            cache.remove_document(&hex(&name.id));
        }
        match self.storage.delete(&name.path(kind)).await {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}
