//! Whom a container runs as, by the names of its image: `/etc/passwd` and `/etc/group` of the
//! layers (passwd(5), group(5)), read as they are when nothing has been changed yet.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
};

use crate::layer;

/// A file of users or groups has no more bytes that count.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// One is in no more groups.
const GROUPS_MAX: usize = 256;
/// Where one is at home who is not in the list.
const NO_HOME: &str = "/";

/// Who is asked for.
#[derive(Debug, Default)]
pub(super) struct Asked<'a> {
    /// `USER[:GROUP]`, names or numbers; root if it is empty.
    pub(super) name: &'a str,
    /// A number that goes before it.
    pub(super) user: Option<u32>,
    /// The same for the group.
    pub(super) group: Option<u32>,
}

/// Who that is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) user: u32,
    pub(super) group: u32,
    /// Further groups.
    pub(super) groups: Vec<u32>,
    pub(super) home: String,
}

/// Finds out who is meant.
///
/// # Errors
/// Nobody is called so; in words.
pub(super) fn find(layers: &[PathBuf], asked: &Asked<'_>) -> Result<Found, String> {
    let read = |path: &str| {
        let read = read(layers, Path::new(path));
        read.map_err(|error| format!("/{path} of the image can't be read: {error}"))
    };
    let (users, groups) = (read("etc/passwd")?, read("etc/group")?);
    let (name, group_name) = asked.name.split_once(':').unwrap_or((asked.name, ""));
    let entry = match (asked.user, name) {
        (Some(number), _) => Entry::of_number(&users, number).or(Entry::plain(number)),
        (None, "") => Entry::of_number(&users, 0).or(Entry::plain(0)),
        (None, name) => Entry::of_name(&users, name).or_else(|| {
            let number = name.parse().ok()?;
            Entry::of_number(&users, number).or(Entry::plain(number))
        }),
    };
    let entry = entry
        .ok_or_else(|| format!("unable to find user {name}: no matching entries in passwd file"))?;
    // The image's group is that of the image's user, whom a number in its place replaces.
    let group_name = if asked.user.is_some() { "" } else { group_name };
    let group = match (asked.group, group_name) {
        (Some(number), _) => number,
        (None, "") => entry.group,
        (None, name) => group_number(&groups, name).ok_or_else(|| {
            format!("unable to find group {name}: no matching entries in group file")
        })?,
    };
    Ok(Found {
        user: entry.user,
        group,
        groups: memberships(&groups, &entry.name),
        home: entry.home,
    })
}

struct Entry {
    name: String,
    user: u32,
    group: u32,
    home: String,
}

impl Entry {
    fn all(text: &str) -> impl Iterator<Item = Entry> {
        text.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let user = fields.nth(1)?.parse().ok()?;
            let group = fields.next()?.parse().ok()?;
            let home = fields.nth(1).filter(|home| home.starts_with('/'));
            Some(Entry {
                name: name.to_owned(),
                user,
                group,
                home: home.unwrap_or(NO_HOME).to_owned(),
            })
        })
    }

    fn of_name(text: &str, name: &str) -> Option<Entry> {
        Entry::all(text).find(|entry| entry.name == name)
    }

    fn of_number(text: &str, number: u32) -> Option<Entry> {
        Entry::all(text).find(|entry| entry.user == number)
    }

    /// One who is in no list.
    fn plain(number: u32) -> Option<Entry> {
        Some(Entry {
            name: String::new(),
            user: number,
            group: 0,
            home: NO_HOME.to_owned(),
        })
    }
}

fn group_number(text: &str, name: &str) -> Option<u32> {
    let mut entries = text.lines().map(|line| line.split(':'));
    let named = entries.find_map(|mut fields| {
        let is_it = fields.next() == Some(name);
        is_it.then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    named.or_else(|| name.parse().ok())
}

fn memberships(text: &str, user: &str) -> Vec<u32> {
    let entries = text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let number = fields.nth(2)?.parse().ok()?;
        let mut members = fields.next()?.split(',');
        members.any(|member| member == user).then_some(number)
    });
    match user {
        "" => Vec::new(),
        _ => entries.take(GROUPS_MAX).collect(),
    }
}

