//! The inputs, the output and the operators of an exported graph.

use std::collections::BTreeSet;

use anyhow::{bail, Context, Result};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Size;
use tract_onnx::pb::type_proto::{Tensor as TensorType, Value as Kind};
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, ValueInfoProto};

use crate::error::failure;

/// The version of ONNX's operators, from and to, that tract is built for.
const OPSETS: std::ops::RangeInclusive<i64> = 9..=22;

/// Operators with another result each time.
const RANDOM: [&str; 6] = [
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
];

/// What an input takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InputKind {
    Ids,
    Mask,
    TokenTypes,
}

/// One input of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GraphInput {
    pub(super) name: String,
    pub(super) kind: InputKind,
    /// Whether its numbers have 64 bits, else 32.
    pub(super) is_wide: bool,
}

/// Sizes of the inputs that are numbers in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct FixedSizes {
    pub(super) batch: Option<usize>,
    pub(super) length: Option<usize>,
}

/// The inputs and the output of a classifier's graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) inputs: Vec<GraphInput>,
    /// The output that holds the logits.
    pub(super) output: String,
    /// K, where the file has it.
    pub(super) labels: Option<usize>,
    pub(super) fixed: FixedSizes,
    pub(super) before_softmax: bool,
}

impl Interface {
    /// The interface of `model`, which keeps no other output than the logits.
    ///
    /// # Errors
    /// An input that is not a text's, several outputs without `logits` among them, an output that is
    /// not logits of K labels; an operator that draws random numbers.
    pub(super) fn take(model: &mut ModelProto, name: &str) -> Result<Interface> {
        refuse_random(model, name)?;
        let graph = model.graph.as_mut().with_context(|| format!("`{name}` has no graph"))?;
        // Files of old versions list initial values as inputs.
        let initial: BTreeSet<_> = graph.initializer.iter().map(|it| it.name.clone()).collect();
        graph.input.retain(|input| !initial.contains(&input.name));
        let mut fixed = FixedSizes::default();
        let inputs = graph.input.iter().map(|input| graph_input(input, &mut fixed, name));
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        if !inputs.iter().any(|input| input.kind == InputKind::Ids) {
            bail!(not_of_texts(name, "it has no input `input_ids`"));
        }
        let output = choose_output(graph, name)?;
        let labels = labels_of(&output, name)?;
        let (logits, before_softmax) = logits_before_softmax(graph, &output.name, name)?;
        // The type of an inner value is not needed: it is that of the softmax.
        graph.output = vec![ValueInfoProto { name: logits.clone(), ..output }];
        Ok(Interface { inputs, output: logits, labels, fixed, before_softmax })
    }

    /// Whether it takes the segments of pairs.
    pub(super) fn has_token_types(&self) -> bool {
        self.inputs.iter().any(|input| input.kind == InputKind::TokenTypes)
    }
}

fn not_of_texts(name: &str, why: &str) -> crate::error::Diagnostic {
    failure!("`{name}` is not an exported text classifier: {why}").hint(
        "export it with `optimum-cli export onnx --task text-classification --model CHECKPOINT DIR`",
    )
}

fn tensor_type(value: &ValueInfoProto) -> Option<&TensorType> {
    match value.r#type.as_ref()?.value.as_ref()? {
        Kind::TensorType(tensor) => Some(tensor),
        #[allow(unreachable_patterns)]
        _ => None,
    }
}

/// The sizes of a value's shape, `None` where a size is not a number; `None` without a shape.
fn shape_of(value: &ValueInfoProto) -> Option<Vec<Option<usize>>> {
    let shape = tensor_type(value)?.shape.as_ref()?;
    let size = |size: &Option<Size>| match size {
        Some(Size::DimValue(size)) => usize::try_from(*size).ok().filter(|size| *size > 0),
        _ => None,
    };
    Some(shape.dim.iter().map(|it| size(&it.value)).collect())
}

