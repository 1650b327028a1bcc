//! What is sent: a file as it is, or a folder as a tar that is made on the way.
#![allow(clippy::disallowed_methods)] // The command line is the edge: it reads its own files.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use atoll_world::task;
use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use tar::{EntryType, Header};

use crate::{error::CliError, output::Progress};

/// Files are read in such pieces.
const PIECE_BYTES: usize = 256 << 10;
/// A tar is made of blocks.
const BLOCK_BYTES: u64 = 512;
/// Where an OCI image layout has files.
const PARTS: [&str; 2] = ["", "blobs/sha256"];

/// What is to be sent, perhaps several times.
pub(super) struct Archive {
    parts: Vec<Part>,
    /// None for standard input.
    bytes: Option<u64>,
}

/// A piece of what is sent.
#[derive(Clone)]
enum Part {
    /// Heads, and what fills blocks.
    Bytes(Bytes),
    /// So much of a file.
    File(PathBuf, u64),
    Stdin,
}

impl Archive {
    /// Looks at what there is.
    ///
    /// # Errors
    /// It is not there, or can't be an archive.
    pub(super) fn open(path: &Path) -> Result<Archive, CliError> {
        if path.as_os_str() == "-" {
            return Ok(Archive {
                parts: vec![Part::Stdin],
                bytes: None,
            });
        }
        let meta = fs::metadata(path).map_err(|error| CliError::file("read", path, error))?;
        let parts = match meta.is_dir() {
            true => layout(path)?,
            false => vec![Part::File(path.to_path_buf(), meta.len())],
        };
        let bytes = parts.iter().map(|part| match part {
            Part::Bytes(bytes) => bytes.len() as u64,
            Part::File(_, bytes) => *bytes,
            Part::Stdin => 0,
        });
        Ok(Archive {
            bytes: Some(bytes.sum()),
            parts,
        })
    }

    /// It can be sent once only.
    pub(super) fn is_stream(&self) -> bool {
        self.bytes.is_none()
    }

    /// All of it, on its way to a node.
    pub(super) fn body(&self, node: &str) -> Body {
        let sending = Sending {
            parts: self.parts.clone().into(),
            current: None,
            progress: Progress::new(),
            node: node.to_owned(),
            sent: 0,
            total: self.bytes,
        };
        Body::from_stream(stream::unfold(Some(sending), |sending| async move {
            let mut sending = sending?;
            let (read, sending) = task::blocking(move || (sending.read(), sending)).await;
            match read {
                Ok(piece) if piece.is_empty() => {
                    sending.progress.end();
                    None
                }
                Ok(piece) => Some((Ok(piece), Some(sending))),
                Err(error) => {
                    sending.progress.end();
                    Some((Err(error), None))
                }
            }
        }))
    }
}

/// An archive that is being sent.
struct Sending {
    parts: VecDeque<Part>,
    current: Option<Source>,
    progress: Progress,
    node: String,
    sent: u64,
    total: Option<u64>,
}

/// A file, and how much of it is still to come; none for what has no length.
struct Source {
    from: Box<dyn Read + Send>,
    left: Option<u64>,
    path: PathBuf,
}

impl Sending {
    /// The next piece; empty at the end.
    fn read(&mut self) -> io::Result<Bytes> {
        let piece = self.piece()?;
        self.sent += piece.len() as u64;
        if self.total != Some(0) && !piece.is_empty() {
            let total = self.total.unwrap_or(self.sent);
            self.progress.show_to(&self.node, self.sent, total);
        }
        Ok(piece)
    }

    fn piece(&mut self) -> io::Result<Bytes> {
        loop {
            if let Some(source) = &mut self.current {
                let piece = source.piece()?;
                if !piece.is_empty() {
                    return Ok(piece);
                }
                self.current = None;
            }
            let (from, path, left): (Box<dyn Read + Send>, _, _) = match self.parts.pop_front() {
                None => return Ok(Bytes::new()),
                Some(Part::Bytes(bytes)) => return Ok(bytes),
                Some(Part::File(path, bytes)) => (Box::new(File::open(&path)?), path, Some(bytes)),
                Some(Part::Stdin) => (Box::new(io::stdin()), PathBuf::new(), None),
            };
            self.current = Some(Source { from, left, path });
        }
    }
}

