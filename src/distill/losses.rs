//! The losses of distillation: one pure function of tensors each.
//!
//! Each returns a scalar in the dtype of its inputs (f32 or f64), differentiable in the student's
//! tensors **and** the teacher's: a generator of adversarial text learns through both models. To keep
//! the teacher fixed, pass its tensors detached. candle's `softmax_last_dim` has no gradient and is
//! not used.

use anyhow::{ensure, Result};
use candle_core::{DType, Tensor, D};
use candle_nn::ops::{log_softmax, softmax};

use crate::model::kernels::Activation;
use crate::model::ops;

/// Added under the square root of a norm, so that a vector of zeros has one: (1e-12)², after the
/// eps of PyTorch's `normalize`.
const NORM_EPS_SQUARED: f64 = 1e-24;

/// Mean over the examples of −log softmax(`logits` (B, K)) at each example's label, in nats.
///
/// # Errors
/// Not one label per example, no example, a label that is not below K.
pub fn hard(logits: &Tensor, labels: &[u32]) -> Result<Tensor> {
    let (examples, _) = require_labels(logits, labels)?;
    let at = Tensor::from_slice(labels, (examples, 1), logits.device())?; // (B, 1)
    Ok(log_softmax(logits, D::Minus1)?.gather(&at, 1)?.mean_all()?.neg()?)
}

/// The shape of `logits` (B, K), which each have one of `labels`.
fn require_labels(logits: &Tensor, labels: &[u32]) -> Result<(usize, usize)> {
    let (examples, classes) = logits.dims2()?;
    ensure!(examples > 0, "the mean loss of no example is undefined");
    ensure!(labels.len() == examples, "{} labels for {examples} examples", labels.len());
    if let Some(row) = labels.iter().position(|&label| label as usize >= classes) {
        anyhow::bail!(
            "example {row} of the batch has the label {}, and the model's labels are 0 to {}",
            labels[row],
            classes.saturating_sub(1)
        );
    }
    Ok((examples, classes))
}

/// [`hard`] with `smoothing` ε in [0, 1) of the label's probability spread over all K labels: the mean
/// cross-entropy to (1 − ε)·onehot + ε/K (Szegedy et al. 2016, arXiv:1512.00567, section 7).
///
/// It is (1 − ε)·[`hard`] + ε·(KL of a teacher with equal logits, at t = 1) + ε·ln K.
///
/// # Errors
/// As [`hard`]; a smoothing outside [0, 1).
pub fn smoothed(logits: &Tensor, labels: &[u32], smoothing: f64) -> Result<Tensor> {
    ensure!((0.0..1.0).contains(&smoothing), "the smoothing must be in [0, 1), and is {smoothing}");
    let label = hard(logits, labels)?;
    let all = log_softmax(logits, D::Minus1)?.mean_all()?.neg()?;
    Ok(((label * (1.0 - smoothing))? + (all * smoothing)?)?)
}

/// The logits (B, K) of a virtual teacher, for a student's `logits` (B, K): softmax gives `probability`
/// a to each example's label, and (1 − a)/(K − 1) to every other (Yuan et al. 2020, arXiv:1909.11723).
///
/// # Errors
/// As [`hard`]; fewer than two labels, a probability outside (0, 1).
pub fn virtual_logits(logits: &Tensor, labels: &[u32], probability: f64) -> Result<Tensor> {
    let (examples, classes) = require_labels(logits, labels)?;
    ensure!(classes >= 2, "a virtual teacher needs two labels or more");
    ensure!(probability > 0.0 && probability < 1.0, "{probability} is not a probability");
    let other = ((1.0 - probability) / (classes - 1) as f64).ln();
    let row = |&label: &u32| {
        let logit = move |k: usize| if k == label as usize { probability.ln() } else { other };
        (0..classes).map(logit)
    };
    let values: Vec<f64> = labels.iter().flat_map(row).collect();
    let made = Tensor::from_vec(values, (examples, classes), logits.device())?;
    Ok(made.to_dtype(logits.dtype())?)
}

/// The divergence of the student from the teacher; both have the same gradient in the student.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SoftLossKind {
    /// −Σ p_T·log p_S, at least the teacher's entropy.
    CrossEntropy,
    /// Σ p_T·(log p_T − log p_S) ≥ 0: the cross-entropy less the teacher's entropy.
    Kl,
}

/// The conventions of a [`soft`] loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SoftOptions {
    /// t > 0; both models' logits are divided by it.
    pub temperature: f64,
    /// Whether the loss is multiplied by t², so that its gradient keeps its size as t grows
    /// (Hinton et al. 2015, arXiv:1503.02531, section 2).
    pub t_squared: bool,
    /// The divergence.
    pub divergence: SoftLossKind,
    /// Whether the loss is divided by K once more, as the original TinyBERT code does by averaging
    /// over B and K.
    pub over_labels: bool,
}

