//! The forward pass of an audit: fused kernels on raw slices, with buffers kept between batches.
//!
//! Computes the same as the differentiable [`Model::forward`](super::Model::forward), by test. The
//! last layer is computed for the first token of each sequence only, as the head reads no other.

use std::ops::Deref;

use candle_core::{CpuStorage, Result, Storage, Tensor};

use super::{Encoder, EncoderBody, EncoderLayer, LinearLayer};
use crate::model::kernels::{
    self, sized, Activation, AttentionBuffers, AttentionView, Embed, LinearView, Lookup, Norm,
    Queries, View,
};
use crate::model::PackedBatch;

/// The buffers of one worker.
#[derive(Debug, Default)]
pub struct Workspace {
    hidden: Vec<f32>,   // (T, H)
    qkv: Vec<f32>,      // (T, 3H)
    mixed: Vec<f32>,    // (T, H)
    attended: Vec<f32>, // (T, H)
    wide: Vec<f32>,     // (T, I)
    first: Vec<f32>,    // (B, H)
    head: AttentionBuffers,
    panel: Vec<f32>,
}

/// The elements of a contiguous f32 tensor on the CPU, with candle's guard.
struct Elements<G> {
    storage: G,
    start: usize,
    end: usize,
}

fn elements(tensor: &Tensor) -> Result<Elements<impl Deref<Target = Storage> + '_>> {
    let (storage, layout) = tensor.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(_)), Some((start, end))) => {
            Ok(Elements { storage, start, end })
        }
        _ => candle_core::bail!("the fused kernels read contiguous f32 weights on the CPU"),
    }
}

impl<G: Deref<Target = Storage>> Deref for Elements<G> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(all)) => &all[self.start..self.end],
            _ => unreachable!("checked by `elements`"),
        }
    }
}

impl LinearLayer {
    /// `act(x · weight + bias)` for the columns `from..to` of the layer.
    fn columns(
        &self,
        (from, to): (usize, usize),
        x: &[f32],
        act: Activation,
        panel: &mut Vec<f32>,
        out: &mut [f32],
    ) -> Result<()> {
        let (weight, bias) = (elements(&self.weight)?, elements(&self.bias)?);
        let weight = View { data: &weight[from..], stride: bias.len() };
        kernels::linear(x, LinearView { weight, bias: &bias[from..to] }, act, panel, out);
        Ok(())
    }

    fn apply(
        &self,
        x: &[f32],
        act: Activation,
        panel: &mut Vec<f32>,
        out: &mut [f32],
    ) -> Result<()> {
        self.columns((0, self.width()), x, act, panel, out)
    }
}

/// `x = norm(x + residual)`; `scale` is (2, H): gain, then bias.
fn add_norm(x: &mut [f32], residual: &[f32], scale: &Tensor, eps: f64) -> Result<()> {
    let scale = elements(scale)?;
    let (gain, bias) = scale.split_at(scale.len() / 2);
    kernels::add_layer_norm(x, residual, Norm { gain, bias, eps: eps as f32 });
    Ok(())
}

/// Copies the rows `rows` of `x` (T, width) into `out`.
fn gather(x: &[f32], rows: impl Iterator<Item = u32>, width: usize, out: &mut [f32]) {
    for (row, out) in rows.zip(out.chunks_exact_mut(width)) {
        out.copy_from_slice(&x[row as usize * width..][..width]);
    }
}

impl Encoder {
    /// Logits of every sequence of `batch`, row-major (B, K).
    pub(super) fn fused(&self, batch: &PackedBatch, workspace: &mut Workspace) -> Result<Vec<f32>> {
        let (sequences, hidden) = (batch.sequences(), self.dense.width());
        self.body.fused_first_tokens(batch, workspace)?;
        let Workspace { first, attended, panel, .. } = workspace;
        let first = &first[..sequences * hidden]; // (B, H)
        let pooled = sized(attended, sequences * hidden); // (B, H)
        self.dense.apply(first, self.dense_activation, panel, pooled)?;
        let mut logits = vec![0.0; sequences * self.classifier.width()]; // (B, K)
        self.classifier.apply(pooled, Activation::Identity, panel, &mut logits)?;
        Ok(logits)
    }
}

impl EncoderBody {
    /// The last layer's output for the first token of each sequence -> `first` (B, H).
    fn fused_first_tokens(&self, batch: &PackedBatch, workspace: &mut Workspace) -> Result<()> {
        self.fused_embeddings(batch, workspace)?;
        let (last, before) = self.layers.split_last().expect("an encoder has a layer");
        for layer in before {
            self.fused_layer(layer, batch, workspace)?;
        }
        self.fused_last_layer(last, batch, workspace)
    }

