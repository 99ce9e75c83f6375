//! Word vectors in the text formats of GloVe and word2vec, and the nearest words of a word.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};

use anyhow::{bail, Context, Result};
use candle_core::{Device, Tensor};

use crate::error::{Diagnostic, FileLocation};
use crate::input::InputFile;
use crate::interrupt::Interrupt;
use crate::model::ops;

/// VectorRows of a file that are read. Files of vectors list their words by falling frequency.
pub const MOST_ROWS: usize = 100_000;
/// Maximum bytes of a line.
const LONGEST_LINE: u64 = 1 << 16;
/// Lines from one look at the interrupt to the next.
const LINES: usize = 1_000;
/// Words whose neighbours are found together.
const WORDS: usize = 64;

/// The first [`MOST_ROWS`] words of a file, each with a vector of length 1.
pub struct WordVectors {
    words: Vec<String>,
    rows: HashMap<String, u32>,
    table: Tensor, // (R, D)
}

impl WordVectors {
    /// Reads lines of a word and its values, separated by single spaces, after an optional first line
    /// with the numbers of words and values (word2vec). A word may hold spaces itself. Of two rows of
    /// one word the first counts.
    ///
    /// # Errors
    /// A line without a word or with another number of values than the first, a value that is not a
    /// finite number, a line that is too long or not UTF-8, each with file and line; an interrupt.
    pub fn read(input: &InputFile, interrupt: &Interrupt) -> Result<Self> {
        let cannot = || format!("cannot read `{}`", input.name());
        let mut reader = BufReader::new(input.reader().with_context(cannot)?);
        let mut rows = VectorRows::default();
        let mut bytes = Vec::new();
        for number in 1.. {
            if number % LINES == 0 {
                interrupt.check(|| format!("reading `{}`", input.name()))?;
            }
            bytes.clear();
            let read = (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut bytes);
            if read.with_context(cannot)? == 0 || rows.words.len() == MOST_ROWS {
                break;
            }
            rows.line(number, &bytes).map_err(|wrong| {
                let file = input.name().to_owned();
                wrong.at(FileLocation { file, line: Some(number), ..FileLocation::default() })
            })?;
        }
        if rows.words.is_empty() {
            bail!("`{}` holds no word vector", input.name());
        }
        rows.finish()
    }

    /// VectorRows.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether it has no rows; [`WordVectors::read`] refuses such a file.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// D, the values of each vector.
    pub fn dimensions(&self) -> usize {
        self.table.dims()[1]
    }

    /// The `count` nearest words of each of `words` by the cosine, the nearest first, without the word
    /// itself; none for a word without a vector. Equally near words are in the file's order.
    ///
    /// # Errors
    /// An error of candle.
    pub fn nearest(&self, words: &[&str], count: usize) -> Result<Vec<Vec<String>>> {
        let mut nearest = vec![Vec::new(); words.len()];
        let row = |(i, word): (usize, &&str)| Some((i, *self.rows.get(*word)?));
        let known: Vec<(usize, u32)> = words.iter().enumerate().filter_map(row).collect();
        let no_bias = Tensor::zeros(self.len(), self.table.dtype(), &Device::Cpu)?;
        for known in known.chunks(WORDS) {
            let rows = known.iter().map(|(_, row)| *row).collect();
            let own = ops::embed(&self.table, rows)?; // (W, D)
            let cosines = ops::decode(&own, &self.table, &no_bias)?; // (W, R)
            for ((i, row), cosines) in known.iter().zip(cosines.to_vec2::<f32>()?) {
                let others = super::largest(&cosines, count + 1).into_iter();
                let others = others.filter(|other| other != row).take(count);
                nearest[*i] = others.map(|other| self.words[other as usize].clone()).collect();
            }
        }
        Ok(nearest)
    }
}

/// The rows read so far.
#[derive(Default)]
struct VectorRows {
    words: Vec<String>,
    index: HashMap<String, u32>,
    values: Vec<f32>, // (R, D)
    /// D, once it is known.
    dimensions: Option<usize>,
}

impl VectorRows {
    fn line(&mut self, number: usize, bytes: &[u8]) -> Result<(), Diagnostic> {
        if bytes.len() as u64 == LONGEST_LINE && !bytes.ends_with(b"\n") {
            return Err(wrong(format!("it is longer than {LONGEST_LINE} bytes")));
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|error| wrong(format!("byte {} is not UTF-8", error.valid_up_to() + 1)))?
            .trim_end_matches(['\n', '\r', ' ', '\t']);
        if number == 1 {
            if let Some(dimensions) = header(text) {
                self.dimensions = Some(dimensions);
                return Ok(());
            }
        }
        let fields: Vec<&str> = text.split([' ', '\t']).collect();
        let dimensions = *self.dimensions.get_or_insert(fields.len() - 1);
        if dimensions < 2 {
            return Err(wrong("it is not a word and two values or more"));
        }
        if fields.len() <= dimensions {
            let found = fields.len().saturating_sub(1);
            return Err(wrong(format!(
                "it has {found} values, and the file's vectors {dimensions}"
            )));
        }
        let (word, values) = fields.split_at(fields.len() - dimensions);
        let word = word.join(" ");
        if word.is_empty() {
            return Err(wrong("it has no word"));
        }
        let vector = values.iter().map(|value| number_of(value)).collect::<Result<Vec<_>, _>>()?;
        if !self.index.contains_key(&word) {
            self.index.insert(word.clone(), self.words.len() as u32);
            self.words.push(word);
            self.values.extend(unit(vector));
        }
        Ok(())
    }

