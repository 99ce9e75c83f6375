//! A tensor as a view of a storage.

use std::borrow::Cow;
use std::ops::Range;

use anyhow::{bail, ensure, Result};
use candle_core::DType;

use crate::error::failure;

/// Most dimensions of a tensor. A classifier's weights have two, a convolution's at most five.
const MAX_DIMENSIONS: usize = 8;

/// The storage that a tensor is a view of, as the pickle describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TorchStorage {
    /// Name of the storage in the file.
    pub key: String,
    pub dtype: DType,
    /// Number of elements.
    pub elements: usize,
}

/// A view of a storage: element (i, j, …) is number offset + i·strides[0] + j·strides[1] + ….
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StorageView {
    pub storage: TorchStorage,
    pub dims: Vec<usize>,
    pub strides: Vec<usize>,
    pub offset: usize,
}

/// A view whose every element lies inside its storage.
#[derive(Debug)]
pub(super) struct StoredTensor {
    view: StorageView,
    /// Number of elements of the view.
    count: usize,
    /// The storage in the file, in bytes.
    span: Range<usize>,
}

/// Fails for more dimensions than a tensor has.
///
/// # Errors
/// Names their number.
pub(super) fn require_few_dimensions(dimensions: usize) -> Result<()> {
    ensure!(
        dimensions <= MAX_DIMENSIONS,
        "it has {dimensions} dimensions, more than {MAX_DIMENSIONS}"
    );
    Ok(())
}

impl StorageView {
    /// Checks the view against its storage, which is `span` of the file. Nothing is read.
    ///
    /// # Errors
    /// A view that reaches past its storage, a storage of another length.
    pub(super) fn within(self, span: Range<usize>) -> Result<StoredTensor> {
        let TorchStorage { key, dtype, elements } = &self.storage;
        let (have, need) = (span.len(), elements.checked_mul(dtype.size_in_bytes()));
        if need != Some(have) {
            bail!(failure!(
                "the storage `{key}` has {have} bytes and needs {elements} × {dtype:?}"
            )
            .hint("the file is truncated or damaged; fetch it again"));
        }
        ensure!(self.dims.len() == self.strides.len(), "its size and its stride differ in length");
        let count = self.dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        let last =
            self.dims.iter().zip(&self.strides).try_fold(self.offset, |at, (dim, stride)| {
                at.checked_add(dim.saturating_sub(1).checked_mul(*stride)?)
            });
        match (count, last) {
            (Some(0), _) => Ok(StoredTensor { view: self, count: 0, span }),
            (Some(count), Some(last)) if last < *elements => {
                Ok(StoredTensor { view: self, count, span })
            }
            _ => bail!("it reaches past its storage `{key}` of {elements} elements"),
        }
    }
}

impl StoredTensor {
    pub(super) fn dtype(&self) -> DType {
        self.view.storage.dtype
    }

    pub(super) fn dims(&self) -> &[usize] {
        &self.view.dims
    }

    /// Number of elements.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The bytes of the elements in row-major order; `file` is the file that was checked.
    pub(super) fn gather<'a>(&self, file: &'a [u8]) -> Cow<'a, [u8]> {
        let storage = &file[self.span.clone()];
        let size = self.dtype().size_in_bytes();
        let StorageView { dims, strides, offset, .. } = &self.view;
        if self.count == 0 {
            return Cow::Borrowed(&[]);
        }
        let run = self.contiguous();
        if run == self.count {
            return Cow::Borrowed(&storage[offset * size..(offset + run) * size]);
        }
        let mut bytes = Vec::with_capacity(self.count * size);
        let mut index = vec![0usize; dims.len()];
        for _ in 0..self.count / run {
            let steps = index.iter().zip(strides).map(|(i, stride)| i * stride);
            let at = (offset + steps.sum::<usize>()) * size;
            bytes.extend_from_slice(&storage[at..at + run * size]);
            advance(&mut index, dims, run);
        }
        Cow::Owned(bytes)
    }

    /// Number of elements of the innermost dimensions that lie side by side; divides the count.
    fn contiguous(&self) -> usize {
        let mut run = 1;
        for (dim, stride) in self.view.dims.iter().zip(&self.view.strides).rev() {
            if *dim != 1 && *stride != run {
                break;
            }
            run *= dim;
        }
        run
    }
}

/// Moves a row-major index forward by `run` elements, a product of innermost dimensions.
fn advance(index: &mut [usize], dims: &[usize], run: usize) {
    let mut inside = 1;
    for d in (0..index.len()).rev() {
        if inside < run {
            inside *= dims[d];
            continue;
        }
        index[d] += 1;
        if index[d] < dims[d] {
            return;
        }
        index[d] = 0;
    }
}