    /// Token, position and segment embeddings, normalised -> `hidden` (T, H).
    fn fused_embeddings(&self, batch: &PackedBatch, workspace: &mut Workspace) -> Result<()> {
        let (words, positions) = (elements(&self.words)?, elements(&self.positions)?);
        let scale = elements(&self.embedding_norm)?;
        let (gain, bias) = scale.split_at(scale.len() / 2);
        let norm = Norm { gain, bias, eps: self.eps as f32 };
        let position_rows = self.position_rows(batch);
        let types = self.token_types.as_ref();
        let segment_rows = types.map(|table| self.segment_rows(table, batch)).transpose()?;
        let segment_rows = segment_rows.unwrap_or_default();
        let table = types.map(elements).transpose()?;
        let Workspace { hidden, mixed, panel, .. } = workspace;
        let tokens = batch.tokens();
        let embedded = sized(hidden, tokens * gain.len()); // (T, E)
        let embed = Embed {
            words: Lookup { table: &words, rows: &batch.input_ids },
            positions: Lookup { table: &positions, rows: &position_rows },
            segments: table.as_deref().map(|table| Lookup { table, rows: &segment_rows }),
            norm,
            out: embedded,
        };
        embed.run();
        if let Some(projection) = &self.projection {
            let projected = sized(mixed, tokens * projection.width()); // (T, H)
            projection.apply(embedded, Activation::Identity, panel, projected)?;
            std::mem::swap(hidden, mixed);
        }
        Ok(())
    }

    /// One layer over every token: `hidden` (T, H) -> `hidden` (T, H).
    fn fused_layer(
        &self,
        layer: &EncoderLayer,
        batch: &PackedBatch,
        workspace: &mut Workspace,
    ) -> Result<()> {
        let (tokens, width) = (batch.tokens(), self.hidden());
        let Workspace { hidden, qkv, mixed, attended, wide, head, panel, .. } = workspace;
        let hidden = sized(hidden, tokens * width);
        let qkv = sized(qkv, tokens * 3 * width);
        layer.query_key_value.apply(hidden, Activation::Identity, panel, qkv)?; // (T, 3H)
        let mixed = sized(mixed, tokens * width);
        let input = AttentionView::packed(qkv, width, &batch.offsets, self.heads);
        kernels::packed_attention(input, Queries::Every, head, mixed); // (T, H)
        let attended = sized(attended, tokens * width);
        self.fused_feed_forward(layer, mixed, (attended, wide, panel), hidden)
    }

    /// The last layer for the first token of each sequence: `hidden` (T, H) -> `first` (B, H).
    fn fused_last_layer(
        &self,
        layer: &EncoderLayer,
        batch: &PackedBatch,
        workspace: &mut Workspace,
    ) -> Result<()> {
        let (tokens, sequences) = (batch.tokens(), batch.sequences());
        let width = self.hidden();
        let Workspace { hidden, qkv, mixed, attended, wide, first, head, panel } = workspace;
        let hidden = sized(hidden, tokens * width);
        let first = sized(first, sequences * width);
        gather(hidden, batch.first_tokens(), width, first); // (B, H)
        let (key_value, queries) =
            sized(qkv, (2 * tokens + sequences) * width).split_at_mut(2 * tokens * width);
        let project = &layer.query_key_value;
        project.columns((width, 3 * width), hidden, Activation::Identity, panel, key_value)?; // (T, 2H)
        project.columns((0, width), first, Activation::Identity, panel, queries)?; // (B, H)
        let input = AttentionView {
            queries: View { data: queries, stride: width },
            keys: View { data: key_value, stride: 2 * width },
            values: View { data: &key_value[width..], stride: 2 * width },
            offsets: &batch.offsets,
            heads: self.heads,
            width: width / self.heads,
        };
        let mixed = sized(mixed, sequences * width);
        kernels::packed_attention(input, Queries::First, head, mixed); // (B, H)
        let attended = sized(attended, sequences * width);
        self.fused_feed_forward(layer, mixed, (attended, wide, panel), first)
    }

    /// The part of a layer after attention, for R rows: `residual` (R, H) becomes the output.
    fn fused_feed_forward(
        &self,
        layer: &EncoderLayer,
        mixed: &[f32], // (R, H)
        (attended, wide, panel): (&mut [f32], &mut Vec<f32>, &mut Vec<f32>),
        residual: &mut [f32], // (R, H)
    ) -> Result<()> {
        let rows = mixed.len() / self.hidden();
        layer.attention_output.apply(mixed, Activation::Identity, panel, attended)?;
        add_norm(attended, residual, &layer.attention_norm, self.eps)?;
        let wide = sized(wide, rows * layer.intermediate.width()); // (R, I)
        layer.intermediate.apply(attended, self.activation, panel, wide)?;
        layer.output.apply(wide, Activation::Identity, panel, residual)?;
        add_norm(residual, attended, &layer.output_norm, self.eps)
    }
}
