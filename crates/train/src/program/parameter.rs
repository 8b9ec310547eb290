//! Numbers that training changes, and values that a program takes and gives.

/// What a parameter is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParameterKind {
    /// Weight of the Conv, ConvTranspose, Gemm or MatMul of this name.
    Weight {
        /// Name of the node.
        node: String,
    },
    /// Its bias.
    Bias {
        /// Name of the node.
        node: String,
    },
    /// γ of the BatchNormalization of this name.
    Scale {
        /// Name of the node.
        node: String,
    },
    /// β.
    Shift {
        /// Name of the node.
        node: String,
    },
    /// Running mean: no gradient; batch statistics update it.
    RunningMean {
        /// Name of the node.
        node: String,
    },
    /// Running variance: as the mean.
    RunningVariance {
        /// Name of the node.
        node: String,
    },
    /// Threshold of the neurons of this name, above 0.
    Threshold {
        /// Name of the node.
        node: String,
    },
    /// Their leak, within 0 … 1.
    Leak {
        /// Name of the node.
        node: String,
    },
    /// Step of the quantizer on this value.
    Step {
        /// Name of the value.
        edge: String,
    },
}

impl ParameterKind {
    /// Whether backward gives it a gradient.
    pub fn has_gradient(&self) -> bool {
        !matches!(
            self,
            ParameterKind::RunningMean { .. } | ParameterKind::RunningVariance { .. }
        )
    }
}

/// Numbers that training changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Name of the constant in the graph, unique; of a step, the value's name with `/step` behind it.
    pub name: String,
    /// Shape in ONNX's order: a weight has the shape of the graph's constant.
    pub shape: Vec<usize>,
    /// What it is.
    pub kind: ParameterKind,
    /// Its numbers in the graph that the program was derived from.
    pub initial: Vec<f32>,
}

impl Parameter {
    /// Elements.
    pub fn len(&self) -> usize {
        self.initial.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.initial.is_empty()
    }
}

/// A value that a program takes or gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Name in the graph.
    pub name: String,
    /// Shape in ONNX's order, the batch first.
    pub shape: Vec<usize>,
}

impl Port {
    /// Elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
