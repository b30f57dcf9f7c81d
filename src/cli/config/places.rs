//! Where a configuration is looked for.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The name of a configuration file that is found rather than given.
pub const FILE_NAME: &str = "tenantvault.toml";

/// The places, in the order in which they are tried.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// `--config`. It must be there.
    pub argument: Option<PathBuf>,
    /// `TENANTVAULT_CONFIG`. It must be there.
    pub environment: Option<PathBuf>,
    /// The folder that the program was started in.
    pub working_folder: PathBuf,
    /// The user's folder for this program's configuration, if the system has one.
    pub user_folder: Option<PathBuf>,
}

impl Places {
    /// Finds the configuration file; `None` if nobody named one and none is in the folders.
    ///
    /// # Errors
    /// `NotFound` if the file that was named is not there.
    pub fn find(&self) -> Result<Option<PathBuf>> {
        for (named, by) in [(&self.argument, "--config"), (&self.environment, "TENANTVAULT_CONFIG")] {
            if let Some(path) = named {
                return match path.try_exists() {
                    Ok(true) => Ok(Some(path.clone())),
                    _ => Err(Error::not_found(format!("Configuration {} is not there", path.display()))
                        .with_hint(format!("It was named by {by}"))),
                };
            }
        }
        let in_folder = |folder: &Path| Some(folder.join(FILE_NAME)).filter(|path| path.is_file());
        Ok(in_folder(&self.working_folder).or_else(|| self.user_folder.as_deref().and_then(in_folder)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_configuration_wins() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = |name: &str| {
            let folder = root.path().join(name);
            std::fs::create_dir_all(&folder).expect("it makes a folder");
            folder
        };
        let touch = |path: PathBuf| {
            std::fs::write(&path, "").expect("it writes");
            path
        };
        let mut places =
            Places { working_folder: folder("here"), user_folder: Some(folder("user")), ..Places::default() };
        assert_eq!(places.find().expect("none"), None);
        let user = touch(folder("user").join(FILE_NAME));
        assert_eq!(places.find().expect("user"), Some(user));
        let here = touch(folder("here").join(FILE_NAME));
        assert_eq!(places.find().expect("here"), Some(here));
        places.environment = Some(touch(root.path().join("e.toml")));
        assert_eq!(places.find().expect("environment"), places.environment);
        places.argument = Some(root.path().join("missing.toml"));
        let error = places.find().expect_err("named and missing");
        assert!(error.to_string().contains("missing.toml") && error.hint().is_some_and(|h| h.contains("--config")));
    }
}
