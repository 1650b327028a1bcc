//! Layers as they come, and as somebody would write them who wants out.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

struct Place {
    scratch: TempDir,
    layer: Layer,
}

fn place() -> Place {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::create_dir(scratch.path().join("outside")).unwrap();
    std::fs::write(scratch.path().join("outside/kept"), "kept").unwrap();
    let layer = Layer::make(&scratch.path().join("partial")).unwrap();
    Place { scratch, layer }
}

impl Place {
    fn outside(&self) -> PathBuf {
        self.scratch.path().join("outside")
    }

    fn file(&mut self, path: &str, content: &str) -> Result<u64, LayerError> {
        let with = with(0o644);
        self.layer
            .file(Path::new(path), &with, &mut content.as_bytes())
    }

    fn folder(&mut self, path: &str, mode: u32) -> Result<(), LayerError> {
        self.layer.folder(Path::new(path), with(mode))
    }

    fn symlink(&mut self, path: &str, target: &str) -> Result<(), LayerError> {
        let with = with(0o777);
        self.layer
            .symlink(Path::new(path), OsStr::new(target), &with)
    }

    fn finish(self) -> (TempDir, PathBuf) {
        let to = self.scratch.path().join("layer");
        self.layer.finish(&to).unwrap();
        (self.scratch, to)
    }
}