/// Reads one input, and notes its fixed sizes.
fn graph_input(value: &ValueInfoProto, fixed: &mut FixedSizes, name: &str) -> Result<GraphInput> {
    let kind = match value.name.as_str() {
        "input_ids" => InputKind::Ids,
        "attention_mask" => InputKind::Mask,
        "token_type_ids" => InputKind::TokenTypes,
        other => bail!(not_of_texts(
            name,
            &format!(
                "it has the input `{other}`, and input_ids, attention_mask and token_type_ids are \
                 known"
            )
        )),
    };
    let element = tensor_type(value).and_then(|it| DataType::try_from(it.elem_type).ok());
    let is_wide = match element {
        Some(DataType::Int64) => true,
        Some(DataType::Int32) => false,
        _ => bail!(not_of_texts(name, &format!("`{}` takes no whole numbers", value.name))),
    };
    if let Some(shape) = shape_of(value) {
        let [batch, length] = shape[..] else {
            let why = format!("`{}` has {} axes, and texts have two", value.name, shape.len());
            bail!(not_of_texts(name, &why));
        };
        for (known, size) in [(&mut fixed.batch, batch), (&mut fixed.length, length)] {
            if known.is_some() && size.is_some() && *known != size {
                bail!(not_of_texts(name, "its inputs have different sizes"));
            }
            *known = known.or(size);
        }
    }
    Ok(GraphInput { name: value.name.clone(), kind, is_wide })
}

/// `logits`, or the only output.
fn choose_output(graph: &GraphProto, name: &str) -> Result<ValueInfoProto> {
    let logits = graph.output.iter().find(|output| output.name == "logits");
    match (logits, &graph.output[..]) {
        (Some(logits), _) => Ok(logits.clone()),
        (None, [only]) => Ok(only.clone()),
        (None, all) => {
            let names: Vec<_> = all.iter().map(|output| format!("`{}`", output.name)).collect();
            bail!(not_of_texts(
                name,
                &format!("none of its outputs is named `logits`: {}", names.join(", "))
            ))
        }
    }
}

/// K of the output, where the file has it.
fn labels_of(output: &ValueInfoProto, name: &str) -> Result<Option<usize>> {
    let element = tensor_type(output).and_then(|it| DataType::try_from(it.elem_type).ok());
    let is_float = matches!(
        element,
        Some(DataType::Float | DataType::Float16 | DataType::Double | DataType::Undefined) | None
    );
    if !is_float {
        let why = format!("its output `{}` holds no logits but whole numbers", output.name);
        bail!(not_of_texts(name, &why));
    }
    match shape_of(output).as_deref() {
        None => Ok(None),
        Some([_, labels]) => Ok(*labels),
        Some(axes) => {
            let why = format!(
                "its output `{}` has {} axes, and logits have two, texts and labels",
                output.name,
                axes.len()
            );
            bail!(not_of_texts(name, &why))
        }
    }
}

/// The value before the softmax that makes `output`, if one does, else `output` itself: softmax would
/// be applied twice.
fn logits_before_softmax(graph: &GraphProto, output: &str, name: &str) -> Result<(String, bool)> {
    let maker = |value: &str| {
        graph.node.iter().find(|node| node.output.iter().any(|output| output == value))
    };
    let mut value = output.to_owned();
    // No chain of nodes is longer than the graph.
    for _ in 0..graph.node.len() {
        let Some(node) = maker(&value).filter(|node| is_own(&node.domain)) else { break };
        match node.op_type.as_str() {
            "Identity" | "Cast" => value = first_input(node, name)?,
            "Softmax" => {
                require_axis_of_labels(node, name)?;
                return Ok((first_input(node, name)?, true));
            }
            "Sigmoid" => bail!(failure!(
                "`{name}` ends in a sigmoid: each of its labels has a probability of its own"
            )
            .hint("confidence is defined for one label out of K only")),
            "ArgMax" | "TopK" => bail!(failure!(
                "`{name}` ends in the operator {}: it gives labels, not logits",
                node.op_type
            )
            .hint("export the model without it")),
            _ => break,
        }
    }
    Ok((output.to_owned(), false))
}

/// Fails if a softmax is over another axis than that of the labels.
fn require_axis_of_labels(node: &NodeProto, name: &str) -> Result<()> {
    let axis = node.attribute.iter().find(|attribute| attribute.name == "axis");
    match axis.map(|axis| axis.i) {
        None | Some(-1 | 1) => Ok(()),
        Some(axis) => {
            bail!(failure!("`{name}` ends in a softmax over axis {axis}, not over labels")
                .hint("export the model's logits"))
        }
    }
}

