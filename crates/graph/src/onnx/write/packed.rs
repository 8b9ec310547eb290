//! A quantized weight as packed codes and a `Decode` node (FORMAT.md 2.3).

use tensor::{Data, Tensor, bits};

use super::super::packed::{DECODE, DOMAIN, VERSION};
use super::{Draft, NodeWriter};
use crate::annotation::WeightAnnotation;

impl Draft<'_> {
    pub(super) fn packed_weight(&mut self, name: &str, w: &WeightAnnotation) -> Result<(), String> {
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
        // Along the axis of the output channel, after the points.
        let mut along = vec![1; w.shape.len() + 1];
        along[0] = w.points.len();
        along[w.axis + 1] = per_point;
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
        let scale = self.named(&format!("{name}/scale"), &shaped(along, scales)?);

        let mut opset = 0;
        let mut attributes = NodeWriter::new(4, 1, &mut opset);
        attributes.int("version", VERSION);
        attributes.string("grid", &w.grid);
        attributes.int("bits", w.bits.into());
        attributes.int("axis", w.axis as i64);
        attributes.sizes("shape", &w.shape);
        let attributes = attributes.into_attributes();
        self.nodes.message(1, |n| {
            [&codes, &levels, &scale, &zero_point]
                .iter()
                .for_each(|i| n.string(1, i));
            n.string(2, name);
            n.string(3, &format!("{name}/decode"));
            n.string(4, DECODE);
            n.append(attributes);
            n.string(7, DOMAIN);
        });
        self.decodes = true;
        Ok(())
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

fn shaped(shape: Vec<usize>, data: impl Into<Data>) -> Result<Tensor, String> {
    Tensor::new(shape, data).map_err(|e| e.to_string())
}
