use std::{os::unix::fs::PermissionsExt as _, time::Duration};

use super::*;

const ENGINE: &str = "00000000000000aa";

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path().join("versions")).expect("a store");
    (folder, store)
}

fn id(name: &str) -> ComponentId {
    name.parse().expect("a plain name")
}

fn put(store: &Store, bytes: &[u8]) -> Result<Digest, StoreError> {
    store.put(bytes, &id("rating"), "ann")
}

/// The versions of the component that all are of, the newest first.
fn list(store: &Store) -> Vec<Digest> {
    let versions = store.versions(&id("rating")).expect("a list");
    versions.iter().map(|entry| entry.digest).collect()
}

fn file(store: &Store, digest: &Digest, name: &str) -> PathBuf {
    store.place(digest).join(name)
}

#[test]
fn the_same_bytes_are_one_version_and_come_back_as_they_were() {
    let (_folder, store) = store();
    let digest = put(&store, b"one").expect("stored");
    assert_eq!(put(&store, b"one").expect("stored"), digest);
    assert_eq!(store.bytes(&digest).expect("there"), b"one");
    assert_eq!(list(&store).len(), 1);
    let other = Digest::of(b"other");
    assert!(matches!(store.bytes(&other), Err(StoreError::Missing(missing)) if missing == other));
}

#[test]
fn damaged_bytes_are_noticed_and_healed_by_storing_them_again() {
    let (_folder, store) = store();
    let digest = put(&store, b"one").expect("stored");
    store.put_artifact(&digest, ENGINE, b"code").expect("kept");
    fs::write(file(&store, &digest, COMPONENT), b"two").expect("damaged");
    assert!(matches!(store.bytes(&digest), Err(StoreError::Changed(_))));
    put(&store, b"one").expect("stored");
    assert_eq!(store.bytes(&digest).expect("there"), b"one");
    let artifact = store.artifact(&digest, ENGINE).expect("signed");
    assert_eq!(artifact.as_deref(), Some(b"code".as_slice()));
}

#[test]
fn an_artifact_is_returned_only_for_its_version_and_engine_and_only_unchanged() {
    let (_folder, store) = store();
    let (one, two) = (
        put(&store, b"one").expect("stored"),
        put(&store, b"two").expect("stored"),
    );
    assert_eq!(store.artifact(&one, ENGINE).expect("none"), None);
    store.put_artifact(&one, ENGINE, b"code").expect("kept");
    assert_eq!(
        store.artifact(&one, ENGINE).expect("signed").as_deref(),
        Some(b"code".as_slice())
    );

    let name = artifact_name(ENGINE);
    let right = fs::read(file(&store, &one, &name)).expect("a file");
    let refused = |digest: &Digest, engine: &str| matches!(store.artifact(digest, engine), Err(StoreError::Foreign(named)) if named == *digest);
    // Another version's, another engine's.
    fs::write(file(&store, &two, &name), &right).expect("copied");
    assert!(refused(&two, ENGINE));
    fs::write(file(&store, &one, &artifact_name("other")), &right).expect("copied");
    assert!(refused(&one, "other"));
    // Changed by a bit, cut, without a signature, from elsewhere.
    let mut changed = right.clone();
    *changed.last_mut().expect("a byte") ^= 1;
    let foreign = b"compiled by somebody else, and put here for this host to run".to_vec();
    for bytes in [
        changed,
        right[..right.len() - 1].to_vec(),
        b"code".to_vec(),
        foreign,
    ] {
        fs::write(file(&store, &one, &name), bytes).expect("written");
        assert!(refused(&one, ENGINE));
    }
    // Another host's key.
    let elsewhere = Store::open(store.folder.join("elsewhere")).expect("a store");
    put(&elsewhere, b"one").expect("stored");
    elsewhere.put_artifact(&one, ENGINE, b"code").expect("kept");
    fs::copy(file(&elsewhere, &one, &name), file(&store, &one, &name)).expect("copied");
    assert!(refused(&one, ENGINE));
    store.remove_artifact(&one, ENGINE).expect("removed");
    assert_eq!(store.artifact(&one, ENGINE).expect("none"), None);
}

