use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use hypostyle_crypto::{KeyError, KeyFileError, Suite, read_key, write_key};

use crate::cluster::key;

#[test]
fn a_key_file_is_its_owners_alone_and_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("replica.pem");
    assert!(matches!(read_key(&path), Err(KeyFileError::Missing(_))));
    let key = key(Suite::Ed25519);
    write_key(&path, &key).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(read_key(&path).unwrap().public(), key.public());
    assert!(matches!(write_key(&path, &key), Err(KeyFileError::Exists(_))));
    assert!(matches!(write_key(&folder.path().join("no/folder"), &key), Err(KeyFileError::Io { .. })));
}

#[test]
fn a_key_file_others_may_read_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("replica.pem");
    write_key(&path, &key(Suite::Ed25519)).unwrap();
    for mode in [0o640, 0o604, 0o660, 0o610, 0o602] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let error = read_key(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("chmod 600 {}", path.display())), "{error}");
        assert!(error.contains(&format!("{mode:04o}")), "{error}");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    assert!(read_key(&path).is_ok());
}

#[test]
fn what_is_no_key_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("replica.pem");
    for content in [vec![], vec![0xff; 100], vec![b'-'; 1 << 20]] {
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let error = read_key(&path).unwrap_err();
        assert!(matches!(error, KeyFileError::Key { error: KeyError::Pem, .. }));
        assert!(error.to_string().contains("replica.pem"));
    }
    assert!(read_key(folder.path()).is_err());
}
