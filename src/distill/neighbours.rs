//! The nearest texts of a corpus for each text of a training set, in the teacher's space.
//!
//! Their distance is the angle between the teacher's last [CLS] vectors, as a share of 180 degrees
//! (Kamalloo et al. 2021, arXiv:2105.13608).

use std::collections::HashMap;
use std::path::Path;

use anyhow::{ensure, Context, Result};
use rayon::prelude::*;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::signals::{batches, TeacherModel};
use crate::checkpoint::TokenizedExample;
use crate::error::failure;
use crate::interrupt::Interrupt;
use crate::model::kernels::{self, Activation, LinearView, View};
use crate::model::{Mode, PackedBatch, Wanted};
use crate::temporary::write_whole;

/// Which neighbours are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NeighbourSearch {
    /// The most of each text.
    pub count: usize,
    /// The largest angle, as a share of 180 degrees.
    pub radius: f64,
}

/// A text of the corpus near one of the training set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    /// Its row in the corpus.
    pub row: u32,
    /// The angle, as a share of 180 degrees.
    pub distance: f64,
}

/// What decides the neighbours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IndexHeader {
    pub search: NeighbourSearch,
    /// SHA-256 of the teacher's weights.
    pub teacher_sha256: String,
    /// SHA-256 of its config.json.
    pub config_sha256: String,
    /// SHA-256 of the teacher's tokens of the training texts.
    pub tokens_sha256: String,
    /// SHA-256 of those of the corpus.
    pub corpus_sha256: String,
    /// Number of training texts.
    pub examples: usize,
    /// Number of texts of the corpus.
    pub corpus: usize,
}

/// The teacher's last [CLS] vectors of `tokens`, each of length 1 (N, H).
///
/// # Errors
/// An interrupt, an error of candle.
pub fn vectors(
    teacher: &TeacherModel,
    tokens: &[TokenizedExample],
    interrupt: &Interrupt,
) -> Result<Vec<f32>> {
    let mut vectors = Vec::new();
    for rows in batches(tokens) {
        interrupt.check(|| "looking for neighbours in the corpus".to_owned())?;
        let batch = PackedBatch::new(rows.iter().map(|&row| &tokens[row as usize]));
        let wanted = Wanted { hidden: true, ..Wanted::default() };
        let outputs = teacher.model.outputs(&batch, wanted, Mode::Eval)?;
        let last = outputs.hidden.last().context("the teacher has no hidden states")?;
        let last = last.to_vec2::<f32>()?;
        for first in batch.first_tokens() {
            let vector = &last[first as usize];
            let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            vectors.extend(vector.iter().map(|x| (f64::from(*x) / length) as f32));
        }
    }
    Ok(vectors)
}

/// Training texts that are compared with a part of the corpus at a time.
const ROWS: usize = 64;

/// More than cos(π·acos(c)/π) differs from c.
const MARGIN: f64 = 1e-5;

/// A search for the neighbours of texts, over one part of the corpus after the other.
pub struct Nearest<'a> {
    texts: &'a [f32],
    width: usize,
    search: NeighbourSearch,
    /// Row and cosine of the nearest so far, nearest first (N).
    found: Vec<Vec<(u32, f32)>>,
    /// Texts of the corpus so far.
    rows: usize,
}

impl<'a> Nearest<'a> {
    /// A search for the neighbours of `texts` (N, H), vectors of length 1.
    pub fn new(texts: &'a [f32], width: usize, search: NeighbourSearch) -> Self {
        Nearest { texts, width, search, found: vec![Vec::new(); texts.len() / width], rows: 0 }
    }

    /// Compares the texts with the next part of the corpus, `part` (P, H). A vector that equals the
    /// text's is of the same text, and no neighbour.
    pub fn add(&mut self, part: &[f32]) {
        let (width, count, search, first) =
            (self.width, part.len() / self.width, self.search, self.rows as u32);
        let mut columns = vec![0.0; part.len()]; // (H, P)
        for (row, vector) in part.chunks_exact(width).enumerate() {
            vector.iter().enumerate().for_each(|(i, x)| columns[i * count + row] = *x);
        }
        let bias = vec![0.0; count];
        let pieces = self.found.par_chunks_mut(ROWS).zip(self.texts.par_chunks(ROWS * width));
        pieces.for_each_init(Vec::new, |panel, (found, texts)| {
            let weight = View { data: &columns, stride: count };
            let mut cosines = vec![0.0; found.len() * count];
            let layer = LinearView { weight, bias: &bias };
            kernels::linear(texts, layer, Activation::Identity, panel, &mut cosines);
            let rows = cosines.chunks_exact(count).zip(texts.chunks_exact(width));
            for (found, (cosines, text)) in found.iter_mut().zip(rows) {
                for (i, cosine) in cosines.iter().enumerate() {
                    let is_near = *cosine >= least(found, search);
                    if is_near && &part[i * width..][..width] != text {
                        keep(found, (first + i as u32, *cosine), search);
                    }
                }
            }
        });
        self.rows += count;
    }

