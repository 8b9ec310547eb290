//! What pictures are called in results and output folders.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use data::read::PictureId;
use data::write::relative_name;

use crate::detect_files::LISTS;
use crate::output::safe_name;

/// What a picture is called in the results.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    /// The file's name without ending; where two pictures of the run would share one, `file` for all.
    pub(crate) id: PictureId,
    /// Path from the folder that was looked at.
    pub(crate) file: String,
    /// Path of the picture with boxes, in the folder of the results.
    pub(crate) jpeg: String,
}

impl Name {
    pub(crate) fn stdin() -> Name {
        Name {
            id: PictureId::Name("stdin".into()),
            file: "-".into(),
            jpeg: "stdin.jpg".into(),
        }
    }
}

/// The names of all pictures of a run, no two of them alike.
pub(crate) struct Names(pub(crate) Vec<Name>);

impl Names {
    pub(crate) fn of(root: &Path, files: &[PathBuf]) -> Names {
        let stem = |path: &Path| {
            path.file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        let inside: Vec<&Path> = files.iter().map(|f| f.strip_prefix(root).unwrap_or(f)).collect();
        let folders: Vec<String> = inside.iter().map(|path| safe_folder(folder_of(path))).collect();
        // A picture a.bmp beside a folder a.jpg: the folder has the name.
        let mut taken: BTreeSet<String> = (folders.iter())
            .flat_map(|f| f.match_indices('/').map(|(end, _)| f[..end].to_string()))
            .collect();
        let mut ids = BTreeSet::new();
        let all_differ = inside
            .iter()
            .all(|path| ids.insert(PictureId::of_name(&stem(path))));
        let names = inside.iter().zip(&folders).map(|(path, folder)| {
            let file = relative_name(path);
            let id = match all_differ {
                true => PictureId::of_name(&stem(path)),
                false => PictureId::Name(file.clone()),
            };
            let jpeg = unused(&format!("{folder}{}", safe_name(&stem(path))), &mut taken);
            Name { id, file, jpeg }
        });
        Names(names.collect())
    }
}

/// The folder's path with a slash at the end, or nothing, in names that are safe to write.
fn safe_folder(folder: &Path) -> String {
    let parts = folder.components().filter_map(|part| match part {
        Component::Normal(part) => Some(safe_name(&part.to_string_lossy())),
        _ => None,
    });
    let mut out: String = parts.map(|part| part + "/").collect();
    if LISTS
        .iter()
        .any(|list| out.strip_prefix(list).is_some_and(|rest| rest.starts_with('/')))
    {
        out.insert(0, '_');
    }
    out
}

/// `NAME.jpg`, or `NAME-2.jpg` and on where that is taken.
fn unused(name: &str, taken: &mut BTreeSet<String>) -> String {
    let mut unique = format!("{name}.jpg");
    let mut k = 2;
    while !taken.insert(unique.clone()) {
        unique = format!("{name}-{k}.jpg");
        k += 1;
    }
    unique
}

/// The deepest folder that all files lie in.
pub(crate) fn common_folder(files: &[PathBuf]) -> &Path {
    let mut common = files.first().map_or(Path::new(""), |f| folder_of(f));
    while !files.iter().all(|f| f.starts_with(common)) {
        common = folder_of(common);
    }
    common
}

pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(root: &str, files: &[&str]) -> Vec<Name> {
        let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
        Names::of(root.as_ref(), &files).0
    }

    #[test]
    fn pictures_of_one_name_in_two_folders_stay_two() {
        let all = names("./pics", &["./pics/a/x.jpg", "./pics/b/x.jpg", "./pics/y.png"]);
        let files: Vec<&str> = all.iter().map(|n| n.file.as_str()).collect();
        assert_eq!(files, ["a/x.jpg", "b/x.jpg", "y.png"]);
        let jpegs: Vec<&str> = all.iter().map(|n| n.jpeg.as_str()).collect();
        assert_eq!(jpegs, ["a/x.jpg", "b/x.jpg", "y.jpg"]);
        assert!(all.iter().all(|n| n.id == PictureId::Name(n.file.clone())));
    }

    #[test]
    fn ids_that_differ_are_the_names_that_annotations_have() {
        let all = names("coco", &["coco/val/000000006818.jpg", "coco/val/x.jpg"]);
        assert_eq!(all[0].id, PictureId::Number(6818));
        assert_eq!(all[1].id, PictureId::Name("x".into()));
        // 12 and 012 would be one number.
        let all = names("p", &["p/012.jpg", "p/12.jpg"]);
        assert_eq!(all[0].id, PictureId::Name("012.jpg".into()));
    }

    #[test]
    fn no_picture_has_the_name_of_a_folder_or_a_list() {
        let all = names(
            "p",
            &[
                "p/a.bmp",
                "p/a.jpg/b/x.bmp",
                "p/predictions.csv/x.bmp",
                "p/c:d/x.bmp",
                "p/c*d/x.bmp",
            ],
        );
        let jpegs: Vec<&str> = all.iter().map(|n| n.jpeg.as_str()).collect();
        let want = [
            "a-2.jpg",
            "a.jpg/b/x.jpg",
            "_predictions.csv/x.jpg",
            "c_d/x.jpg",
            "c_d/x-2.jpg",
        ];
        assert_eq!(jpegs, want);
    }

    #[test]
    fn files_are_named_from_the_folder_that_holds_all() {
        let files = ["/d/a/x.jpg", "/d/b/x.jpg"].map(PathBuf::from);
        assert_eq!(common_folder(&files), Path::new("/d"));
        let files = ["a/x.jpg", "b.jpg"].map(PathBuf::from);
        assert_eq!(common_folder(&files), Path::new(""));
        // `..` of a path is no folder to write into.
        assert_eq!(safe_folder(Path::new("../x")), "x/");
    }
}
