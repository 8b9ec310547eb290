//! results.csv, read back: for the report, the event file and JSON.

use serde::Serialize;

/// Rows of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Table {
    /// Names of the parts of the loss.
    pub(super) losses: Vec<String>,
    pub(super) rows: Vec<Row>,
    /// Score of the packed model.
    pub(super) model: Option<f64>,
}

/// Means since the row before; a row of step 0 has a score alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) step: u64,
    pub(super) rate: Option<f64>,
    pub(super) norm: Option<f64>,
    pub(super) loss: Vec<f64>,
    pub(super) score: Option<f64>,
}

impl Table {
    /// What [`Rows`](super::log::Rows) wrote.
    pub(super) fn parse(text: &str) -> Table {
        let mut lines = text.lines().map(|l| l.split(',').collect::<Vec<_>>());
        let Some(header) = lines.next().filter(|h| h.len() > 4) else {
            return Table::default();
        };
        let mut table = Table {
            losses: header[3..header.len() - 1]
                .iter()
                .map(|s| s.to_string())
                .collect(),
            ..Table::default()
        };
        for fields in lines.filter(|f| f.len() == header.len()) {
            let number = |i: usize| fields[i].parse::<f64>().ok();
            let score = number(fields.len() - 1);
            match fields[0].parse() {
                Ok(step) => table.rows.push(Row {
                    step,
                    rate: number(1),
                    norm: number(2),
                    loss: (3..fields.len() - 1).filter_map(number).collect(),
                    score,
                }),
                Err(_) => table.model = score,
            }
        }
        table
    }

    /// Named series of (step, value), without the empty ones: `loss`, its parts where there are several, `rate`, `norm`, `score`.
    pub(super) fn series(&self) -> Vec<(String, Vec<(u64, f64)>)> {
        let of = |value: &dyn Fn(&Row) -> Option<f64>| -> Vec<(u64, f64)> {
            self.rows
                .iter()
                .filter_map(|r| Some((r.step, value(r)?)))
                .collect()
        };
        let mut all = vec![(
            "loss".to_string(),
            of(&|r| (!r.loss.is_empty()).then(|| r.loss.iter().sum())),
        )];
        if self.losses.len() > 1 {
            for (k, name) in self.losses.iter().enumerate() {
                all.push((format!("loss/{name}"), of(&|r| r.loss.get(k).copied())));
            }
        }
        all.push(("rate".into(), of(&|r| r.rate)));
        all.push(("norm".into(), of(&|r| r.norm)));
        let mut scores = of(&|r| r.score);
        if let (Some(score), Some(last)) = (self.model, self.rows.last()) {
            scores.retain(|s| s.0 != last.step);
            scores.push((last.step, score));
        }
        all.push(("score".into(), scores));
        all.retain(|s| !s.1.is_empty());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_back() {
        let text = "step,rate,norm,box,class,score\n0,,,,,0.25\n20,1e-2,3.5,1.5,2.0,\n40,5e-3,2,1,1,0.5\nmodel,,,,,0.625\n";
        let table = Table::parse(text);
        assert_eq!(
            (table.losses.len(), table.rows.len(), table.model),
            (2, 3, Some(0.625))
        );
        let series = table.series();
        let of = |name: &str| &series.iter().find(|s| s.0 == name).unwrap().1;
        assert_eq!(of("loss"), &[(20, 3.5), (40, 2.0)]);
        assert_eq!(of("loss/class"), &[(20, 2.0), (40, 1.0)]);
        assert_eq!(of("score"), &[(0, 0.25), (40, 0.625)]);
        assert_eq!(Table::parse(""), Table::default());
    }
}
