//! The part of the teacher's hidden states that a method reads: selected, encoded and decoded.

use std::collections::BTreeMap;

use anyhow::{ensure, Context, Result};
use candle_core::{Device, Tensor};
use half::f16;
use serde::{Deserialize, Serialize};

use crate::model::{Outputs, PackedBatch, Shape, Wanted};

/// A selection of the teacher's hidden states. Outputs are counted from the embeddings' at 0, layers
/// from 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selection {
    /// Every token, in f32.
    Tokens {
        /// Outputs.
        hidden: Vec<usize>,
        /// Layers of attention scores.
        scores: Vec<usize>,
    },
    /// The first token only, in f32.
    First { hidden: Vec<usize> },
    /// HSK's compression, in f16: of each output the tokens that the first one attends to most, and
    /// of their elements the largest.
    Kept {
        hidden: Vec<usize>,
        /// Most tokens.
        length: usize,
        /// Share of the elements, in (0, 1].
        width: f64,
        /// Tokens that are never kept: [SEP].
        without: Vec<u32>,
    },
}

/// The selected hidden states of a batch.
#[derive(Debug, Clone)]
pub struct States {
    /// Per output: all tokens (T, H), first tokens (B, H), or kept tokens (M, H) with zeros for
    /// elements that were not kept.
    pub hidden: Vec<Tensor>,
    /// Per layer, flat (Σ heads·L²).
    pub scores: Vec<Tensor>,
    /// Per output, for kept tokens: their rows in the packed batch (M).
    pub rows: Vec<Vec<u32>>,
}

impl Selection {
    pub fn wanted(&self) -> Wanted {
        let scores = match self {
            Selection::Tokens { scores, .. } => !scores.is_empty(),
            Selection::First { .. } => false,
            Selection::Kept { .. } => true,
        };
        Wanted { hidden: true, scores }
    }

    /// Bytes of the record of `length` tokens, for a teacher of hidden size `hidden` with `heads` heads.
    pub fn bytes(&self, length: usize, hidden: usize, heads: usize) -> usize {
        match self {
            Selection::Tokens { hidden: outputs, scores } => {
                4 * (outputs.len() * length * hidden + scores.len() * heads * length * length)
            }
            Selection::First { hidden: outputs } => 4 * outputs.len() * hidden,
            Selection::Kept { hidden: outputs, length: most, width, .. } => {
                let tokens = length.min(*most);
                let elements = tokens * hidden;
                let kept = kept_count(elements, *width);
                outputs.len() * (1 + 2 * tokens + elements.div_ceil(8) + 2 * kept)
            }
        }
    }

    /// One record per sequence of `batch`, from the teacher's `outputs`.
    ///
    /// # Errors
    /// Outputs without hidden states.
    pub fn records(&self, outputs: &Outputs, batch: &PackedBatch) -> Result<Vec<Vec<u8>>> {
        let teacher = TeacherOutputs::of(outputs)?;
        let heads = teacher.heads(batch);
        let mut before = 0; // attention entries of the sequences before, per head
        let sequences = batch.offsets.windows(2).map(|w| {
            let sequence = Sequence { start: w[0], length: w[1] - w[0], entries: before, heads };
            before += sequence.length.pow(2);
            self.record(&teacher, &sequence, &batch.input_ids[w[0]..w[1]])
        });
        Ok(sequences.collect())
    }

    fn record(&self, teacher: &TeacherOutputs, sequence: &Sequence, input_ids: &[u32]) -> Vec<u8> {
        let mut record = Vec::new();
        match self {
            Selection::Tokens { hidden, scores } => {
                for &output in hidden {
                    put(&mut record, teacher.tokens(output, sequence.start, sequence.length));
                }
                for &layer in scores {
                    put(&mut record, teacher.scores(layer, sequence));
                }
            }
            Selection::First { hidden } => {
                for &output in hidden {
                    put(&mut record, teacher.tokens(output, sequence.start, 1));
                }
            }
            Selection::Kept { hidden, length, width, without } => {
                for &output in hidden {
                    let is_kept = |token: usize| !without.contains(&input_ids[token]);
                    let attention = teacher.attention_of_first(output.saturating_sub(1), sequence);
                    let tokens = most_attended(&attention, is_kept, *length);
                    let rows =
                        tokens.iter().map(|&t| teacher.tokens(output, sequence.start + t, 1));
                    put_kept(&mut record, &tokens, &rows.collect::<Vec<_>>().concat(), *width);
                }
            }
        }
        record
    }

