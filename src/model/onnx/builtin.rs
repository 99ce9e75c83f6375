//! tract: a runtime in Rust, in this program.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{bail, Context, Result};
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;

use super::graph::{GraphInput, Interface};
use super::{OnnxSession, PaddedBatch};

/// Its name and version, as the lock file has it.
pub(super) const NAME: &str = "tract 0.23.9";

/// A model of tract, with a plan for each size of a batch. The length of the texts is open in all,
/// unless the file fixes it.
pub(super) struct Builtin {
    model: ModelProto,
    inputs: Vec<GraphInput>,
    /// L, where the file has it.
    length: Option<usize>,
    plans: Mutex<HashMap<usize, Arc<TypedRunnableModel>>>,
}

impl Builtin {
    /// Builds the plan for one text.
    ///
    /// # Errors
    /// A graph that tract cannot type or optimise.
    pub(super) fn new(model: ModelProto, interface: &Interface, name: &str) -> Result<Self> {
        let (inputs, length) = (interface.inputs.clone(), interface.fixed.length);
        let builtin = Builtin { model, inputs, length, plans: Mutex::default() };
        let within = || format!("the built-in runtime cannot take `{name}`");
        builtin.plan(interface.fixed.batch.unwrap_or(1)).with_context(within)?;
        Ok(builtin)
    }

    /// The plan for batches of `rows` texts.
    fn plan(&self, rows: usize) -> Result<Arc<TypedRunnableModel>> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plans.get(&rows) {
            return Ok(Arc::clone(plan));
        }
        // What a quantised file says of its inner values is what they were before.
        let reader =
            tract_onnx::onnx().with_ignore_value_info(true).with_ignore_output_shapes(true);
        let mut model = reader.model_for_proto_model(&self.model)?;
        let length = match self.length {
            Some(length) => length.to_dim(),
            None => model.symbols.sym("length").into(),
        };
        for (i, outlet) in model.input_outlets()?.to_vec().into_iter().enumerate() {
            let input = self.input(&model.node(outlet.node).name)?;
            let kind = if input.is_wide { i64::datum_type() } else { i32::datum_type() };
            let shape = tvec![rows.to_dim(), length.clone()];
            model.set_input_fact(i, InferenceFact::dt_shape(kind, shape))?;
        }
        let plan = model.into_optimized()?.into_runnable()?;
        plans.insert(rows, Arc::clone(&plan));
        Ok(plan)
    }

    fn input(&self, name: &str) -> Result<&GraphInput> {
        let input = self.inputs.iter().find(|input| input.name == name);
        input.with_context(|| format!("the input `{name}` has no value"))
    }
}

impl OnnxSession for Builtin {
    fn run(&self, batch: &PaddedBatch) -> Result<(Vec<f32>, Vec<usize>)> {
        let plan = self.plan(batch.rows)?;
        let shape = [batch.rows, batch.length];
        let mut values = tvec![];
        for outlet in plan.model().input_outlets()? {
            let input = self.input(&plan.model().node(outlet.node).name)?;
            let numbers = batch.values(input.kind);
            let tensor = tract_onnx::prelude::Tensor::from_shape(&shape, numbers)?;
            values.push(match input.is_wide {
                true => tensor.into_tvalue(),
                false => tensor.cast_to::<i32>()?.into_owned().into_tvalue(),
            });
        }
        let outputs = plan.run(values)?;
        let [output] = &outputs[..] else { bail!("it gives {} outputs", outputs.len()) };
        let output = output.cast_to::<f32>()?;
        let plain = output.try_as_plain_ram()?;
        Ok((plain.as_slice::<f32>()?.to_vec(), output.shape().to_vec()))
    }
}