fn with(mode: u32) -> Attributes {
    Attributes {
        mode,
        owner: (0, 0),
        modified_s: 1_000,
        xattrs: Vec::new(),
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn is_whiteout(path: &Path) -> bool {
    let found = std::fs::symlink_metadata(path).unwrap();
    found.file_type().is_char_device() && found.rdev() == 0
}

#[test]
fn files_folders_and_links_have_what_they_were_told() {
    let mut place = place();
    place.folder("bin", 0o555).unwrap();
    let mut own = with(0o4755);
    own.owner = (1_000, 1_001);
    own.xattrs = vec![("user.note".into(), b"n".to_vec())];
    let written = place
        .layer
        .file(Path::new("bin/su"), &own, &mut &b"elf"[..]);
    assert_eq!(written.unwrap(), 3);
    place
        .layer
        .hard_link(Path::new("bin/sudo"), Path::new("bin/su"))
        .unwrap();
    place.symlink("implied/deep/link", "/etc/passwd").unwrap();
    place.layer.fifo(Path::new("pipe"), &with(0o600)).unwrap();
    place.folder("", 0o711).unwrap();
    let (_scratch, layer) = place.finish();
    let about = |path: &str| std::fs::symlink_metadata(layer.join(path)).unwrap();
    let mode = |path: &str| about(path).mode() & 0o7777;
    assert_eq!(mode("bin/su"), 0o4755);
    assert_eq!(about("bin/su").ino(), about("bin/sudo").ino());
    assert_eq!(
        (mode("bin"), mode("implied"), mode("")),
        (0o555, 0o755, 0o711)
    );
    for path in ["bin", "bin/su", "implied/deep/link", "pipe", ""] {
        assert_eq!(about(path).mtime(), 1_000, "{path}");
    }
    assert!(about("pipe").file_type().is_fifo());
    let link = std::fs::read_link(layer.join("implied/deep/link")).unwrap();
    assert_eq!(link, Path::new("/etc/passwd"));
    if is_root() {
        assert_eq!(
            (about("bin/su").uid(), about("bin/su").gid()),
            (1_000, 1_001)
        );
    }
    let mut value = [0; 8];
    // Where the file system has such attributes at all.
    if let Ok(read) = fs::lgetxattr(layer.join("bin/su"), "user.note", &mut value) {
        assert_eq!(&value[..read], b"n");
    }
    remove(&layer).unwrap();
    remove(&layer).unwrap();
    assert!(!layer.exists());
}

#[test]
fn what_comes_later_takes_the_place_of_what_was_there() {
    let mut place = place();
    place.file("a/b/c", "1").unwrap();
    place.folder("a/b", 0o700).unwrap();
    place.file("a", "2").unwrap();
    place.file("x", "3").unwrap();
    place
        .layer
        .hard_link(Path::new("y"), Path::new("x"))
        .unwrap();
    place.file("x", "4").unwrap();
    place
        .layer
        .hard_link(Path::new("x"), Path::new("x"))
        .unwrap();
    place.symlink("l", "x").unwrap();
    place.file("l", "5").unwrap();
    place.symlink("s", "nowhere").unwrap();
    place.folder("s", 0o755).unwrap();
    place.file("s/in", "6").unwrap();
    let (_scratch, layer) = place.finish();
    let content = |path: &str| std::fs::read_to_string(layer.join(path)).unwrap();
    let paths = ["a", "x", "y", "l", "s/in"];
    assert_eq!(paths.map(content), ["2", "4", "3", "5", "6"]);
}

#[test]
fn nothing_is_reached_through_a_link() {
    let mut place = place();
    let outside = place.outside();
    let target = outside.to_str().unwrap().to_owned();
    place.symlink("out", &target).unwrap();
    place.symlink("up", "..").unwrap();
    place.symlink("root", "/").unwrap();
    place.symlink("here", ".").unwrap();
    for link in ["out", "up", "root", "here"] {
        let inside = format!("{link}/kept");
        let path = Path::new(&inside);
        let told = place.file(&inside, "evil").unwrap_err().to_string();
        assert!(told.contains("it is a symbolic link"), "{told}");
        assert!(place.folder(&inside, 0o777).is_err());
        assert!(place.symlink(&inside, "x").is_err());
        assert!(place.layer.fifo(path, &with(0o666)).is_err());
        assert!(place.layer.whiteout(path).is_err());
        assert!(place.layer.opaque(Path::new(link)).is_err());
        let gone = place.layer.hard_link(Path::new("copy"), path).unwrap_err();
        assert!(gone.to_string().contains("is not there"), "{gone}");
    }
    // The link itself can have another name: it still leads nowhere from here.
    place
        .layer
        .hard_link(Path::new("again"), Path::new("out"))
        .unwrap();
    assert!(place.file("again/kept", "evil").is_err());
    place.file("out", "in place of the link").unwrap();
    assert_eq!(std::fs::read(outside.join("kept")).unwrap(), b"kept");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn paths_that_lead_out_are_refused_here_too() {
    let mut place = place();
    for path in ["../evil", "/evil", "a/../../evil", ".."] {
        assert!(place.file(path, "").is_err(), "{path}");
        assert!(place.folder(path, 0o755).is_err(), "{path}");
        assert!(place.symlink(path, "x").is_err(), "{path}");
        assert!(place.layer.whiteout(Path::new(path)).is_err(), "{path}");
        let linked = place.layer.hard_link(Path::new("h"), Path::new(path));
        assert!(linked.is_err(), "{path}");
    }
    for path in ["", "."] {
        assert!(place.file(path, "").is_err(), "{path:?}");
        assert!(place.layer.whiteout(Path::new(path)).is_err(), "{path:?}");
    }
    place.file("file", "").unwrap();
    let told = place.file("file/inside", "").unwrap_err().to_string();
    assert!(told.contains("it is no folder"), "{told}");
    place.folder("folder", 0o755).unwrap();
    let told = place.layer.hard_link(Path::new("h"), Path::new("folder"));
    assert!(told.unwrap_err().to_string().contains("linked to a folder"));
}

#[test]
fn what_is_removed_is_hidden_and_what_is_new_is_not() {
    let mut place = place();
    place.layer.whiteout(Path::new("gone")).unwrap();
    place.layer.whiteout(Path::new("deep/gone")).unwrap();
    place.file("file", "new").unwrap();
    place.layer.whiteout(Path::new("file")).unwrap();
    place.layer.whiteout(Path::new("late")).unwrap();
    place.file("late", "new").unwrap();
    // A folder in place of a removed one has nothing of it, whichever is told first.
    for (path, is_first) in [("one", true), ("two", false)] {
        if is_first {
            place.layer.whiteout(Path::new(path)).unwrap();
        }
        place.file(&format!("{path}/in"), "new").unwrap();
        if !is_first {
            place.layer.whiteout(Path::new(path)).unwrap();
        }
    }
    place.layer.whiteout(Path::new("three")).unwrap();
    place.folder("three", 0o700).unwrap();
    place.layer.opaque(Path::new("four")).unwrap();
    place.folder("plain", 0o755).unwrap();
    let told = place.layer.hard_link(Path::new("h"), Path::new("gone"));
    assert!(told.unwrap_err().to_string().contains("is not there"));
    let (_scratch, layer) = place.finish();
    for path in ["gone", "deep/gone"] {
        assert!(is_whiteout(&layer.join(path)), "{path}");
    }
    for path in ["file", "late", "one/in", "two/in"] {
        assert_eq!(std::fs::read(layer.join(path)).unwrap(), b"new", "{path}");
    }
    for path in ["one", "two", "three", "four"] {
        assert!(is_opaque(&layer.join(path)), "{path}");
    }
    for path in ["plain", "deep", ""] {
        assert!(!is_opaque(&layer.join(path)), "{path}");
    }
}

#[test]
fn content_that_breaks_off_is_told_from_a_full_disk() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("cut"))
        }
    }
    let mut place = place();
    let told = place.layer.file(Path::new("f"), &with(0o644), &mut Broken);
    assert!(matches!(told, Err(LayerError::Content(_))));
}