    /// The neighbours of each text, nearest first, and the earlier of two equals (N).
    pub fn finish(self) -> Vec<Vec<Neighbour>> {
        let neighbour = |(row, cosine)| Neighbour { row, distance: angle(cosine) };
        let of_one = |found: Vec<_>| found.into_iter().map(neighbour).collect();
        self.found.into_iter().map(of_one).collect()
    }
}

/// acos(`cosine`)/π.
fn angle(cosine: f32) -> f64 {
    f64::from(cosine).clamp(-1.0, 1.0).acos() / std::f64::consts::PI
}

/// A cosine below which no text is added.
fn least(found: &[(u32, f32)], search: NeighbourSearch) -> f32 {
    let of_radius = ((search.radius * std::f64::consts::PI).cos() - MARGIN) as f32;
    match found.last() {
        Some((_, last)) if found.len() == search.count => last.max(of_radius),
        _ => of_radius,
    }
}

/// Adds `new` to the nearest ones, if it is one of them.
fn keep(found: &mut Vec<(u32, f32)>, new: (u32, f32), search: NeighbourSearch) {
    if angle(new.1) > search.radius {
        return;
    }
    let at = found.partition_point(|old| old.1 >= new.1);
    found.insert(at, new);
    found.truncate(search.count);
}

/// The metadata's key of the header.
const HEADER: &str = "header";
const ROW: &str = "rows";
const DISTANCE: &str = "distances";
/// A place without a neighbour.
const NONE: u32 = u32::MAX;

/// Writes `neighbours` to `path` with what decided them.
///
/// # Errors
/// A full disk.
pub fn write(path: &Path, header: &IndexHeader, neighbours: &[Vec<Neighbour>]) -> Result<()> {
    let (mut rows, mut distances) = (Vec::new(), Vec::new());
    for of_one in neighbours {
        for i in 0..header.search.count {
            let (row, distance) = of_one.get(i).map_or((NONE, f64::NAN), |n| (n.row, n.distance));
            rows.extend(row.to_le_bytes());
            distances.extend(distance.to_le_bytes());
        }
    }
    let shape = vec![neighbours.len(), header.search.count];
    let tensors = [
        (ROW, TensorView::new(Dtype::U32, shape.clone(), &rows)?),
        (DISTANCE, TensorView::new(Dtype::F64, shape, &distances)?),
    ];
    let metadata = HashMap::from([(HEADER.to_owned(), serde_json::to_string(header)?)]);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    }
    write_whole(path, &safetensors::serialize(tensors, Some(metadata))?)
}

/// Reads the header of the file `path`, and its neighbours.
///
/// # Errors
/// A file that cannot be read, or is not one of neighbours.
pub fn read(path: &Path) -> Result<(IndexHeader, Vec<Vec<u32>>)> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    parsed(&bytes).map_err(|error| {
        failure!("the neighbours in `{}` cannot be read: {error:#}", path.display())
            .hint("remove the file; it will be written again")
            .into()
    })
}

