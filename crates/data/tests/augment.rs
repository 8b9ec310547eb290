//! Training samples: boxes follow their pixels, batches do not depend on threads, classification data is read.

use std::sync::Arc;

use data::Picture;
use data::augment::{
    Batch, Classes, Loader, Options, Plan, Source, SourceError, Synthetic, batch, order, sample,
};
use data::read::{CIFAR10, Limits, open_classes};
use tasks::detect::{BBox, Channels, ColorOrder, Input, Object, Resize};

fn input(width: usize, height: usize, resize: Resize) -> Input {
    Input {
        name: "x".into(),
        width,
        height,
        color: ColorOrder::Rgb,
        layout: Channels::Nchw,
        scale: 1.0 / 255.0,
        mean: [0.0; 3],
        std: [1.0; 3],
        resize,
        pad_value: None,
    }
}

/// Dark pictures of several sizes, each with one rectangle of its own bright colour.
struct Rectangles;

const COLORS: [[u8; 3]; 4] = [[250, 20, 20], [20, 250, 20], [20, 20, 250], [250, 250, 20]];

impl Source for Rectangles {
    fn len(&self) -> usize {
        4
    }

    fn sample(&self, index: usize) -> Result<(Picture, Vec<Object>), SourceError> {
        let (w, h) = (200 + 30 * index, 150 + 40 * index);
        let mut picture = Picture::filled(w, h, [20; 3]);
        let (x1, y1, x2, y2) = (40 + 10 * index, 30, 120 + 10 * index, 110);
        for y in y1..y2 {
            for x in x1..x2 {
                picture.rgb_mut()[3 * (y * w + x)..][..3].copy_from_slice(&COLORS[index]);
            }
        }
        let bbox = BBox::new(x1 as f64, y1 as f64, x2 as f64, y2 as f64);
        Ok((picture, vec![Object::new(index, bbox)]))
    }
}

/// Box around the pixels that are nearer to a colour than half of its distance from the ground.
fn seen(canvas: &Picture, color: [u8; 3]) -> Option<BBox> {
    let mut found: Option<BBox> = None;
    for y in 0..canvas.height() {
        for x in 0..canvas.width() {
            let near = canvas
                .pixel(x, y)
                .iter()
                .zip(color)
                .all(|(a, b)| a.abs_diff(b) < 80);
            if near {
                let (x, y) = (x as f64, y as f64);
                let b = found.get_or_insert(BBox::new(x, y, x + 1.0, y + 1.0));
                *b = BBox::new(b.x1.min(x), b.y1.min(y), b.x2.max(x + 1.0), b.y2.max(y + 1.0));
            }
        }
    }
    found
}

#[test]
fn boxes_follow_their_pixels() {
    let (mut checked, mut mosaics, mut dropped) = (0, 0, 0);
    for resize in [Resize::Stretch, Resize::Letterbox] {
        for epoch in 0..40 {
            for mosaic in [0.0, 1.0] {
                let options = Options {
                    mosaic,
                    flip_vertical: 0.5,
                    hsv: [0.0; 3],
                    ..Options::default()
                };
                let made = sample(
                    &Rectangles,
                    epoch % 4,
                    3,
                    epoch as u64,
                    &input(160, 128, resize),
                    &options,
                )
                .unwrap();
                let mut classes: Vec<usize> = made.objects.iter().map(|o| o.class).collect();
                classes.dedup();
                // A picture may stand twice in a mosaic; its box is not one then.
                if classes.len() < made.objects.len() {
                    continue;
                }
                for object in &made.objects {
                    let pixels = seen(&made.canvas, COLORS[object.class]);
                    let Some(pixels) = pixels else {
                        panic!("{object:?} is not to be seen");
                    };
                    let b = &object.bbox;
                    let twin = made.objects.iter().filter(|o| o.class == object.class).count() > 1;
                    for (a, b) in [
                        (b.x1, pixels.x1),
                        (b.y1, pixels.y1),
                        (b.x2, pixels.x2),
                        (b.y2, pixels.y2),
                    ] {
                        assert!(
                            (a - b).abs() <= 1.6 || twin || mosaic > 0.0,
                            "{object:?} {pixels:?}"
                        );
                    }
                    checked += 1;
                }
                mosaics += usize::from(made.objects.len() > 1);
                dropped += usize::from(made.objects.is_empty());
            }
        }
    }
    assert!(checked > 100 && mosaics > 20, "{checked} {mosaics} {dropped}");
}

/// A mosaic of one picture's kind: every box still lies on its colour, and no box is missing where much of its colour shows.
#[test]
fn mosaic_boxes_lie_on_their_colours() {
    let options = Options {
        mosaic: 1.0,
        hsv: [0.0; 3],
        ..Options::default()
    };
    let mut boxes = 0;
    for epoch in 0..60 {
        let made = sample(
            &Rectangles,
            epoch % 4,
            8,
            epoch as u64,
            &input(160, 128, Resize::Letterbox),
            &options,
        )
        .unwrap();
        for object in &made.objects {
            let b = &object.bbox;
            let (x, y) = (((b.x1 + b.x2) / 2.0) as usize, ((b.y1 + b.y2) / 2.0) as usize);
            let pixel = made.canvas.pixel(x, y);
            let color = COLORS[object.class];
            assert!(
                pixel.iter().zip(color).all(|(a, b)| a.abs_diff(b) < 60),
                "{object:?} {pixel:?}"
            );
            assert!(b.x1 >= 0.0 && b.y1 >= 0.0 && b.x2 <= 160.0 && b.y2 <= 128.0);
            boxes += 1;
        }
    }
    assert!(boxes > 100, "{boxes}");
}