    /// The states of a batch, from the records of its sequences.
    ///
    /// # Errors
    /// A record whose length does not fit its sequence.
    pub fn states(
        &self,
        records: &[Vec<u8>],
        batch: &PackedBatch,
        hidden_size: usize,
        heads: usize,
    ) -> Result<States> {
        let mut reader = Reader { records, at: vec![0; records.len()] };
        let lengths: Vec<usize> = batch.offsets.windows(2).map(|w| w[1] - w[0]).collect();
        let mut states = States { hidden: vec![], scores: vec![], rows: vec![] };
        let matrix = |values: Vec<f32>| -> Result<Tensor> {
            let rows = values.len() / hidden_size;
            Ok(Tensor::from_vec(values, (rows, hidden_size), &Device::Cpu)?)
        };
        match self {
            Selection::Tokens { hidden, scores } => {
                for _ in hidden {
                    states.hidden.push(matrix(reader.floats(|b| lengths[b] * hidden_size)?)?);
                }
                for _ in scores {
                    let scores = reader.floats(|b| heads * lengths[b].pow(2))?;
                    let count = scores.len();
                    states.scores.push(Tensor::from_vec(scores, count, &Device::Cpu)?);
                }
            }
            Selection::First { hidden } => {
                for _ in hidden {
                    states.hidden.push(matrix(reader.floats(|_| hidden_size)?)?);
                }
            }
            Selection::Kept { hidden, width, .. } => {
                for _ in hidden {
                    let (rows, values) = reader.kept(&batch.offsets, hidden_size, *width)?;
                    states.rows.push(rows);
                    states.hidden.push(matrix(values)?);
                }
            }
        }
        reader.finish()?;
        Ok(states)
    }
}

/// One sequence within a packed batch.
struct Sequence {
    start: usize,
    length: usize,
    /// Attention entries of one head in the sequences before.
    entries: usize,
    heads: usize,
}

/// A teacher's outputs as slices.
struct TeacherOutputs {
    hidden: Vec<Vec<f32>>,
    width: usize,
    scores: Vec<Vec<f32>>,
}

impl TeacherOutputs {
    fn of(outputs: &Outputs) -> Result<Self> {
        let flat = |tensors: &[Tensor]| -> Result<Vec<Vec<f32>>> {
            tensors.iter().map(|t| Ok(t.flatten_all()?.to_vec1()?)).collect()
        };
        let first = outputs.hidden.first().context("the teacher has no hidden states")?;
        let width = first.dims2()?.1;
        Ok(TeacherOutputs { hidden: flat(&outputs.hidden)?, width, scores: flat(&outputs.scores)? })
    }

    fn heads(&self, batch: &PackedBatch) -> usize {
        let entries: usize = batch.offsets.windows(2).map(|w| (w[1] - w[0]).pow(2)).sum();
        self.scores.first().map_or(0, |scores| scores.len() / entries.max(1))
    }

    fn tokens(&self, output: usize, start: usize, count: usize) -> &[f32] {
        &self.hidden[output][start * self.width..][..count * self.width]
    }

    fn scores(&self, layer: usize, sequence: &Sequence) -> &[f32] {
        let Sequence { length, entries, heads, .. } = *sequence;
        &self.scores[layer][heads * entries..][..heads * length * length]
    }

    /// Attention of the first token to each token (L), summed over the heads.
    fn attention_of_first(&self, layer: usize, sequence: &Sequence) -> Vec<f64> {
        let length = sequence.length;
        let mut attention = vec![0.0; length];
        for head in self.scores(layer, sequence).chunks_exact(length * length) {
            let scores = &head[..length];
            let max = scores.iter().copied().fold(f32::MIN, f32::max);
            let exp: Vec<f64> = scores.iter().map(|s| f64::from(s - max).exp()).collect();
            let sum: f64 = exp.iter().sum();
            for (total, e) in attention.iter_mut().zip(exp) {
                *total += e / sum;
            }
        }
        attention
    }
}

