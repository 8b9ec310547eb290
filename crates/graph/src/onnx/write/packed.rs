//! A quantized weight as packed codes and a `Decode` node, or as a mask, planes and a `DecodePlanes` node (FORMAT.md 2.3).

use tensor::{Data, Tensor, bits};

use super::super::packed::{ADD_ROWS, DECODE, DECODE_PLANES, DOMAIN, VERSION};
use super::{Draft, NodeWriter};
use crate::annotation::{Point, WeightAnnotation};
use crate::graph::ValueId;
use crate::planes::Planes;

impl Draft<'_> {
    pub(super) fn packed_weight(&mut self, v: ValueId, w: &WeightAnnotation) -> Result<(), String> {
        let name = &self.graph.value(v).name;
        let halved = self.halved.get(&v).cloned();
        if let Some(planes) = Planes::of(w) {
            return self.decode_planes(name, w, &planes, halved);
        }
        let whole = w.points.iter().filter(|p| p.rows.is_none()).cloned().collect();
        let whole = WeightAnnotation {
            points: whole,
            ..w.clone()
        };
        let mut parts = Vec::new();
        for point in &w.points {
            if let Some(rows) = &point.rows {
                parts.push((rows_alone(w, point, rows), rows));
            }
        }
        // Each sum has a name of its own, the last one the weight's.
        let mut sum = match parts.is_empty() {
            true => name.to_string(),
            false => self.fresh(&format!("{name}/all")),
        };
        self.decode(&sum, &whole, halved)?;
        for (i, (part, rows)) in parts.iter().enumerate() {
            let to = match i + 1 == parts.len() {
                true => name.to_string(),
                false => self.fresh(&format!("{name}/sum")),
            };
            let decoded = self.fresh(&format!("{name}/rows"));
            self.decode(&decoded, part, None)?;
            let numbers: Vec<i32> = rows.iter().map(|&r| r as i32).collect();
            let channels = self.named(&format!("{name}/channels"), &Tensor::vector(numbers));
            let attributes = |a: &mut NodeWriter<'_>| {
                a.int("version", VERSION);
                a.int("axis", w.axis as i64);
            };
            self.own_node(ADD_ROWS, &[&sum, &decoded, &channels], &to, attributes);
            self.adds_rows = true;
            sum = to;
        }
        Ok(())
    }

    /// Codes and a `Decode` node for points that all channels have; `halved` names scales that are in the file already.
    fn decode(&mut self, name: &str, w: &WeightAnnotation, halved: Option<String>) -> Result<(), String> {
        let per_point = w.points[0].scales.len();
        if w.points.iter().any(|p| p.scales.len() != per_point) {
            return Err("its points differ in their number of scales".into());
        }
        let stream: Vec<u8> = w
            .points
            .iter()
            .flat_map(|p| bits::pack(&p.codes, w.bits))
            .collect();
        let length = stream.len() / w.points.len();
        let scales: Vec<f32> = w.points.iter().flat_map(|p| p.scales.iter().copied()).collect();
        let along = [&[w.points.len()][..], &scale_shape(w)].concat();
        let codes = self.named(
            &format!("{name}/codes"),
            &shaped(vec![w.points.len(), length], stream)?,
        );
        let levels = self.levels(w);
        let zero_point = match &w.zero_points {
            Some(z) => {
                let zeros = shaped(along[1..].to_vec(), z.clone())?;
                self.named(&format!("{name}/zero_point"), &zeros)
            }
            None => self.no_zero_point(),
        };
        let scale = match halved {
            Some(name) => name,
            None => self.named(&format!("{name}/scale"), &shaped(along, scales)?),
        };
        let attributes = |a: &mut NodeWriter<'_>| {
            a.int("version", VERSION);
            a.string("grid", &w.grid);
            a.int("bits", w.bits.into());
            a.int("axis", w.axis as i64);
            a.sizes("shape", &w.shape);
        };
        self.own_node(DECODE, &[&codes, &levels, &scale, &zero_point], name, attributes);
        self.decodes = true;
        Ok(())
    }

    /// Mask, planes and a `DecodePlanes` node for a ternary weight.
    fn decode_planes(
        &mut self,
        name: &str,
        w: &WeightAnnotation,
        planes: &Planes,
        halved: Option<String>,
    ) -> Result<(), String> {
        let mask = self.named(
            &format!("{name}/mask"),
            &Tensor::vector(bits::pack(&planes.mask, 1)),
        );
        let stream = [bits::pack(&planes.plus, 1), bits::pack(&planes.minus, 1)];
        let rows = shaped(vec![2, stream[0].len()], stream.concat())?;
        let rows = self.named(&format!("{name}/planes"), &rows);
        let scale = match halved {
            Some(name) => name,
            None => {
                let scale = shaped(scale_shape(w), w.points[0].scales.clone())?;
                self.named(&format!("{name}/scale"), &scale)
            }
        };
        let attributes = |a: &mut NodeWriter<'_>| {
            a.int("version", VERSION);
            a.string("grid", &w.grid);
            a.int("axis", w.axis as i64);
            a.sizes("shape", &w.shape);
            a.sizes("group", &planes.group);
        };
        self.own_node(DECODE_PLANES, &[&mask, &rows, &scale], name, attributes);
        self.decodes_planes = true;
        Ok(())
    }

    /// A node of our own domain.
    fn own_node(
        &mut self,
        operator: &str,
        inputs: &[&str],
        output: &str,
        write: impl FnOnce(&mut NodeWriter<'_>),
    ) {
        let mut opset = 0;
        let mut attributes = NodeWriter::new(inputs.len(), 1, &mut opset);
        write(&mut attributes);
        let attributes = attributes.into_attributes();
        let name = format!(
            "{output}/{}",
            if operator == ADD_ROWS {
                "add_rows"
            } else {
                "decode"
            }
        );
        self.nodes.message(1, |n| {
            inputs.iter().for_each(|i| n.string(1, i));
            n.string(2, output);
            n.string(3, &name);
            n.string(4, operator);
            n.append(attributes);
            n.string(7, DOMAIN);
        });
    }

    /// The table of levels, one for all weights that share it.
    fn levels(&mut self, w: &WeightAnnotation) -> String {
        if let Some(name) = self.tables.get(&w.levels) {
            return name.clone();
        }
        let name = self.named(&format!("levels/{}", w.grid), &Tensor::vector(w.levels.clone()));
        self.tables.insert(w.levels.clone(), name.clone());
        name
    }

    /// The zero point of grids that have none, one for the file.
    fn no_zero_point(&mut self) -> String {
        if let Some(name) = &self.no_zero {
            return name.clone();
        }
        let name = self.named("levels/zero_point", &Tensor::scalar(0i32));
        self.no_zero = Some(name.clone());
        name
    }
}