/// Whether an operator of `domain` is ONNX's own.
fn is_own(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

fn first_input(node: &NodeProto, name: &str) -> Result<String> {
    let input = node.input.first().cloned();
    input.with_context(|| format!("`{name}`: a node {} has no input", node.op_type))
}

/// Calls `visit` for every node of a graph and of the graphs in it.
fn each_node<'a>(graph: &'a GraphProto, visit: &mut dyn FnMut(&'a NodeProto)) {
    for node in &graph.node {
        visit(node);
        for attribute in &node.attribute {
            for inner in attribute.g.iter().chain(&attribute.graphs) {
                each_node(inner, visit);
            }
        }
    }
}

/// A tensor of 16-bit floats, if there is one.
fn half_precision(model: &ModelProto) -> Option<&str> {
    let is_half =
        |kind: i32| matches!(DataType::try_from(kind), Ok(DataType::Float16 | DataType::Bfloat16));
    let graph = model.graph.as_ref()?;
    let tensors = graph.initializer.iter().filter(|tensor| is_half(tensor.data_type));
    let mut found = tensors.map(|tensor| tensor.name.as_str()).next();
    each_node(graph, &mut |node| {
        let constants = node.attribute.iter().flat_map(|it| it.t.iter().chain(&it.tensors));
        let casts = node.attribute.iter().filter(|it| node.op_type == "Cast" && it.name == "to");
        let kinds = constants.map(|tensor| tensor.data_type).chain(casts.map(|it| it.i as i32));
        if let (None, true) = (found, kinds.into_iter().any(is_half)) {
            found = node.output.first().map(String::as_str);
        }
    });
    found
}

fn refuse_random(model: &ModelProto, name: &str) -> Result<()> {
    let mut found = None;
    if let Some(graph) = &model.graph {
        each_node(graph, &mut |node| {
            if RANDOM.contains(&node.op_type.as_str()) {
                found = Some(node.op_type.clone());
            }
        });
    }
    match found {
        None => Ok(()),
        Some(operator) => bail!(failure!(
            "`{name}` uses the operator {operator}: its logits are different each time"
        )
        .hint("export the model in evaluation mode, without dropout")),
    }
}

/// Fails unless tract has the operators of `model`, in their version.
///
/// # Errors
/// Names every operator that it does not have; operators of other domains than ONNX's own are among
/// them, since tract takes them for ONNX's.
pub(super) fn require_known(model: &ModelProto, name: &str) -> Result<()> {
    const USE_RUNTIME: &str = "run it with ONNX Runtime: --onnxruntime PATH/libonnxruntime.so (the \
                               Python package onnxruntime has it in its folder `capi`), or export it \
                               without optimisations";
    let opset = model.opset_import.iter().find(|it| is_own(&it.domain)).map_or(0, |it| it.version);
    if !OPSETS.contains(&opset) {
        bail!(failure!(
            "`{name}` needs version {opset} of ONNX's operators, and the built-in runtime has {} to {}",
            OPSETS.start(),
            OPSETS.end()
        )
        .hint(USE_RUNTIME));
    }
    if let Some(tensor) = half_precision(model) {
        bail!(failure!(
            "`{name}` computes in half precision (the tensor `{tensor}`), and the built-in runtime in \
             f32 only"
        )
        .hint(USE_RUNTIME));
    }
    let known = tract_onnx::onnx().op_register.0;
    let mut unknown = BTreeSet::new();
    if let Some(graph) = &model.graph {
        each_node(graph, &mut |node| match is_own(&node.domain) {
            true if known.contains_key(node.op_type.as_str()) => {}
            true => drop(unknown.insert(node.op_type.clone())),
            false => drop(unknown.insert(format!("{}::{}", node.domain, node.op_type))),
        });
    }
    if unknown.is_empty() {
        return Ok(());
    }
    let listed: Vec<_> = unknown.iter().take(8).map(String::as_str).collect();
    bail!(failure!(
        "`{name}` uses operators that the built-in runtime does not have: {}",
        listed.join(", ")
    )
    .hint(USE_RUNTIME))
}