/// The `most` tokens of the largest attention, in the order of the text; the earlier of two equals.
fn most_attended(attention: &[f64], kept: impl Fn(usize) -> bool, most: usize) -> Vec<usize> {
    let mut tokens: Vec<usize> = (0..attention.len()).filter(|&token| kept(token)).collect();
    tokens.sort_by(|&a, &b| attention[b].total_cmp(&attention[a]).then(a.cmp(&b)));
    tokens.truncate(most);
    tokens.sort_unstable();
    tokens
}

/// The share `width` of `elements`, at least one.
fn kept_count(elements: usize, width: f64) -> usize {
    ((elements as f64 * width).round() as usize).clamp(elements.min(1), elements)
}

fn put(record: &mut Vec<u8>, values: &[f32]) {
    record.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

/// A count of tokens (u8), their positions (u16), a bit per element, and the kept ones (f16).
fn put_kept(record: &mut Vec<u8>, tokens: &[usize], values: &[f32], width: f64) {
    record.push(tokens.len() as u8);
    record.extend(tokens.iter().flat_map(|&token| (token as u16).to_le_bytes()));
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].abs().total_cmp(&values[a].abs()).then(a.cmp(&b)));
    order.truncate(kept_count(values.len(), width));
    order.sort_unstable();
    let mut bits = vec![0u8; values.len().div_ceil(8)];
    order.iter().for_each(|&i| bits[i / 8] |= 1 << (i % 8));
    record.extend(bits);
    record.extend(order.iter().flat_map(|&i| f16::from_f32(values[i]).to_le_bytes()));
}

/// Reads the same part of every record in turn.
struct Reader<'a> {
    records: &'a [Vec<u8>],
    at: Vec<usize>,
}

impl Reader<'_> {
    fn take(&mut self, record: usize, count: usize) -> Result<&[u8]> {
        let at = self.at[record];
        self.at[record] += count;
        self.records[record].get(at..at + count).context("a record of hidden states is too short")
    }

    /// `count(record)` floats of every record, one after the other.
    fn floats(&mut self, count: impl Fn(usize) -> usize) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        for record in 0..self.records.len() {
            let bytes = self.take(record, 4 * count(record))?;
            all.extend(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
        }
        Ok(all)
    }

    /// Kept tokens as rows of the packed batch, and their elements, zero where not kept.
    fn kept(
        &mut self,
        offsets: &[usize],
        hidden_size: usize,
        width: f64,
    ) -> Result<(Vec<u32>, Vec<f32>)> {
        let (mut rows, mut values) = (Vec::new(), Vec::new());
        for (record, start) in (0..self.records.len()).zip(offsets) {
            let count = usize::from(self.take(record, 1)?[0]);
            let positions = self.take(record, 2 * count)?.chunks_exact(2);
            let start = *start as u32;
            rows.extend(positions.map(|b| start + u32::from(u16::from_le_bytes([b[0], b[1]]))));
            let elements = count * hidden_size;
            let bits = self.take(record, elements.div_ceil(8))?.to_vec();
            let kept = self.take(record, 2 * kept_count(elements, width))?;
            let mut kept = kept.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32());
            values.extend((0..elements).map(|i| match (bits[i / 8] >> (i % 8)) & 1 {
                1 => kept.next().unwrap_or(0.0),
                _ => 0.0,
            }));
        }
        let end = offsets.last().copied().unwrap_or(0) as u32;
        ensure!(rows.iter().all(|row| *row < end), "a record of hidden states is of another text");
        Ok((rows, values))
    }

    fn finish(&self) -> Result<()> {
        let read = self.records.iter().zip(&self.at).all(|(record, at)| record.len() == *at);
        ensure!(read, "a record of hidden states is too long");
        Ok(())
    }
}