/// A point of some rows as a weight of those output channels alone.
fn rows_alone(w: &WeightAnnotation, point: &Point, rows: &[u32]) -> WeightAnnotation {
    let inner: usize = w.shape[w.axis + 1..].iter().product();
    let row = |block: usize, &r: &u32| (block * w.shape[w.axis] + r as usize) * inner;
    let outer: usize = w.shape[..w.axis].iter().product();
    let starts = (0..outer).flat_map(|block| rows.iter().map(move |r| row(block, r)));
    let codes = starts
        .flat_map(|at| &point.codes[at..at + inner])
        .copied()
        .collect();
    let scales = match point.scales.len() {
        1 => point.scales.clone(),
        _ => rows.iter().map(|&r| point.scales[r as usize]).collect(),
    };
    let mut shape = w.shape.clone();
    shape[w.axis] = rows.len();
    WeightAnnotation {
        shape,
        points: vec![Point::whole(codes, scales)],
        ..w.clone()
    }
}

/// Of a point's scales: along the axis of the output channel, or one.
pub(super) fn scale_shape(w: &WeightAnnotation) -> Vec<usize> {
    let mut along = vec![1; w.shape.len()];
    along[w.axis] = w.points[0].scales.len();
    along
}

fn shaped(shape: Vec<usize>, data: impl Into<Data>) -> Result<Tensor, String> {
    Tensor::new(shape, data).map_err(|e| e.to_string())
}
