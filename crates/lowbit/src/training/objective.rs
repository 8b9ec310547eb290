//! The loss of a run: against labels, or against the float model.

use data::augment::Batch;
use tasks::detect::{Family, Head, SsdBoxes, priors};
use train::exchange::Ranks;
use train::exec::{Exec, Mode};
use train::loss::classify::{CrossEntropy, Follow};
use train::loss::decoded::Decoded;
use train::loss::distill::{Distill, Measure};
use train::loss::fastestdet::FastestDet;
use train::loss::nanodet::NanoDet;
use train::loss::ssd::Ssd;
use train::loss::yolo_v3::{self, YoloV3};
use train::loss::yolo_v5::YoloV5;
use train::loss::yolo_v8::{self, YoloV8};
use train::loss::yolox::YoloX;
use train::loss::{Loss, LossParts, Output, Target};
use train::program::Port;
use train::recipe::Recipe;
use train::trainer::TrainError;

use crate::{Error, Result};

/// What the outputs are compared with.
enum Kind {
    Labels(Box<dyn Loss>),
    Teacher(Box<dyn Exec>, Box<Distill>, Option<Share>),
    ClassTeacher(ClassTeacher),
}

/// A float network whose classes are followed, beside the labels where the recipe says so.
pub(super) struct ClassTeacher {
    teacher: Box<dyn Exec>,
    follow: Follow,
    share: Option<Share>,
    ports: Vec<Port>,
    raw: Vec<Vec<f32>>,
}

impl ClassTeacher {
    /// `labels` is the loss against labels.
    pub(super) fn new(
        recipe: &Recipe,
        labels: CrossEntropy,
        teacher: Box<dyn Exec>,
        ports: Vec<Port>,
    ) -> ClassTeacher {
        ClassTeacher {
            teacher,
            follow: Follow {
                output: labels.output.clone(),
                classes: labels.classes,
                temperature: 2.0,
                weight: 1.0,
            },
            share: Share::of(recipe, Box::new(labels)),
            ports,
            raw: Vec::new(),
        }
    }

    /// The loss of the student's outputs for the batch whose input this is.
    pub(super) fn evaluate(
        &mut self,
        input: &[f32],
        outputs: &[Output],
        targets: &[Vec<Target>],
        ranks: &Ranks,
        gradients: &mut Vec<Vec<f32>>,
    ) -> std::result::Result<LossParts, TrainError> {
        self.teacher.forward(&[input], Mode::Evaluate, &mut self.raw)?;
        gradients.clear();
        gradients.extend(outputs.iter().map(|o| vec![0.0; o.values.len()]));
        let said = named(&self.ports, &self.raw);
        let value = self.follow.add(outputs, &said, ranks, gradients)?;
        let mut parts = LossParts {
            parts: vec![("teacher", value)],
        };
        if let Some(share) = &mut self.share {
            share.add(outputs, targets, ranks, &mut parts, gradients)?;
        }
        Ok(parts)
    }
}

/// The loss against labels beside that against the teacher.
struct Share {
    loss: Box<dyn Loss>,
    gain: f64,
    gradients: Vec<Vec<f32>>,
}

impl Share {
    /// The recipe's share of this loss; none by default.
    fn of(recipe: &Recipe, loss: Box<dyn Loss>) -> Option<Share> {
        let gain = recipe.number("loss.label_gain");
        (gain != 0.0).then_some(Share {
            loss,
            gain,
            gradients: Vec::new(),
        })
    }

    /// Adds its part and its gradients.
    fn add(
        &mut self,
        outputs: &[Output],
        targets: &[Vec<Target>],
        ranks: &Ranks,
        parts: &mut LossParts,
        gradients: &mut [Vec<f32>],
    ) -> std::result::Result<(), TrainError> {
        let against = self.loss.evaluate(outputs, targets, ranks, &mut self.gradients)?;
        parts.parts.push(("labels", self.gain * against.total()));
        for (to, from) in gradients.iter_mut().zip(&self.gradients) {
            (to.iter_mut().zip(from)).for_each(|(to, from)| *to += self.gain as f32 * from);
        }
        Ok(())
    }
}

/// The loss, and the labels of the batch.
pub(super) struct Objective {
    kind: Kind,
    ports: Vec<Port>,
    classes: Vec<Option<usize>>,
    targets: Vec<Vec<Target>>,
    raw: Vec<Vec<f32>>,
}