/// Bytes of every output and every layer's scores, for texts of `lengths` tokens.
pub fn bytes_of_everything(lengths: &[usize], shape: Shape) -> u64 {
    let Shape { layers, hidden, heads, .. } = shape;
    let all = Selection::Tokens { hidden: (0..=layers).collect(), scores: (0..layers).collect() };
    // Texts of equal length have equal size.
    let mut counts = BTreeMap::new();
    lengths.iter().for_each(|length| *counts.entry(*length).or_insert(0u64) += 1);
    counts.iter().map(|(length, count)| count * all.bytes(*length, hidden, heads) as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIDDEN: usize = 4;
    const HEADS: usize = 2;

    /// Sequences of three and two tokens; hidden states count up from 0 at each output.
    fn batch() -> PackedBatch {
        PackedBatch {
            input_ids: vec![2, 7, 3, 2, 3],
            token_type_ids: vec![0; 5],
            offsets: vec![0, 3, 5],
        }
    }

    fn outputs() -> Outputs {
        let hidden = |from: usize| {
            let values: Vec<f32> = (0..5 * HIDDEN).map(|i| (from + i) as f32).collect();
            Tensor::from_vec(values, (5, HIDDEN), &Device::Cpu).unwrap()
        };
        let scores: Vec<f32> = (0..HEADS * (9 + 4)).map(|i| i as f32 / 10.0).collect();
        let scores = Tensor::from_vec(scores, HEADS * 13, &Device::Cpu).unwrap();
        Outputs { logits: hidden(0), hidden: vec![hidden(0), hidden(100)], scores: vec![scores] }
    }

    fn flat(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn round_trip(selection: &Selection) -> (Vec<Vec<u8>>, States) {
        let records = selection.records(&outputs(), &batch()).unwrap();
        let states = selection.states(&records, &batch(), HIDDEN, HEADS).unwrap();
        for (record, length) in records.iter().zip([3, 2]) {
            assert_eq!(record.len(), selection.bytes(length, HIDDEN, HEADS));
        }
        (records, states)
    }

    #[test]
    fn all_tokens_come_back_as_they_were() {
        let selection = Selection::Tokens { hidden: vec![1], scores: vec![0] };
        let (_, states) = round_trip(&selection);
        assert_eq!(flat(&states.hidden[0]), flat(&outputs().hidden[1]));
        assert_eq!(flat(&states.scores[0]), flat(&outputs().scores[0]));
    }

    #[test]
    fn first_tokens_are_the_first_of_each_sequence() {
        let (_, states) = round_trip(&Selection::First { hidden: vec![0] });
        // Rows 0 and 3 of the packed batch.
        assert_eq!(flat(&states.hidden[0]), [0., 1., 2., 3., 12., 13., 14., 15.]);
    }

    fn kept(length: usize, width: f64) -> Selection {
        Selection::Kept { hidden: vec![1], length, width, without: vec![3] }
    }

    #[test]
    fn the_most_attended_tokens_are_kept_and_never_the_separator() {
        // Scores rise from key to key, so that the last token but [SEP] is attended to most.
        let (_, states) = round_trip(&kept(1, 1.0));
        assert_eq!(states.rows[0], [1, 3]);
        assert_eq!(flat(&states.hidden[0]), [104., 105., 106., 107., 112., 113., 114., 115.]);
    }

    #[test]
    fn smaller_elements_are_zero() {
        let (records, states) = round_trip(&kept(1, 0.5));
        assert_eq!(flat(&states.hidden[0]), [0., 0., 106., 107., 0., 0., 114., 115.]);
        // A count, a position, four bits, two values.
        assert_eq!(records[0].len(), 1 + 2 + 1 + 4);
    }

    #[test]
    fn a_record_of_another_length_is_refused() {
        let selection = Selection::First { hidden: vec![0] };
        let records = selection.records(&outputs(), &batch()).unwrap();
        let cut: Vec<Vec<u8>> = records.iter().map(|r| r[1..].to_vec()).collect();
        assert!(selection.states(&cut, &batch(), HIDDEN, HEADS).is_err());
        let long: Vec<Vec<u8>> = records.iter().map(|r| [r.as_slice(), &[0]].concat()).collect();
        assert!(selection.states(&long, &batch(), HIDDEN, HEADS).is_err());
    }

    #[test]
    fn everything_is_counted_in_f32() {
        let shape = Shape { layers: 2, hidden: 4, heads: 2, positions: 9 };
        // Three outputs of 3·4 elements and two layers of 2·3² scores, twice, four bytes each.
        assert_eq!(bytes_of_everything(&[3, 3], shape), 2 * 4 * (3 * 12 + 2 * 18));
    }
}
