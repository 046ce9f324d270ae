use std::path::{Path, PathBuf};

use super::plan::Need;
use super::work::{Install, PeerWork, System};

/// The install of `system` in `directory`, if it is whole and can do the work.
///
/// # Errors
/// What is missing or can't be done, and what to do.
pub(crate) fn find(
    system: System,
    directory: &Path,
    java: &Path,
    work: &PeerWork,
) -> Result<Install, String> {
    system.refuse(work)?;
    let directory = directory.canonicalize().map_err(|error| {
        format!(
            "{}: {error}: name the directory of your install with --peer {}=DIR",
            directory.display(),
            system.flag()
        )
    })?;
    for need in system.needs(work) {
        find_one(&directory, &need).ok_or_else(|| {
            let places: Vec<String> =
                need.any_of.iter().map(|path| directory.join(path).display().to_string()).collect();
            format!(
                "missing: {} ({}): install {} as its own documentation says, and name the directory that holds this",
                places.join(" or "),
                need.what,
                system.name()
            )
        })?;
    }
    let java = if system.is_java() { find_program(java)? } else { PathBuf::new() };
    Ok(Install { directory, java })
}

/// The first of a need's paths that is there.
pub(crate) fn find_one(directory: &Path, need: &Need) -> Option<PathBuf> {
    need.any_of.iter().find_map(|path| match path.split_once('*') {
        None => Some(directory.join(path)).filter(|path| path.exists()),
        Some((start, end)) => {
            let (folder, prefix) = start.rsplit_once('/').unwrap_or((".", start));
            let files = std::fs::read_dir(directory.join(folder)).ok()?;
            files.flatten().map(|file| file.path()).find(|path| {
                path.file_name()
                    .and_then(|name| name.to_str())
                    .is_some_and(|name| name.starts_with(prefix) && name.ends_with(end))
            })
        }
    })
}

/// A program by its path, or by its name in one of the directories of PATH.
fn find_program(name: &Path) -> Result<PathBuf, String> {
    let is_path = name.components().count() > 1;
    let places = std::env::var_os("PATH").unwrap_or_default();
    let found = if is_path {
        Some(name.to_owned()).filter(|path| path.is_file())
    } else {
        std::env::split_paths(&places).map(|place| place.join(name)).find(|path| path.is_file())
    };
    found.and_then(|path| std::path::absolute(path).ok()).ok_or_else(|| {
        format!("{}: no such program: name the one that runs Java with --java PATH", name.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::work::Auth;
    use crate::peers::work::tests::work;
    use std::fs;

    #[test]
    fn a_missing_jar_is_named_with_its_directory() {
        let directory = tempfile::tempdir().expect("temporary directory");
        fs::create_dir_all(directory.path().join("config/keysSSL_TLS")).expect("created");
        fs::write(directory.path().join("config/keysSSL_TLS/EC_KeyPair_256.pkcs12"), "").expect("written");
        fs::create_dir(directory.path().join("lib")).expect("created");
        let java = std::env::current_exe().expect("a program");
        let find = || find(System::BftSmart, directory.path(), &java, &work(Auth::D));
        let missing = find().expect_err("no jar");
        assert!(missing.contains("lib/*.jar") && missing.contains("missing"), "{missing}");
        fs::write(directory.path().join("lib/x.jar"), "").expect("written");
        assert!(find().is_ok());
    }

    #[test]
    fn a_missing_directory_and_a_missing_java_say_what_to_do() {
        let missing = find(System::Themis, Path::new("/nowhere"), Path::new("java"), &work(Auth::D));
        assert!(missing.expect_err("not there").contains("--peer themis=DIR"));
        let missing = find_program(Path::new("/nowhere/java")).expect_err("not there");
        assert!(missing.contains("--java"), "{missing}");
        assert!(find_program(Path::new("sh")).expect("in every PATH").is_absolute());
    }

    #[test]
    fn what_a_system_cannot_do_is_refused_before_anything_is_looked_for() {
        for (system, auth, word) in
            [(System::Themis, Auth::R, "panic"), (System::BftSmart, Auth::T, "no setting")]
        {
            let refused = find(system, Path::new("/nowhere"), Path::new("java"), &work(auth));
            assert!(refused.expect_err("refused").contains(word), "{system:?}");
        }
    }
}