/// Mean over the examples of the divergence of softmax(`student`/t) from softmax(`teacher`/t), both
/// (B, K), in nats.
///
/// # Errors
/// Different shapes, no example, a temperature that is not above 0.
pub fn soft(student: &Tensor, teacher: &Tensor, options: SoftOptions) -> Result<Tensor> {
    let t = options.temperature;
    ensure!(t.is_finite() && t > 0.0, "the distillation temperature must be above 0, and is {t}");
    same_shape(student, teacher, "logits")?;
    let (examples, classes) = student.dims2()?;
    let p = softmax(&(teacher / t)?, D::Minus1)?; // (B, K)
    let log_q = log_softmax(&(student / t)?, D::Minus1)?; // (B, K)
    let terms = match options.divergence {
        SoftLossKind::CrossEntropy => (p * log_q.neg()?)?,
        SoftLossKind::Kl => (p * (log_softmax(&(teacher / t)?, D::Minus1)? - log_q)?)?,
    };
    let mut scale = 1.0 / examples as f64;
    if options.t_squared {
        scale *= t * t;
    }
    if options.over_labels {
        scale /= classes as f64;
    }
    Ok((terms.sum_all()? * scale)?)
}

/// Mean over B and K of the squared difference of `student`'s and `target`'s logits, both (B, K).
///
/// The target of Annealing-KD's first stage (Jafari et al. 2021, arXiv:2104.07163) is the teacher's
/// logits times [`annealing_factor`].
///
/// # Errors
/// Different shapes, no element.
pub fn logits_mse(student: &Tensor, target: &Tensor) -> Result<Tensor> {
    mse(student, target, "logits")
}

/// Annealing-KD's Φ(τ) = 1 − (τ−1)/τ_max, in [1/τ_max, 1]; `tau` falls from `tau_max` to 1.
pub fn annealing_factor(tau: f64, tau_max: f64) -> f64 {
    1.0 - (tau - 1.0) / tau_max
}

/// Mean over all elements of the squared difference of hidden states, both (T, H).
///
/// The student's are projected to the teacher's width first (TinyBERT, arXiv:1909.10351, eq. 8 and 9).
/// With zeros for the elements that are not kept it is HSK's loss (Liu et al., ACL 2021).
///
/// # Errors
/// Different shapes, no element.
pub fn hidden_mse(student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    mse(student, teacher, "hidden states")
}

/// The divisor of the squared differences of attention scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Averaging {
    /// The number of real entries, Σ heads·L².
    Entries,
    /// B·heads·L_max², padding included with differences of zero, as in the original TinyBERT code.
    /// (That code zeroes padded keys only, and so counts the rows of padded queries too, which a
    /// packed batch does not have.)
    Padded {
        /// B, the number of sequences.
        sequences: usize,
        /// Attention heads of one layer.
        heads: usize,
        /// L_max, the tokens of the longest sequence.
        longest: usize,
    },
}

/// Mean squared difference of one layer's attention scores, scaled and before the softmax, both
/// flat over the real entries (Σ heads·L²), as [`crate::model::ops::attention_scores`] lays them
/// out (TinyBERT, arXiv:1909.10351, eq. 7).
///
/// # Errors
/// Different shapes (the heads must be as many), no element.
pub fn attention_mse(student: &Tensor, teacher: &Tensor, averaging: Averaging) -> Result<Tensor> {
    same_shape(student, teacher, "attention scores")?;
    let count = match averaging {
        Averaging::Entries => student.elem_count(),
        Averaging::Padded { sequences, heads, longest } => sequences * heads * longest * longest,
    };
    ensure!(
        count >= student.elem_count(),
        "{} attention scores do not fit into a padded batch of {count}",
        student.elem_count()
    );
    Ok(((student - teacher)?.sqr()?.sum_all()? / count as f64)?)
}

/// PKD's patient loss: the squared difference of L2-normalised [CLS] vectors, each layer's (B, H),
/// averaged over layers, B and H (Sun et al. 2019, arXiv:1908.09355; the mean is its code's).
///
/// `teacher[i]` is the layer that `student[i]` imitates.
///
/// # Errors
/// Different shapes or numbers of layers, no layer, no example.
pub fn patient(student: &[Tensor], teacher: &[Tensor]) -> Result<Tensor> {
    ensure!(
        student.len() == teacher.len() && !student.is_empty(),
        "{} layers of the student for {} of the teacher",
        student.len(),
        teacher.len()
    );
    let (student, teacher) = (Tensor::stack(student, 0)?, Tensor::stack(teacher, 0)?); // (n, B, H)
    mse(&normalised(&student)?, &normalised(&teacher)?, "[CLS] vectors")
}