    fn finish(self) -> Result<WordVectors> {
        let VectorRows { words, mut index, values, dimensions } = self;
        let dimensions = dimensions.unwrap_or_default();
        // A word without a direction has no neighbours.
        index.retain(|_, row| {
            let vector = &values[*row as usize * dimensions..][..dimensions];
            vector.iter().any(|value| *value != 0.0)
        });
        let table = Tensor::from_vec(values, (words.len(), dimensions), &Device::Cpu)?;
        Ok(WordVectors { words, rows: index, table })
    }
}

/// D of word2vec's first line, the numbers of words and of values.
fn header(text: &str) -> Option<usize> {
    let (words, values) = text.split_once([' ', '\t'])?;
    words.parse::<usize>().ok()?;
    values.parse().ok()
}

fn number_of(value: &str) -> Result<f32, Diagnostic> {
    let number = value.parse::<f32>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| wrong(format!("`{value}` is not a finite number")))
}

/// The vector of length 1 in the same direction; zeros stay zeros.
fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
    }
    vector
}

fn wrong(what: impl Into<String>) -> Diagnostic {
    Diagnostic::failure(what).hint(
        "a line is a word and its values with single spaces between, as GloVe and word2vec's text \
         format have it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::rendered;

    fn read(text: impl AsRef<[u8]>) -> Result<WordVectors> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vectors.txt");
        std::fs::write(&path, text).unwrap();
        WordVectors::read(&InputFile::open(&path).unwrap(), &Interrupt::default())
    }

    fn nearest(vectors: &WordVectors, word: &str) -> Vec<String> {
        vectors.nearest(&[word], 2).unwrap().remove(0)
    }

    const FILM: &str = "film 1 0\nmovie 2 0.2\nplot 0 3\n. . . 1 1\nnothing 0 0\n";

    #[test]
    fn neighbours_are_by_the_cosine_in_both_formats() {
        // Cosines with film: movie 0.995, `. . .` 0.707, plot 0.
        for text in [FILM.to_owned(), format!("5 2\n{}", FILM.replace('\n', " \r\n"))] {
            let vectors = read(text).unwrap();
            assert_eq!((vectors.len(), vectors.dimensions()), (5, 2));
            assert_eq!(nearest(&vectors, "film"), ["movie", ". . ."]);
            assert_eq!(nearest(&vectors, ". . ."), ["movie", "film"]);
            assert!(nearest(&vectors, "absent").is_empty());
            assert!(nearest(&vectors, "nothing").is_empty());
        }
    }

    #[test]
    fn equally_near_words_are_in_the_files_order_and_the_first_row_of_a_word_counts() {
        let vectors = read("a 1 0\nc 0 1\nb 0 2\na 0 1\n").unwrap();
        assert_eq!(vectors.len(), 3);
        assert_eq!(nearest(&vectors, "a"), ["c", "b"]);
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, line, why) in [
            ("film 1 0\nmovie 1\n", 2, "it has 1 values, and the file's vectors 2"),
            ("film 1 0\n\n", 2, "it has 0 values"),
            ("film 1 0\nmovie 1 x\n", 2, "`x` is not a finite number"),
            ("film 1 nan\n", 1, "`nan` is not a finite number"),
            ("film\n", 1, "it is not a word and two values or more"),
            ("2 2\nfilm 1 0\nmovie 1\n", 3, "it has 1 values"),
            ("film 1 0\n 1 0\n", 2, "it has no word"),
        ] {
            let error = rendered(&read(text).err().expect(text));
            assert!(error.contains(&format!("vectors.txt` line {line}: {why}")), "{error}");
        }
        let error = rendered(&read(b"film 1 0\n\xff 1 0\n").err().unwrap());
        assert!(error.contains("line 2: byte 1 is not UTF-8"), "{error}");
        let error = rendered(&read("1 ".repeat(1 << 16)).err().unwrap());
        assert!(error.contains("line 1: it is longer than 65536 bytes"), "{error}");
        assert!(rendered(&read("").err().unwrap()).contains("holds no word vector"));
    }
}
