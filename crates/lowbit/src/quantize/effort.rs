//! How much work quantization may be.

use std::fmt;
use std::str::FromStr;

use graph::Graph;
use graph::shape::macs;
use quant::names::{did_you_mean, nearest};
use serde::Serialize;

/// What is tried, and on how many pictures. What an option names is done whatever the effort is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Effort {
    /// Ranges by their squared error, weights to the nearest level, corrected: seconds.
    Fast,
    /// Ranges and equalization chosen by detections, error feedback, answers for what earlier layers left wrong: minutes.
    #[default]
    Good,
    /// The same on several times as many pictures, then gains and biases learned over the whole network.
    Best,
}

impl Effort {
    /// All, least work first.
    pub const ALL: [Effort; 3] = [Effort::Fast, Effort::Good, Effort::Best];

    /// Name in flags.
    pub fn name(self) -> &'static str {
        match self {
            Effort::Fast => "fast",
            Effort::Good => "good",
            Effort::Best => "best",
        }
    }

    /// Pictures that give ranges, at most.
    pub(super) fn calibrated(self, graph: &Graph) -> usize {
        match self {
            Effort::Fast => few(graph, 32),
            _ => usize::MAX,
        }
    }

    /// Pictures that settings are compared on; with 8 the choice was the wrong one on Yolo-Fastest.
    pub(super) fn compared(self, graph: &Graph) -> usize {
        let most = match self {
            Effort::Fast => 8,
            Effort::Good => 48,
            Effort::Best => 128,
        };
        few(graph, most)
    }

    /// Pictures that weights are corrected on, and bytes that all values of them may take together.
    pub(crate) fn corrected(self, graph: &Graph) -> (usize, usize) {
        match self {
            Effort::Fast => (few(graph, 16), 1 << 30),
            Effort::Good => (few(graph, 64), 1 << 30),
            Effort::Best => (224, 4 << 30),
        }
    }
}

/// Multiplications of a network, for one picture, up to which `fast` takes seconds and `good` a minute or two.
const LIGHT: f64 = 2e9;

/// `most` pictures for a light network, down to half of them for one of twice the work and more.
fn few(graph: &Graph, most: usize) -> usize {
    let work: f64 = graph.nodes.iter().map(|n| macs(graph, n) as f64).sum();
    ((LIGHT / work.max(1.0)).clamp(0.5, 1.0) * most as f64) as usize
}

impl fmt::Display for Effort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is learned over the whole network after the layers were fitted one by one; taken only where detections on pictures that were kept apart agree
/// better then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Learn {
    /// Nothing.
    Nothing,
    /// Gains and biases of all channels: what [`Effort::Best`] does.
    Gains,
    /// Those, and codes (AdaRound, from the codes of error feedback).
    Codes,
}

impl Learn {
    /// All, least work first.
    pub const ALL: [Learn; 3] = [Learn::Nothing, Learn::Gains, Learn::Codes];

    /// Name in flags.
    pub fn name(self) -> &'static str {
        match self {
            Learn::Nothing => "nothing",
            Learn::Gains => "gains",
            Learn::Codes => "codes",
        }
    }
}

impl fmt::Display for Learn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Learn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        named(text, Learn::ALL, Learn::name)
    }
}

/// The one of a few names, or the nearest in a sentence.
fn named<T: Copy, const N: usize>(text: &str, all: [T; N], name: fn(T) -> &'static str) -> Result<T, String> {
    let names = all.map(name);
    all.into_iter().find(|x| name(*x) == text).ok_or_else(|| {
        let near = did_you_mean(nearest(text, names));
        format!("\"{text}\" is none of {}{near}", names.join(", "))
    })
}

impl FromStr for Effort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        named(text, Effort::ALL, Effort::name)
    }
}