impl Objective {
    pub(super) fn new(
        recipe: &Recipe,
        head: &Head,
        classes: Vec<Option<usize>>,
        teacher: Option<Box<dyn Exec>>,
        ports: Vec<Port>,
    ) -> Result<Objective> {
        let kind = match (teacher, &head.family) {
            (Some(teacher), Family::Classifier(output)) => {
                let labels = CrossEntropy {
                    output: output.clone(),
                    classes: head.classes.len(),
                    smoothing: recipe.number("loss.smoothing"),
                };
                Kind::ClassTeacher(ClassTeacher::new(recipe, labels, teacher, ports.clone()))
            }
            (Some(teacher), _) => {
                let features = recipe
                    .texts("loss.features")
                    .into_iter()
                    .map(String::from)
                    .collect();
                let gains = [
                    recipe.number("loss.output_gain"),
                    recipe.number("loss.feature_gain"),
                ];
                let measure = match recipe.text("loss.measure") {
                    "divergence" => Measure::Divergence,
                    _ => Measure::Squares,
                };
                // Heads that have no loss against labels are followed all the same.
                let share = match recipe.number("loss.label_gain") {
                    0.0 => None,
                    _ => Share::of(recipe, labels(recipe, head)?),
                };
                let distill = Distill::new(head, features, gains, measure);
                Kind::Teacher(teacher, Box::new(distill), share)
            }
            (None, _) => Kind::Labels(labels(recipe, head)?),
        };
        Ok(Objective {
            kind,
            ports,
            classes,
            targets: Vec::new(),
            raw: Vec::new(),
        })
    }

    /// Takes the labels of a batch, in the head's classes. Objects of other classes, difficult ones and crowds are left out.
    pub(super) fn target(&mut self, batch: &Batch) -> Result<()> {
        let one = |o: &tasks::detect::Object| {
            let class = self.classes.get(o.class).copied().flatten()?;
            let b = &o.bbox;
            let counted = o.status == tasks::detect::Status::Counted;
            counted.then_some(Target {
                class,
                corners: [b.x1, b.y1, b.x2, b.y2].map(|v| v as f32),
            })
        };
        self.targets = (batch.objects.iter())
            .map(|all| all.iter().filter_map(one).collect())
            .collect();
        Ok(())
    }

    /// The loss of the student's outputs for the batch whose input this is.
    pub(super) fn evaluate(
        &mut self,
        input: &[f32],
        outputs: &[Output],
        ranks: &Ranks,
        gradients: &mut Vec<Vec<f32>>,
    ) -> std::result::Result<LossParts, TrainError> {
        match &mut self.kind {
            Kind::Labels(loss) => Ok(loss.evaluate(outputs, &self.targets, ranks, gradients)?),
            Kind::Teacher(teacher, loss, share) => {
                teacher.forward(&[input], Mode::Evaluate, &mut self.raw)?;
                let mut parts = loss.evaluate(outputs, &named(&self.ports, &self.raw), ranks, gradients)?;
                if let Some(share) = share {
                    share.add(outputs, &self.targets, ranks, &mut parts, gradients)?;
                }
                Ok(parts)
            }
            Kind::ClassTeacher(teacher) => teacher.evaluate(input, outputs, &self.targets, ranks, gradients),
        }
    }
}

fn named<'a>(ports: &'a [Port], values: &'a [Vec<f32>]) -> Vec<Output<'a>> {
    let one = |(port, values): (&'a Port, &'a Vec<f32>)| Output {
        name: &port.name,
        shape: &port.shape,
        values,
    };
    ports.iter().zip(values).map(one).collect()
}

fn labels(recipe: &Recipe, head: &Head) -> Result<Box<dyn Loss>> {
    let classes = head.classes.len();
    let size = [head.input.width, head.input.height];
    let smoothing = recipe.number("loss.smoothing");
    Ok(match &head.family {
        Family::Yolov3(heads) => {
            let options = yolo_v3::Options {
                smoothing: smoothing as f32,
                ..yolo_v3::Options::default()
            };
            Box::new(YoloV3::new(heads.clone(), classes, options))
        }
        Family::Yolov5(heads) => Box::new(YoloV5::new(heads.clone(), classes)),
        Family::Yolov8Raw { heads, reg_max } => Box::new(YoloV8::new(
            heads.clone(),
            *reg_max,
            classes,
            yolo_v8::Options::default(),
        )),
        Family::Yolox { output, strides } => {
            Box::new(YoloX::new(output.clone(), strides.clone(), size, classes))
        }
        Family::Yolov5Decoded(output) | Family::Yolov8(output) => Box::new(Decoded {
            output: output.clone(),
            classes,
            objectness: matches!(head.family, Family::Yolov5Decoded(_)),
        }),
        Family::Nanodet {
            heads,
            reg_max,
            cell_offset,
        } => Box::new(NanoDet {
            heads: heads.clone(),
            bins: reg_max + 1,
            offset: f64::from(*cell_offset),
            size,
            classes,
        }),
        Family::Fastestdet(output) => Box::new(FastestDet {
            output: output.clone(),
            size,
            classes,
        }),
        Family::Ssd {
            boxes,
            scores,
            format:
                SsdBoxes::Offsets {
                    strides,
                    min_sizes,
                    variances,
                },
        } => Box::new(Ssd {
            boxes: boxes.clone(),
            scores: scores.clone(),
            priors: priors(size[0], size[1], strides, min_sizes),
            variances: *variances,
            size,
            classes,
        }),
        Family::Classifier(output) => Box::new(CrossEntropy {
            output: output.clone(),
            classes,
            smoothing,
        }),
        _ => {
            return Err(
                Error::unsupported("there is no loss against labels for this head")
                    .help("follow the float model: --set loss.kind=distill"),
            );
        }
    })
}