#[test]
fn without_changes_a_sample_is_what_prepare_makes() {
    for resize in [Resize::Stretch, Resize::Letterbox, Resize::LetterboxTopleft] {
        let input = input(96, 80, resize);
        for index in 0..4 {
            let (picture, _) = Rectangles.sample(index).unwrap();
            let (want, place) = data::prepare(&picture, &input).unwrap();
            let made = sample(&Rectangles, index, 1, 0, &input, &Options::none()).unwrap();
            let mut got = vec![0.0; 3 * 96 * 80];
            data::prepare_into(&made.canvas, &input, &mut got).unwrap();
            assert_eq!(got, want.as_f32().unwrap(), "{resize:?} {index}");
            let b = made.objects[0].bbox;
            let corners = [b.x1, b.y1, b.x2, b.y2].map(|v| v as f32);
            let back = place.to_picture(corners);
            let (_, objects) = Rectangles.sample(index).unwrap();
            assert!((f64::from(back[2]) - objects[0].bbox.x2).abs() < 0.01);
        }
    }
}

fn plan(workers: usize) -> Plan {
    Plan {
        share: (0, 1),
        seed: 5,
        batch: 3,
        input: input(64, 64, Resize::Letterbox),
        options: Options::default(),
        workers,
        ahead: 2,
    }
}

fn scenes() -> Arc<Synthetic> {
    Arc::new(Synthetic {
        seed: 1,
        first: 0,
        count: 7,
        options: data::synth::Options {
            width: 96,
            height: 80,
            max_objects: 4,
        },
    })
}

#[test]
fn batches_are_the_same_for_any_number_of_threads_and_from_any_step() {
    let run = |workers, first: u64, count: usize| -> Vec<Batch> {
        let mut loader = Loader::new(scenes(), plan(workers), first);
        (0..count).map(|_| loader.next_batch().unwrap()).collect()
    };
    let one = run(1, 0, 9);
    assert_eq!(one, run(4, 0, 9));
    assert_eq!(one[4..], run(2, 4, 5));
    for (step, made) in one.iter().enumerate() {
        assert_eq!(*made, batch(&*scenes(), &plan(1), step as u64).unwrap());
    }
    // Seven batches of three are three epochs of seven samples: each sample three times.
    let mut all: Vec<usize> = one.iter().take(7).flat_map(|b| b.samples.clone()).collect();
    all.sort_unstable();
    assert_eq!(all, (0..7).flat_map(|i| [i; 3]).collect::<Vec<_>>());
    // The same sample looks another way in another epoch.
    assert_ne!(one[0].input, one[7].input);
}

#[test]
fn orders_are_permutations_that_depend_on_seed_and_epoch() {
    let mut first = [0usize; 10];
    for seed in 0..2000 {
        let order = order(seed, 3, 10);
        first[order[0]] += 1;
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..10).collect::<Vec<_>>());
    }
    assert!(first.iter().all(|&n| (130..270).contains(&n)), "{first:?}");
    assert!(order(1, 1, 0).is_empty());
}

#[test]
fn a_picture_that_cannot_be_read_is_an_error_with_its_name() {
    let folder = scratch("augment-broken");
    std::fs::create_dir_all(folder.join("cat")).unwrap();
    std::fs::write(folder.join("cat/1.jpg"), b"no picture").unwrap();
    let set = Arc::new(open_classes(&folder, None, &Limits::default()).unwrap());
    let limits = data::picture::Limits::default();
    let mut loader = Loader::new(Arc::new(Classes { set, limits }), plan(2), 0);
    let error = loader.next_batch().unwrap_err().to_string();
    assert!(error.contains("1.jpg"), "{error}");
}

#[test]
fn cifar_binary_files_are_read_and_checked() {
    let folder = scratch("augment-cifar");
    let record = |class: u8| {
        let mut r = vec![class];
        r.extend((0..3072).map(|i| (i / 1024 * 100 + i % 7) as u8));
        r
    };
    std::fs::write(folder.join("data_batch_1.bin"), [record(3), record(9)].concat()).unwrap();
    std::fs::write(folder.join("test_batch.bin"), record(0)).unwrap();
    let train = open_classes(&folder, Some("train"), &Limits::default()).unwrap();
    assert_eq!(train.names, CIFAR10);
    assert_eq!(train.items.iter().map(|i| i.class).collect::<Vec<_>>(), [3, 9]);
    let picture = train.items[0]
        .picture
        .load(&data::picture::Limits::default())
        .unwrap();
    assert_eq!((picture.width(), picture.pixel(1, 0)), (32, [1, 103, 205]));
    assert_eq!(
        open_classes(&folder, Some("test"), &Limits::default())
            .unwrap()
            .items
            .len(),
        1
    );
    for bad in [record(10), record(1)[1..].to_vec(), vec![]] {
        std::fs::write(folder.join("data_batch_1.bin"), bad).unwrap();
        let error = open_classes(&folder, Some("train"), &Limits::default()).unwrap_err();
        assert!(error.to_string().contains("data_batch_1.bin"), "{error}");
    }
}

#[test]
fn the_shared_cifar_archive_has_ten_classes_of_a_thousand() {
    let test = "the_shared_cifar_archive_has_ten_classes_of_a_thousand";
    let Some(folder) = testing::data(test) else {
        return;
    };
    let set = open_classes(&folder.join("cifar10"), Some("train"), &Limits::default()).unwrap();
    assert_eq!(set.names, CIFAR10);
    let mut counts = [0; 10];
    for item in &set.items {
        counts[item.class] += 1;
    }
    assert_eq!(counts, [1000; 10]);
    let picture = set.items[4321]
        .picture
        .load(&data::picture::Limits::default())
        .unwrap();
    assert_eq!((picture.width(), picture.height()), (32, 32));
}

/// A folder of a test's own that outlives it.
fn scratch(name: &str) -> std::path::PathBuf {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
