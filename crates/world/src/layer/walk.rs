//! How places in a layer are reached: part by part from its root, through folders only.

use std::{
    ffi::OsStr,
    os::fd::OwnedFd,
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{self, Mode},
    io::Errno,
};

use super::{
    Attributes, FOLDER, Layer, LayerError,
    at::{Lies, lies, make_opaque, mkdir, remove_folder, unlink},
    failed, system,
};

impl Layer {
    /// The folder that a path is in, made if it is not there, and the path's last name; none for
    /// the root.
    pub(super) fn parent<'a>(
        &mut self,
        path: &'a Path,
    ) -> Result<Option<(OwnedFd, &'a OsStr)>, LayerError> {
        let parts = parts(path)?;
        let Some(name) = parts.last() else {
            return Ok(None);
        };
        let above = path.parent().unwrap_or(Path::new(""));
        Ok(Some((self.walk(above)?, name)))
    }

    /// A folder, made with those above it if it is not there.
    pub(super) fn walk(&mut self, path: &Path) -> Result<OwnedFd, LayerError> {
        let mut at = self
            .root
            .try_clone()
            .map_err(|source| system("open", path, source))?;
        let mut so_far = PathBuf::new();
        for part in parts(path)? {
            so_far.push(part);
            at = self.step(&at, part, &so_far)?;
        }
        Ok(at)
    }

    fn step(&mut self, at: &OwnedFd, name: &OsStr, path: &Path) -> Result<OwnedFd, LayerError> {
        match fs::openat(at, name, FOLDER, Mode::empty()) {
            Ok(folder) => return Ok(folder),
            Err(Errno::NOENT) => {
                mkdir(at, name, path)?;
                self.folders
                    .insert(path.to_path_buf(), Attributes::implied());
            }
            Err(Errno::NOTDIR | Errno::LOOP) => match lies(at, name, path)? {
                Lies::Whiteout => {
                    self.uncover(at, name, path)?;
                    self.folders
                        .insert(path.to_path_buf(), Attributes::implied());
                }
                Lies::Symlink => return Err(in_the_way(path, "it is a symbolic link")),
                _ => return Err(in_the_way(path, "it is no folder")),
            },
            Err(error) => return Err(failed("open", path)(error)),
        }
        fs::openat(at, name, FOLDER, Mode::empty()).map_err(failed("open", path))
    }

    /// Makes a folder in place of a whiteout: it is a new one, and what was there stays hidden.
    pub(super) fn uncover(
        &self,
        at: &OwnedFd,
        name: &OsStr,
        path: &Path,
    ) -> Result<(), LayerError> {
        unlink(at, name, path)?;
        mkdir(at, name, path)?;
        let folder = fs::openat(at, name, FOLDER, Mode::empty()).map_err(failed("open", path))?;
        make_opaque(&folder, path)
    }

    /// Where something is to be made, and nothing is any more.
    pub(super) fn cleared<'a>(
        &mut self,
        path: &'a Path,
    ) -> Result<(OwnedFd, &'a OsStr), LayerError> {
        let (parent, name) = self.parent(path)?.ok_or_else(|| is_root(path))?;
        match lies(&parent, name, path)? {
            Lies::Nothing => {}
            Lies::Folder => {
                remove_folder(&parent, name).map_err(failed("remove", path))?;
                let inside = self.folders.range(path.to_path_buf()..);
                let inside = inside.map(|(inside, _)| inside.clone());
                let gone: Vec<_> = inside.take_while(|it| it.starts_with(path)).collect();
                for path in gone {
                    self.folders.remove(&path);
                }
            }
            Lies::Symlink | Lies::Whiteout | Lies::Other => unlink(&parent, name, path)?,
        }
        Ok((parent, name))
    }

    /// A folder that is there.
    pub(super) fn existing(&self, path: &Path) -> Result<Option<OwnedFd>, LayerError> {
        let mut at = self
            .root
            .try_clone()
            .map_err(|source| system("open", path, source))?;
        for part in parts(path)? {
            at = match fs::openat(&at, part, FOLDER, Mode::empty()) {
                Ok(folder) => folder,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
                Err(error) => return Err(failed("open", path)(error)),
            };
        }
        Ok(Some(at))
    }

    /// The folder that a path is in, if it is there, and the path's last name.
    pub(super) fn existing_parent<'a>(
        &self,
        path: &'a Path,
    ) -> Result<Option<(OwnedFd, &'a OsStr)>, LayerError> {
        let parts = parts(path)?;
        let Some(name) = parts.last() else {
            return Ok(None);
        };
        let folder = self.existing(path.parent().unwrap_or(Path::new("")))?;
        Ok(folder.map(|folder| (folder, *name)))
    }
}

/// The parts of a path in a layer. Whoever calls has checked it; this is the place where it
/// would do harm.
fn parts(path: &Path) -> Result<Vec<&OsStr>, LayerError> {
    let part = |component| match component {
        Component::Normal(part) => Ok(part),
        _ => Err(LayerError::Refused {
            path: path.to_path_buf(),
            why: "it leads out of the layer",
        }),
    };
    path.components().map(part).collect()
}

fn in_the_way(path: &Path, why: &'static str) -> LayerError {
    LayerError::Refused {
        path: path.to_path_buf(),
        why,
    }
}

pub(super) fn is_root(path: &Path) -> LayerError {
    in_the_way(path, "it is the root")
}
