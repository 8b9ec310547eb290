//! Weights beside the model: row 9.

use std::os::unix::fs::symlink;

use super::*;

fn external(location: &str, offset: Option<&str>, length: Option<&str>) -> Vec<u8> {
    let mut t = Message::default().int(1, 12).int(2, 1).bytes(8, "w2");
    for (key, v) in [
        ("location", Some(location)),
        ("offset", offset),
        ("length", length),
    ] {
        if let Some(v) = v {
            t = t.message(13, Message::default().bytes(1, key).bytes(2, v));
        }
    }
    let t = t.int(14, 1);
    base().initializer(t).node("Relu", &["x"], &["y"], &[]).model(18)
}

#[test]
fn paths_of_weights_never_leave_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let inside = dir.path().join("model");
    std::fs::create_dir_all(inside.join("sub")).unwrap();
    let secret = dir.path().join("secret");
    for file in [
        secret.clone(),
        inside.join("good"),
        inside.join("sub/good"),
        inside.join("日本 ü"),
    ] {
        std::fs::write(file, [0; 48]).unwrap();
    }
    symlink(&secret, inside.join("link")).unwrap();
    symlink(dir.path(), inside.join("up")).unwrap();
    symlink("good", inside.join("near")).unwrap();
    std::fs::hard_link(&secret, inside.join("hard")).unwrap();
    std::fs::write(inside.join("short"), [0; 47]).unwrap();
    let fifo = std::process::Command::new("mkfifo")
        .arg(inside.join("fifo"))
        .status();
    assert!(fifo.unwrap().success());
    let path = inside.join("m.onnx");
    let try_one = |location: &str, offset: Option<&str>, length: Option<&str>| {
        std::fs::write(&path, external(location, offset, length)).unwrap();
        Model::load(&path, &options())
    };
    for good in ["good", "./good", "sub/good", "sub/./good", "日本 ü"] {
        try_one(good, None, None).unwrap_or_else(|e| panic!("{good}: {e}"));
        try_one(good, Some("0"), Some("48")).unwrap_or_else(|e| panic!("{good}: {e}"));
    }
    let secret = secret.to_str().unwrap();
    let long = "x".repeat(5_000);
    let bad = [
        "../secret",
        "sub/../../secret",
        "sub/../good",
        "./../secret",
        "/etc/passwd",
        secret,
        "//etc/passwd",
        "link",
        "up/secret",
        "near",
        "hard",
        "fifo",
        "short",
        "sub",
        ".",
        "",
        "missing",
        "C:good",
        "C:\\good",
        "..\\secret",
        "\\\\?\\C:\\x",
        "file:///etc/passwd",
        "/dev/zero",
        "/dev/stdin",
        "/proc/self/mem",
        "good\0",
        "good/",
        "good/x",
        &long,
        "a\nb",
        "\x1b[2J",
    ];
    for location in bad {
        match try_one(location, None, None) {
            // A trailing slash is not a path component.
            Ok(_) if location == "good/" => {}
            Ok(_) => panic!("{location:?} loads"),
            Err(e) => {
                let text = e.to_string();
                assert!(
                    matches!(e.kind(), ErrorKind::BadInput | ErrorKind::Io | ErrorKind::Limit),
                    "{location:?}: {text}"
                );
                assert!(
                    text.contains("w2") && !text.contains(char::is_control),
                    "{location:?}: {text}"
                );
            }
        }
    }
    let numbers = [
        (Some("1"), None),
        (Some("-1"), None),
        (Some("18446744073709551615"), None),
        (Some("99999999999999999999"), None),
        (Some(""), None),
        (None, Some("47")),
        (None, Some("49")),
        (None, Some("-48")),
        (Some("9223372036854775807"), Some("48")),
    ];
    for (offset, length) in numbers {
        let e = try_one("good", offset, length).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::BadInput, "{offset:?} {length:?}: {e}");
    }
}

/// A name that is now the file, now a link to the secret, by renames, which are atomic.
#[test]
fn a_race_of_links_gives_the_file_or_an_error_never_the_secret() {
    let dir = tempfile::tempdir().unwrap();
    let inside = dir.path().join("model");
    std::fs::create_dir(&inside).unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, [0x42; 48]).unwrap();
    let path = inside.join("m.onnx");
    // The weight is the graph's output, so that its values show.
    let entry = Message::default().bytes(1, "location").bytes(2, "w.bin");
    let t = Message::default()
        .int(1, 12)
        .int(2, 1)
        .bytes(8, "w2")
        .message(13, entry)
        .int(14, 1);
    let model = base()
        .initializer(t)
        .node("Add", &["w2", "s"], &["y"], &[])
        .model(18);
    std::fs::write(&path, model).unwrap();
    let name = inside.join("w.bin");
    std::fs::write(&name, [0; 48]).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (mut good, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for k in 0.. {
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                let temp = inside.join(format!("t{}", k % 2));
                match k % 2 {
                    0 => symlink(&secret, &temp).unwrap(),
                    _ => std::fs::write(&temp, [0; 48]).unwrap(),
                }
                std::fs::rename(&temp, &name).unwrap();
            }
        });
        for _ in 0..2_000 {
            match graph::onnx::read_file(&path, &graph::onnx::ReadOptions::default()) {
                Ok(g) => {
                    good += 1;
                    let w = &g.constants[&g.find("w2").unwrap()];
                    assert!(
                        w.as_f32().unwrap().iter().all(|v| *v == 0.0),
                        "the secret was read"
                    );
                }
                Err(_) => refused += 1,
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    println!("{good} read, {refused} refused");
    assert!(good > 0 && refused > 0);
}