#[test]
fn a_layer_is_removed_whatever_its_folders_permit() {
    let mut place = place();
    let outside = place.outside();
    place.symlink("a/out", outside.to_str().unwrap()).unwrap();
    place.folder("a/b", 0).unwrap();
    place.folder("a", 0o500).unwrap();
    let (scratch, layer) = place.finish();
    symlink(&outside, scratch.path().join("link")).unwrap();
    remove(&layer).unwrap();
    remove(&scratch.path().join("link")).unwrap();
    assert!(!layer.exists());
    assert!(outside.join("kept").exists());
    let file = scratch.path().join("f");
    std::fs::write(&file, "abc").unwrap();
    let mut content = String::new();
    open(&file).unwrap().read_to_string(&mut content).unwrap();
    assert_eq!(content, "abc");
}

#[derive(Clone, Debug)]
enum Call {
    Folder(String),
    File(String),
    Symlink(String, String),
    HardLink(String, String),
    Whiteout(String),
    Opaque(String),
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let path = "(a|b|c)(/(a|b|c|\\.\\.)){0,3}";
    let target = "(\\.\\./outside|\\.\\.|/|a|b/c|\\.\\./outside/kept|\\.)";
    prop::collection::vec(
        prop_oneof![
            path.prop_map(Call::Folder),
            path.prop_map(Call::File),
            (path, target).prop_map(|(path, target)| Call::Symlink(path, target)),
            (path, path).prop_map(|(path, target)| Call::HardLink(path, target)),
            path.prop_map(Call::Whiteout),
            path.prop_map(Call::Opaque),
        ],
        0..30,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn whatever_is_called_nothing_outside_changes(calls in calls()) {
        let mut place = place();
        for call in calls {
            // Most of them are refused, some way or other.
            let _ = match &call {
                Call::Folder(path) => place.folder(path, 0o700),
                Call::File(path) => place.file(path, "evil").map(drop),
                Call::Symlink(path, target) => place.symlink(path, target),
                Call::HardLink(path, target) => {
                    place.layer.hard_link(Path::new(path), Path::new(target))
                }
                Call::Whiteout(path) => place.layer.whiteout(Path::new(path)),
                Call::Opaque(path) => place.layer.opaque(Path::new(path)),
            };
        }
        let (scratch, layer) = place.finish();
        remove(&layer).unwrap();
        let about = std::fs::metadata(scratch.path().join("outside/kept")).unwrap();
        prop_assert_eq!((about.len(), about.nlink()), (4, 1));
        let left = std::fs::read_dir(scratch.path()).unwrap().count();
        prop_assert_eq!(left, 1, "only what was outside is left");
    }
}