/// A file as the layers together have it; empty if none of them does. Links lead nowhere but
/// below their own layer.
fn read(layers: &[PathBuf], path: &Path) -> io::Result<String> {
    for folder in layers.iter().rev() {
        let root = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, folder, root, Mode::empty())?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&root, path, flags, Mode::empty(), inside) {
            Ok(file) => {
                let found = rustix::fs::fstat(&file)?;
                if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
                    return Ok(String::new());
                }
                let mut bytes = Vec::new();
                File::from(file)
                    .take(FILE_BYTES_MAX)
                    .read_to_end(&mut bytes)?;
                return Ok(String::from_utf8_lossy(&bytes).into_owned());
            }
            // A device that stands for "nothing here, whatever is below".
            Err(Errno::NXIO) => return Ok(String::new()),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => {}
            Err(errno) => return Err(errno.into()),
        }
        let above = path.parent().unwrap_or(Path::new(""));
        if layer::is_opaque(&folder.join(above)) {
            return Ok(String::new());
        }
    }
    Ok(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:101:102:web:/srv:/bin/false\n\
                          broken\n7:x:8:9::relative:\n";
    const GROUP: &str = "root:x:0:\nweb:x:102:\nlogs:x:500:a,web\nspool:x:501:web\n";

    fn image() -> (tempfile::TempDir, Vec<PathBuf>) {
        let scratch = tempfile::tempdir().unwrap();
        let layer = scratch.path().join("a");
        std::fs::create_dir_all(layer.join("etc")).unwrap();
        std::fs::write(layer.join("etc/passwd"), PASSWD).unwrap();
        std::fs::write(layer.join("etc/group"), GROUP).unwrap();
        let above = scratch.path().join("b");
        std::fs::create_dir_all(above.join("etc")).unwrap();
        let layers = vec![layer, above];
        (scratch, layers)
    }

    fn found(user: u32, group: u32, groups: &[u32], home: &str) -> Found {
        Found {
            user,
            group,
            groups: groups.to_vec(),
            home: home.to_owned(),
        }
    }

    #[test]
    fn users_are_found_by_name_and_by_number() {
        let (_scratch, layers) = image();
        let named = |name| Asked {
            name,
            ..Asked::default()
        };
        let cases = [
            (named(""), found(0, 0, &[], "/root")),
            (named("web"), found(101, 102, &[500, 501], "/srv")),
            (named("web:logs"), found(101, 500, &[500, 501], "/srv")),
            (named("101:77"), found(101, 77, &[500, 501], "/srv")),
            (named("1234"), found(1234, 0, &[], "/")),
            (named("7"), found(8, 9, &[], "/")),
            (
                Asked {
                    user: Some(101),
                    ..named("root:root")
                },
                found(101, 102, &[500, 501], "/srv"),
            ),
            (
                Asked {
                    group: Some(3),
                    ..named("web:logs")
                },
                found(101, 3, &[500, 501], "/srv"),
            ),
        ];
        for (asked, wanted) in cases {
            assert_eq!(find(&layers, &asked).unwrap(), wanted, "{asked:?}");
        }
        for name in ["nobody", "web:nobody", "-1"] {
            assert!(find(&layers, &named(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn the_highest_layer_counts_and_links_stay_inside() {
        let (scratch, layers) = image();
        let above = &layers[1];
        std::fs::write(above.join("etc/real"), "web:x:7:7::/seven:\n").unwrap();
        std::os::unix::fs::symlink("/etc/real", above.join("etc/passwd")).unwrap();
        let asked = Asked {
            name: "web",
            ..Asked::default()
        };
        assert_eq!(find(&layers, &asked).unwrap().home, "/seven");
        std::fs::remove_file(above.join("etc/passwd")).unwrap();
        let outside = scratch.path().join("outside");
        std::fs::write(&outside, "web:x:9:9::/outside:\n").unwrap();
        std::os::unix::fs::symlink("../../outside", above.join("etc/passwd")).unwrap();
        assert_eq!(find(&layers, &asked).unwrap().home, "/srv");
    }
}
