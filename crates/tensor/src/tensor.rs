//! Element types and the dense tensor.

use crate::shape::{ShapeError, numel};

/// Element type of a [`Tensor`]. float16 and bfloat16 become `F32`, int4 and int2 become `I8` / `U8` when a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum DType {
    F32,
    F64,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    Bool,
}

impl DType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            DType::I8 | DType::U8 | DType::Bool => 1,
            DType::I16 | DType::U16 => 2,
            DType::F32 | DType::I32 | DType::U32 => 4,
            DType::F64 | DType::I64 | DType::U64 => 8,
        }
    }
}

/// Typed storage. The variant is the element type.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Data {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I8(Vec<i8>),
    U8(Vec<u8>),
    I16(Vec<i16>),
    U16(Vec<u16>),
    I32(Vec<i32>),
    U32(Vec<u32>),
    I64(Vec<i64>),
    U64(Vec<u64>),
    Bool(Vec<bool>),
}

/// Applies an expression to the vector inside a [`Data`], whatever its type.
#[macro_export]
macro_rules! for_each_data {
    ($data:expr, $v:ident => $body:expr) => {
        match $data {
            $crate::Data::F32($v) => $body,
            $crate::Data::F64($v) => $body,
            $crate::Data::I8($v) => $body,
            $crate::Data::U8($v) => $body,
            $crate::Data::I16($v) => $body,
            $crate::Data::U16($v) => $body,
            $crate::Data::I32($v) => $body,
            $crate::Data::U32($v) => $body,
            $crate::Data::I64($v) => $body,
            $crate::Data::U64($v) => $body,
            $crate::Data::Bool($v) => $body,
        }
    };
}

impl Data {
    /// Number of elements.
    pub fn len(&self) -> usize {
        for_each_data!(self, v => v.len())
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        match self {
            Data::F32(_) => DType::F32,
            Data::F64(_) => DType::F64,
            Data::I8(_) => DType::I8,
            Data::U8(_) => DType::U8,
            Data::I16(_) => DType::I16,
            Data::U16(_) => DType::U16,
            Data::I32(_) => DType::I32,
            Data::U32(_) => DType::U32,
            Data::I64(_) => DType::I64,
            Data::U64(_) => DType::U64,
            Data::Bool(_) => DType::Bool,
        }
    }
}

macro_rules! from_vec {
    ($($t:ty => $variant:ident),*) => {$(
        impl From<Vec<$t>> for Data {
            fn from(v: Vec<$t>) -> Self { Data::$variant(v) }
        }
    )*};
}
from_vec!(f32 => F32, f64 => F64, i8 => I8, u8 => U8, i16 => I16, u16 => U16, i32 => I32, u32 => U32,
          i64 => I64, u64 => U64, bool => Bool);

/// Why a tensor could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// Shape arithmetic overflowed.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The data does not hold as many elements as the shape says.
    #[error("shape {shape:?} wants {want} elements, the data holds {have}")]
    Length {
        /// The declared shape.
        shape: Vec<usize>,
        /// Elements the shape asks for.
        want: usize,
        /// Elements present.
        have: usize,
    },
}

/// A dense row-major tensor in ONNX order.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Data,
}

impl Tensor {
    /// A tensor of `shape` over `data`.
    ///
    /// # Errors
    /// When the lengths differ or the shape overflows.
    ///
    /// ```
    /// let t = tensor::Tensor::new(vec![2, 2], vec![1f32, 2., 3., 4.]).unwrap();
    /// assert_eq!(t.as_f32().unwrap()[3], 4.0);
    /// ```
    pub fn new(shape: Vec<usize>, data: impl Into<Data>) -> Result<Self, TensorError> {
        let data = data.into();
        let want = numel(&shape)?;
        if want != data.len() {
            return Err(TensorError::Length {
                shape,
                want,
                have: data.len(),
            });
        }
        Ok(Tensor { shape, data })
    }

    /// A rank-0 tensor.
    pub fn scalar<T>(value: T) -> Self
    where
        Data: From<Vec<T>>,
    {
        Tensor {
            shape: Vec::new(),
            data: vec![value].into(),
        }
    }

    /// A rank-1 tensor.
    pub fn vector<T>(values: Vec<T>) -> Self
    where
        Data: From<Vec<T>>,
    {
        Tensor {
            shape: vec![values.len()],
            data: values.into(),
        }
    }

    /// Dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Bytes of the elements.
    pub fn bytes(&self) -> usize {
        self.len() * self.dtype().size()
    }

    /// The elements.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// The elements, mutable; their number cannot change.
    pub fn data_mut(&mut self) -> &mut Data {
        &mut self.data
    }

    /// Takes shape and elements apart.
    pub fn into_parts(self) -> (Vec<usize>, Data) {
        (self.shape, self.data)
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// When the number of elements differs.
    pub fn reshaped(self, shape: Vec<usize>) -> Result<Self, TensorError> {
        Tensor::new(shape, self.data)
    }

    /// Elements as f32, when that is their type.
    pub fn as_f32(&self) -> Option<&[f32]> {
        if let Data::F32(v) = &self.data {
            Some(v)
        } else {
            None
        }
    }

    /// Elements as u8, when that is their type.
    pub fn as_u8(&self) -> Option<&[u8]> {
        if let Data::U8(v) = &self.data {
            Some(v)
        } else {
            None
        }
    }

    /// Elements as i64, when that is their type: shapes, axes, indices.
    pub fn as_i64(&self) -> Option<&[i64]> {
        if let Data::I64(v) = &self.data {
            Some(v)
        } else {
            None
        }
    }

    /// Integer elements of any type widened to i64; `None` for floats, bool and u64 beyond i64.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        Some(match &self.data {
            Data::I8(v) => v.iter().map(|&x| x.into()).collect(),
            Data::U8(v) => v.iter().map(|&x| x.into()).collect(),
            Data::I16(v) => v.iter().map(|&x| x.into()).collect(),
            Data::U16(v) => v.iter().map(|&x| x.into()).collect(),
            Data::I32(v) => v.iter().map(|&x| x.into()).collect(),
            Data::U32(v) => v.iter().map(|&x| x.into()).collect(),
            Data::I64(v) => v.clone(),
            Data::U64(v) => v.iter().map(|&x| i64::try_from(x).ok()).collect::<Option<_>>()?,
            Data::F32(_) | Data::F64(_) | Data::Bool(_) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_must_match_shape() {
        let err = Tensor::new(vec![2, 3], vec![0f32; 5]).unwrap_err();
        assert_eq!(err.to_string(), "shape [2, 3] wants 6 elements, the data holds 5");
    }

    #[test]
    fn overflow_is_an_error() {
        assert!(matches!(
            Tensor::new(vec![1 << 40, 1 << 40], vec![0u8]),
            Err(TensorError::Shape(_))
        ));
    }
}