impl Source {
    fn piece(&mut self) -> io::Result<Bytes> {
        let wanted = self.left.unwrap_or(u64::MAX).min(PIECE_BYTES as u64);
        let mut piece = Vec::new();
        self.from.by_ref().take(wanted).read_to_end(&mut piece)?;
        if let Some(left) = &mut self.left {
            *left -= piece.len() as u64;
            if *left > 0 && piece.is_empty() {
                let path = self.path.display();
                return Err(io::Error::other(format!("{path} has become shorter")));
            }
        }
        Ok(piece.into())
    }
}

/// An OCI image layout as a tar.
fn layout(folder: &Path) -> Result<Vec<Part>, CliError> {
    let file = |path: &Path, error| CliError::file("read", path, error);
    if !folder.join("index.json").exists() {
        return Err(CliError::usage(
            format!(
                "{} has no index.json: it is no OCI image layout",
                folder.display()
            ),
            "Name the folder that has index.json, or an archive that `docker save` wrote.",
        ));
    }
    let mut parts = Vec::new();
    for part in PARTS {
        let from = folder.join(part);
        let entries = fs::read_dir(&from).map_err(|error| file(&from, error))?;
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        let mut paths: Vec<_> = paths
            .collect::<Result<_, _>>()
            .map_err(|error| file(&from, error))?;
        paths.sort();
        for path in paths {
            let meta = fs::metadata(&path).map_err(|error| file(&path, error))?;
            if !meta.is_file() {
                continue;
            }
            let name = Path::new(part).join(path.file_name().unwrap_or_default());
            let head = head(&name, meta.len()).map_err(|error| file(&path, error))?;
            let fill = meta.len().next_multiple_of(BLOCK_BYTES) - meta.len();
            parts.push(Part::Bytes(head));
            parts.push(Part::File(path, meta.len()));
            if fill > 0 {
                parts.push(Part::Bytes(zeros(fill)));
            }
        }
    }
    parts.push(Part::Bytes(zeros(2 * BLOCK_BYTES)));
    Ok(parts)
}

fn head(name: &Path, bytes: u64) -> io::Result<Bytes> {
    let mut header = Header::new_gnu();
    header.set_path(name)?;
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(bytes);
    header.set_cksum();
    Ok(Bytes::copy_from_slice(header.as_bytes()))
}

fn zeros(bytes: u64) -> Bytes {
    vec![0; usize::try_from(bytes).unwrap_or_default()].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sent(archive: &Archive) -> Vec<u8> {
        let body = axum::body::to_bytes(archive.body("a"), 1 << 20).await;
        body.unwrap().to_vec()
    }

    #[tokio::test]
    async fn a_folder_goes_as_a_tar_of_its_files() {
        let scratch = tempfile::tempdir().unwrap();
        let blobs = scratch.path().join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        assert!(Archive::open(scratch.path()).is_err(), "no layout yet");
        fs::write(scratch.path().join("index.json"), "{}").unwrap();
        fs::write(blobs.join("a"), [7; 512]).unwrap();
        fs::write(blobs.join("b"), "").unwrap();
        let archive = Archive::open(scratch.path()).unwrap();
        let bytes = sent(&archive).await;
        assert_eq!(archive.bytes, Some(bytes.len() as u64));
        assert_eq!(sent(&archive).await, bytes, "again for another node");
        let mut tar = tar::Archive::new(&bytes[..]);
        let read = tar.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        });
        assert_eq!(
            read.collect::<Vec<_>>(),
            [
                ("index.json".to_owned(), b"{}".to_vec()),
                ("blobs/sha256/a".to_owned(), vec![7; 512]),
                ("blobs/sha256/b".to_owned(), Vec::new()),
            ]
        );
    }

    #[tokio::test]
    async fn a_file_goes_as_it_is() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("app.tar");
        assert!(Archive::open(&path).is_err());
        let content: Vec<u8> = (0..600_000_u32).map(|it| (it % 251) as u8).collect();
        fs::write(&path, &content).unwrap();
        let archive = Archive::open(&path).unwrap();
        assert_eq!(sent(&archive).await, content);
        fs::write(&path, "short").unwrap();
        let cut = axum::body::to_bytes(archive.body("a"), 1 << 20).await;
        assert!(cut.is_err(), "it must not look whole");
    }
}
