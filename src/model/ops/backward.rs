//! Gradients of a loss.

use std::cell::RefCell;
use std::collections::HashMap;

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, TensorId};

thread_local! {
    /// Gradients of variables from the kernels, during this thread's [`backward`].
    static OF_VARIABLES: RefCell<Option<Gathered>> = const { RefCell::new(None) };
}

type Gathered = HashMap<TensorId, Vec<Tensor>>;

/// As [`Tensor::backward`], bit for bit, with fewer passes over the gradients of the variables.
///
/// candle adds each gradient to a tensor of zeros: two more passes over every weight, and three over
/// a table of embeddings. The kernels of this module avoid that by [`hand_over`].
pub fn backward(loss: &Tensor) -> Result<GradStore> {
    let outer = OF_VARIABLES.replace(Some(Gathered::new()));
    let store = loss.backward();
    let gathered = OF_VARIABLES.replace(outer).unwrap_or_default();
    let mut store = store?;
    for (id, gradients) in gathered {
        let known = store.get_id(id).cloned();
        let sum = known.into_iter().chain(gradients).map(Ok).reduce(|sum, next| &sum? + next?);
        if let Some(sum) = sum {
            store.insert_id(id, sum?);
        }
    }
    Ok(store)
}

/// The gradient of `argument` that a kernel returns: `None` if [`backward`] collects it.
pub(super) fn hand_over(argument: &Tensor, gradient: Tensor) -> Option<Tensor> {
    if !argument.is_variable() {
        return Some(gradient);
    }
    OF_VARIABLES.with_borrow_mut(|gathered| match gathered {
        Some(gathered) => {
            gathered.entry(argument.id()).or_default().push(gradient);
            None
        }
        None => Some(gradient),
    })
}