fn parsed(bytes: &[u8]) -> Result<(IndexHeader, Vec<Vec<u32>>)> {
    let (_, metadata) = SafeTensors::read_metadata(bytes)?;
    let header = metadata.metadata().as_ref().and_then(|metadata| metadata.get(HEADER));
    let header: IndexHeader = serde_json::from_str(header.context("it has no header")?)?;
    let file = SafeTensors::deserialize(bytes)?;
    let rows = file.tensor(ROW)?;
    let count = header.search.count;
    let is_of_header = rows.dtype() == Dtype::U32 && rows.shape() == [header.examples, count];
    ensure!(is_of_header, "its rows are not those of its header");
    let ids = rows.data().chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let ids: Vec<u32> = ids.collect();
    let exists = |id: &u32| *id == NONE || (*id as usize) < header.corpus;
    ensure!(ids.iter().all(exists), "it names a text that the corpus does not have");
    let of_one = |ids: &[u32]| ids.iter().copied().filter(|id| *id != NONE).collect();
    Ok((header, ids.chunks(count.max(1)).map(of_one).collect()))
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::distill::testing::classifier;

    const WIDTH: usize = 6;

    /// Vectors of length 1.
    fn random(n: usize, seed: u64) -> Vec<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut vectors = Vec::new();
        for _ in 0..n {
            let vector: Vec<f64> = (0..WIDTH).map(|_| random.random::<f64>() - 0.5).collect();
            let length = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
            vectors.extend(vector.iter().map(|x| (x / length) as f32));
        }
        vectors
    }

    /// Every angle, sorted.
    fn brute_force(text: &[f32], corpus: &[f32], search: NeighbourSearch) -> Vec<(u32, f64)> {
        let angle = |other: &[f32]| {
            let dot: f64 = text.iter().zip(other).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            dot.clamp(-1.0, 1.0).acos() / std::f64::consts::PI
        };
        let rows = corpus.chunks_exact(WIDTH).enumerate().filter(|(_, other)| *other != text);
        let mut all: Vec<_> = rows.map(|(row, other)| (row as u32, angle(other))).collect();
        all.retain(|(_, distance)| *distance <= search.radius);
        all.sort_by(|a, b| a.1.total_cmp(&b.1));
        all.truncate(search.count);
        all
    }

    #[test]
    fn a_text_s_vector_is_the_last_of_its_first_token() {
        let text = |ids: Vec<u32>| TokenizedExample {
            token_type_ids: vec![0; ids.len()],
            input_ids: ids,
            truncated: false,
        };
        let tokens = vec![text(vec![1, 4, 2]), text(vec![1, 5, 6, 7, 2])];
        let (model, columns) = (classifier(2, 2), vec![0, 1]);
        let teacher = TeacherModel { model, tokens: tokens.clone(), columns, dropout: None };
        let found = vectors(&teacher, &tokens, &Interrupt::default()).unwrap();
        for (text, found) in tokens.iter().zip(found.chunks_exact(4)) {
            let wanted = Wanted { hidden: true, ..Wanted::default() };
            let of_one = teacher.model.outputs(&PackedBatch::new([text]), wanted, Mode::Eval);
            let last = of_one.unwrap().hidden.pop().unwrap().to_vec2::<f32>().unwrap();
            let length = last[0].iter().map(|x| x * x).sum::<f32>().sqrt();
            for (found, expected) in found.iter().zip(&last[0]) {
                assert!((found - expected / length).abs() < 1e-6, "{found} {expected}");
            }
        }
    }

    #[test]
    fn neighbours_are_those_of_every_angle_sorted() {
        let mut corpus = random(1700, 1);
        let texts = random(ROWS + 9, 2);
        // A text of the training set in the corpus is not a neighbour of itself.
        corpus[WIDTH * 5..WIDTH * 6].copy_from_slice(&texts[..WIDTH]);
        for (count, radius) in [(8, 0.22), (3, 0.05), (4, 1.0)] {
            let search = NeighbourSearch { count, radius };
            let nearest = |part: usize| {
                let mut nearest = Nearest::new(&texts, WIDTH, search);
                corpus.chunks(part * WIDTH).for_each(|part| nearest.add(part));
                nearest.finish()
            };
            let found = nearest(1000);
            assert_eq!(found.len(), ROWS + 9);
            for (text, found) in texts.chunks_exact(WIDTH).zip(&found) {
                let expected = brute_force(text, &corpus, search);
                let rows: Vec<u32> = found.iter().map(|neighbour| neighbour.row).collect();
                assert_eq!(rows, expected.iter().map(|e| e.0).collect::<Vec<_>>());
                let mut both = found.iter().zip(&expected);
                assert!(both.all(|(n, e)| (n.distance - e.1).abs() < 1e-6));
            }
            assert!(found[0].iter().all(|neighbour| neighbour.row != 5));
            let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
            assert_eq!(pool.install(|| nearest(300)), found, "in other parts, on other threads");
        }
    }

    #[test]
    fn written_neighbours_are_read_again_and_damaged_ones_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("neighbours.safetensors");
        let search = NeighbourSearch { count: 2, radius: 0.2 };
        let named = |name: &str| name.to_owned();
        let header = IndexHeader {
            search,
            teacher_sha256: named("t"),
            config_sha256: named("c"),
            tokens_sha256: named("x"),
            corpus_sha256: named("c"),
            examples: 3,
            corpus: 8,
        };
        let of = |row: u32| Neighbour { row, distance: 0.1 };
        write(&path, &header, &[vec![of(7), of(2)], vec![], vec![of(0)]]).unwrap();
        assert_eq!(read(&path).unwrap(), (header, vec![vec![7, 2], vec![], vec![0]]));
        let whole = std::fs::read(&path).unwrap();
        let refused = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let error = crate::error::rendered(&read(&path).unwrap_err());
            assert!(
                error.contains("cannot be read") && error.contains("remove the file"),
                "{error}"
            );
        };
        // Row 7 becomes row 8 of eight.
        let mut other = whole.clone();
        let seven = whole.windows(8).rposition(|bytes| bytes == [7, 0, 0, 0, 2, 0, 0, 0]).unwrap();
        other[seven] = 8;
        refused(&other);
        for length in [0, 9, whole.len() - 1] {
            refused(&whole[..length]);
        }
    }
}