/// RAIL-KD's loss between projected [CLS] vectors, each layer's (B, u): the squared distance of the
/// L2-normalised vectors, averaged over layers and B (Haidar et al. 2022, arXiv:2109.10164). In [0, 4];
/// [`patient`] divides by u too.
///
/// # Errors
/// As [`patient`].
pub fn directions(student: &[Tensor], teacher: &[Tensor]) -> Result<Tensor> {
    let width = student.first().map_or(Ok(1), |layer| layer.dim(D::Minus1))?;
    Ok((patient(student, teacher)? * width as f64)?)
}

/// How much the directions of vectors, each layer's (B, u), differ between the examples of a batch:
/// 1 − ‖mean of the normalised vectors‖², averaged over the layers, without a gradient. 0 where all
/// point the same way.
///
/// # Errors
/// No layer, no example.
pub fn spread(layers: &[Tensor]) -> Result<f64> {
    let all = Tensor::stack(layers, 0)?.detach(); // (n, B, u)
    let length = normalised(&all)?.mean(1)?.sqr()?.sum(D::Minus1)?; // (n)
    Ok(1.0 - length.mean_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?)
}

/// Each vector of the last dimension divided by its Euclidean length.
fn normalised(x: &Tensor) -> Result<Tensor> {
    let length = (x.sqr()?.sum_keepdim(D::Minus1)? + NORM_EPS_SQUARED)?.sqrt()?;
    Ok(x.broadcast_div(&length)?)
}

/// ALP-KD's loss between [CLS] vectors, each layer's (B, H): Σ_j MSE(h_S^j, Σ_k a_jk·h_T^k), where
/// a_jk = softmax_k(h_S^j · h_T^k) for each example and MSE averages over B and H (Passban et al.
/// 2021, arXiv:2012.14022).
///
/// Every student layer attends to every teacher layer given; the gradient flows through a_jk too.
///
/// # Errors
/// Different shapes, no layer, no example.
pub fn attentive(student: &[Tensor], teacher: &[Tensor]) -> Result<Tensor> {
    ensure!(
        !student.is_empty() && !teacher.is_empty(),
        "{} layers of the student and {} of the teacher: both need at least one",
        student.len(),
        teacher.len()
    );
    same_shape(&student[0], &teacher[0], "[CLS] vectors")?;
    let layers = student.len() as f64;
    let (student, teacher) = (Tensor::stack(student, 1)?, Tensor::stack(teacher, 1)?); // (B, n, H)
    let affinity = student.matmul(&teacher.transpose(1, 2)?.contiguous()?)?; // (B, n_S, n_T)
    let fused = softmax(&affinity, D::Minus1)?.matmul(&teacher)?; // (B, n_S, H)
    Ok((mse(&student, &fused, "[CLS] vectors")? * layers)?)
}

/// CKD's target of one student layer: the teacher's [CLS] vectors of a bucket, each (B, H_T), one
/// after the other, times `weight` (n·H_T, H_S) plus `bias` (H_S) -> (B, H_S) (Wu et al. 2020,
/// arXiv:2010.03034).
///
/// # Errors
/// An empty bucket, shapes that do not fit.
pub fn combination(bucket: &[&Tensor], weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let joined = Tensor::cat(bucket, D::Minus1)?.contiguous()?; // (B, n·H_T)
    Ok(ops::linear(&joined, weight, bias, Activation::Identity)?)
}

/// CKD's loss between [CLS] vectors, each layer's (B, H): Σ_j MSE(h_S^j, c_j), where c_j is a
/// [`combination`] and MSE averages over B and H.
///
/// # Errors
/// Different shapes or numbers of layers, no layer, no example.
pub fn combined(student: &[Tensor], targets: &[Tensor]) -> Result<Tensor> {
    ensure!(
        student.len() == targets.len() && !student.is_empty(),
        "{} layers of the student for {} combinations of the teacher's",
        student.len(),
        targets.len()
    );
    let layers = student.len() as f64;
    let (student, targets) = (Tensor::stack(student, 0)?, Tensor::stack(targets, 0)?); // (n, B, H)
    Ok((mse(&student, &targets, "[CLS] vectors")? * layers)?)
}

/// Mean over all elements of the squared difference.
fn mse(student: &Tensor, teacher: &Tensor, what: &str) -> Result<Tensor> {
    same_shape(student, teacher, what)?;
    Ok((student - teacher)?.sqr()?.mean_all()?)
}

fn same_shape(student: &Tensor, teacher: &Tensor, what: &str) -> Result<()> {
    ensure!(
        student.dims() == teacher.dims(),
        "the student's {what} have the shape {:?} and the teacher's {:?}",
        student.dims(),
        teacher.dims()
    );
    ensure!(student.elem_count() > 0, "the mean loss of no {what} is undefined");
    Ok(())
}

#[cfg(test)]
mod tests;