#[test]
fn a_store_that_is_opened_again_knows_its_artifacts_and_its_key_is_the_owners_alone() {
    let (_folder, store) = store();
    let digest = put(&store, b"one").expect("stored");
    store.put_artifact(&digest, ENGINE, b"code").expect("kept");
    let again = Store::open(&store.folder).expect("opened");
    assert!(again.artifact(&digest, ENGINE).expect("signed").is_some());
    let mode = fs::metadata(store.folder.join("key"))
        .expect("a key")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_a_killed_process_began_is_no_version_and_goes_in_time() {
    let (_folder, store) = store();
    let begun = store.folder.join(".tmpabc");
    fs::create_dir(&begun).expect("a folder");
    fs::write(begun.join(COMPONENT), b"half").expect("half");
    assert_eq!(list(&store), []);
    Store::open(&store.folder).expect("opened");
    assert!(begun.exists(), "another process may be at it");
    let long_ago = SystemTime::now() - ABANDONED - Duration::from_secs(1);
    fs::File::open(&begun)
        .and_then(|folder| folder.set_modified(long_ago))
        .expect("aged");
    Store::open(&store.folder).expect("opened");
    assert!(!begun.exists());
}

#[test]
fn the_oldest_go_but_never_one_that_is_needed() {
    let (_folder, store) = store();
    let digests: Vec<Digest> = (0..5_u8)
        .map(|n| {
            let digest = put(&store, &[n]).expect("stored");
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(n) + 1);
            let file = fs::File::open(file(&store, &digest, COMPONENT)).expect("a file");
            file.set_modified(at).expect("aged");
            digest
        })
        .collect();
    let needed = BTreeMap::from([(digests[0], ())]);
    let collection = store.collect(2, &needed).expect("collected");
    assert_eq!(collection.gone, [digests[2], digests[1]]);
    assert_eq!(collection.needed, [digests[0]]);
    assert_eq!(list(&store), [digests[4], digests[3], digests[0]]);
    let names = fs::read_dir(&store.folder).expect("a folder").count();
    assert_eq!(names, 4, "three versions and the key");
}

#[test]
fn many_at_once_store_the_same_version_once() {
    let (_folder, store) = store();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| put(&store, b"one").expect("stored"));
        }
    });
    assert_eq!(list(&store).len(), 1);
    assert_eq!(store.bytes(&Digest::of(b"one")).expect("there"), b"one");
    assert_eq!(fs::read_dir(&store.folder).expect("a folder").count(), 2);
}

#[test]
fn it_is_known_whose_version_one_is_since_when_and_by_whom() {
    let (_folder, store) = store();
    let digest = put(&store, b"one").expect("stored");
    let known = |component| store.versions(&id(component)).expect("a list");
    let before = known("rating").remove(0).metadata;
    assert_eq!((before.size_bytes, before.by.as_str()), (3, "ann"));
    assert!(before.stored_at_ms > 0);
    assert_eq!(known("gateway"), []);
    let has = |component| store.has(&digest, &id(component));
    assert!(has("rating") && !has("gateway"));
    // The same bytes for another component are the same version.
    store
        .put(&b"one"[..], &id("gateway"), "bob")
        .expect("stored");
    let after = known("gateway").remove(0).metadata;
    assert_eq!(
        (after.by.as_str(), after.stored_at_ms),
        ("ann", before.stored_at_ms)
    );
    assert_eq!(known("rating").len(), 1);
    assert!(!after.was_ready);
    store.mark_ready(&digest).expect("marked");
    assert!(known("rating").remove(0).metadata.was_ready);
    // What is lost of it comes back with the next one who stores it.
    fs::write(file(&store, &digest, "metadata.json"), "{").expect("damaged");
    assert_eq!(known("rating"), []);
    put(&store, b"one").expect("stored");
    assert_eq!(known("rating").len(), 1);
    fs::write(file(&store, &digest, COMPONENT), "two").expect("damaged");
    assert!(!has("rating"));
}

#[test]
fn bytes_that_break_off_are_no_version() {
    struct Broken(usize);
    impl io::Read for Broken {
        fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
            self.0 = self
                .0
                .checked_sub(1)
                .ok_or_else(|| io::Error::other("the client went away"))?;
            piece.fill(1);
            Ok(piece.len())
        }
    }
    let (_folder, store) = store();
    let stored = store.put(Broken(3), &id("rating"), "ann");
    assert!(
        matches!(stored, Err(StoreError::Arrival(ref error)) if error.to_string() == "the client went away"),
        "{stored:?}"
    );
    assert_eq!(list(&store), []);
    let names = fs::read_dir(&store.folder).expect("a folder").count();
    assert_eq!(names, 1, "nothing but the key");
}

#[test]
fn a_version_that_is_touched_is_the_newest() {
    let (_folder, store) = store();
    let one = put(&store, b"one").expect("stored");
    let two = put(&store, b"two").expect("stored");
    let aged = |digest: &Digest, seconds| {
        let file = fs::File::open(file(&store, digest, COMPONENT)).expect("a file");
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
            .expect("aged");
    };
    aged(&one, 1);
    aged(&two, 2);
    assert_eq!(list(&store), [two, one]);
    store.touch(&one).expect("touched");
    assert_eq!(list(&store), [one, two]);
    let missing = store.touch(&Digest::of(b"other"));
    assert!(matches!(missing, Err(StoreError::Missing(_))));
}
