//! Weights that are stored in few bits with scales beside them, by the names and types of tensors.
//!
//! Such integers mean nothing without their scales, and each library has its own layout.

use safetensors::Dtype;

use crate::error::{failure, Diagnostic};

/// What to do about quantised weights.
pub(super) const DEQUANTISE: &str =
    "predict with the program that runs it and gate the predictions with `audit check`; or audit the \
     float model that it was made from";

/// Ends of tensor names that only one kind of quantisation writes, the surest first.
const MARKS: [(&str, &str); 12] = [
    (".SCB", "bitsandbytes in 8 bits"),
    (".weight_format", "bitsandbytes in 8 bits"),
    (".quant_map", "bitsandbytes in 4 bits"),
    (".absmax", "bitsandbytes in 4 bits"),
    (".g_idx", "GPTQ"),
    (".qzeros", "AWQ or GPTQ"),
    (".qweight", "AWQ or GPTQ"),
    (".weight_packed", "compressed-tensors"),
    (".weight_scale_inv", "FP8 with scales"),
    (".weight_scale", "FP8 or 8-bit integers with scales"),
    (".input_scale", "FP8 or 8-bit integers with scales"),
    ("._packed_params._packed_params", "PyTorch's own quantisation"),
];

/// The error of weights whose tensor names show a quantisation; `None` for others.
pub(super) fn by_names<'a>(
    source: &str,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Option<Diagnostic> {
    let (tensor, kind) = mark(names)?;
    Some(
        failure!(
            "`{source}` holds quantised weights: its tensor `{tensor}` looks like {kind}, and this \
             program runs float weights"
        )
        .hint(DEQUANTISE),
    )
}

/// The first tensor with the surest mark, and its kind of quantisation.
fn mark<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<(&'a str, &'static str)> {
    let find = |(end, kind): &(&str, &'static str)| {
        names.clone().find(|name| name.ends_with(end)).map(|name| (name, *kind))
    };
    MARKS.iter().find_map(find)
}

/// The error of the tensor `tensor` of `file` with a type that no weight is computed from; `names` are
/// all tensors of the file.
pub(super) fn stored_as<'a>(
    file: &str,
    tensor: &str,
    dtype: Dtype,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Diagnostic {
    let stored = format!("`{file}`: the tensor `{tensor}` is stored as {dtype:?}");
    let kind = match (mark(names), dtype) {
        (Some((mark, kind)), _) => format!("it looks like {kind} (`{mark}`)"),
        (None, Dtype::F8_E4M3 | Dtype::F8_E5M2 | Dtype::F8_E8M0) => "it is in FP8".to_owned(),
        (None, Dtype::I8) => "it looks quantised in 8 bits".to_owned(),
        _ => {
            return Diagnostic::failure(stored)
                .hint("save the checkpoint again with its weights as float32, float16 or bfloat16")
        }
    };
    failure!("{stored}: {kind}, and this program runs float weights").hint(DEQUANTISE)
}

/// The error of a weight that is stored as integers, which mean nothing without their scale.
pub(super) fn integers(source: &str, tensor: &str, dtype: &str) -> Diagnostic {
    failure!(
        "`{source}`: the tensor `{tensor}` is stored as {dtype}: a weight in integers is quantised, \
         and this program runs float weights"
    )
    .hint(DEQUANTISE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_library_is_known_by_its_names() {
        for (names, kind) in [
            (&["a.weight", "a.SCB", "a.weight_format"][..], "bitsandbytes in 8 bits"),
            (&["a.weight", "a.weight.absmax", "a.weight.quant_map"], "bitsandbytes in 4 bits"),
            (&["a.qweight", "a.qzeros", "a.scales", "a.g_idx"], "looks like GPTQ"),
            (&["a.qweight", "a.qzeros", "a.scales"], "AWQ or GPTQ"),
            (&["a.weight", "a.weight_scale_inv"], "FP8"),
            (&["a._packed_params._packed_params"], "PyTorch's own"),
        ] {
            let error = by_names("m", names.iter().copied()).expect(kind);
            assert!(error.message.contains(kind), "{error}");
            assert!(error.hint.unwrap().contains("audit check"));
        }
        assert!(by_names("m", ["a.weight", "a.bias", "logit_scale"].into_iter()).is_none());
    }

    #[test]
    fn types_alone_are_told() {
        let error = |dtype| stored_as("f", "a", dtype, std::iter::empty::<&str>()).message;
        assert!(error(Dtype::F8_E4M3).contains("F8_E4M3: it is in FP8"));
        assert!(error(Dtype::I8).contains("I8: it looks quantised in 8 bits"));
        assert_eq!(error(Dtype::BOOL), "`f`: the tensor `a` is stored as BOOL");
        let named = stored_as("f", "a.weight", Dtype::I8, ["a.weight", "a.SCB"].into_iter());
        assert!(named.message.contains("stored as I8: it looks like bitsandbytes in 8 bits"));
    }
}
