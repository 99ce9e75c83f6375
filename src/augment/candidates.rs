//! The words of a text that may be replaced, and what may replace them.

use std::collections::HashMap;

use anyhow::{bail, Context, Result};
use rayon::prelude::*;

use super::stop_words::is_stop_word;
use super::vectors::WordVectors;
use crate::checkpoint::{Checkpoint, TextTokenizer, TokenizedExample, WordPieces};
use crate::error::failure;
use crate::interrupt::Interrupt;
use crate::model::{load_masked_lm, MaskedLm, Mode, PackedBatch};

/// Tokens that the masked language model runs at a time.
const TOKENS: usize = 4096;

/// The words of a text, some with candidates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CandidateWords {
    /// All words, as the tokenizer normalises them.
    pub words: Vec<String>,
    /// The replaceable words by their places, each with one candidate or more.
    pub candidates: Vec<(usize, Vec<String>)>,
}

/// How many words of the texts got their candidates from where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Origins {
    /// Words of one piece: from the masked language model.
    pub masked_lm: usize,
    /// Words of several pieces: from the vectors.
    pub vectors: usize,
    /// Replaceable words without candidates: they have no vector, none of the likeliest tokens is a
    /// word, or they are beyond the model's longest sequence.
    pub without: usize,
}

/// Finds candidates by a masked language model and by word vectors.
pub struct CandidateSource<'a> {
    tokenizer: &'a TextTokenizer,
    model: MaskedLm,
    vectors: &'a WordVectors,
    /// M.
    count: usize,
    special: SpecialIds,
    interrupt: &'a Interrupt,
    /// The nearest words of the words looked up so far.
    nearest: HashMap<String, Vec<String>>,
    origins: Origins,
}

#[derive(Clone, Copy)]
struct SpecialIds {
    unknown: u32,
    start: u32,
    end: u32,
    mask: u32,
}

/// A sequence with one masked word, which stands at `word` of the text number `text`.
struct MaskedSequence {
    text: usize,
    word: usize,
    /// The place of the mask.
    place: usize,
    tokens: TokenizedExample,
}

impl<'a> CandidateSource<'a> {
    /// The candidates by the masked language model of `checkpoint`, whose tokenizer is `tokenizer`.
    ///
    /// # Errors
    /// A checkpoint that is not a masked language model with a WordPiece tokenizer.
    pub fn open(
        checkpoint: &'a mut Checkpoint,
        vectors: &'a WordVectors,
        count: usize,
        interrupt: &'a Interrupt,
    ) -> Result<Self> {
        let Checkpoint { source, config, network, tokenizer, .. } = checkpoint;
        let tokenizer: &TextTokenizer = tokenizer;
        if !tokenizer.is_word_piece() {
            bail!(failure!("the tokenizer of `{source}` is not a WordPiece tokenizer").hint(
                "words are replaced one by one, which needs BERT's tokenizer; name a BERT, \
                 DistilBERT or ELECTRA generator checkpoint"
            ));
        }
        let (model, _) = load_masked_lm(config, network.weights_mut()?)?;
        let id = |token: &str| {
            let id = tokenizer.token_id(token);
            let id = id.with_context(|| format!("`{source}` has no token `{token}`"))?;
            if id as usize >= model.vocabulary() {
                bail!("`{source}` has no embedding of its token `{token}`");
            }
            Ok(id)
        };
        let special = SpecialIds {
            unknown: id("[UNK]")?,
            start: id("[CLS]")?,
            end: id("[SEP]")?,
            mask: id("[MASK]")?,
        };
        Ok(CandidateSource {
            tokenizer,
            model,
            vectors,
            count,
            special,
            interrupt,
            nearest: HashMap::new(),
            origins: Origins::default(),
        })
    }

    /// Counts over all texts so far.
    pub fn origins(&self) -> Origins {
        self.origins
    }

    /// The words and candidates of each of `texts`. A text's do not depend on the other texts.
    ///
    /// # Errors
    /// A text that the tokenizer refuses, a token without an embedding, an interrupt.
    pub fn of(&mut self, texts: &[&str]) -> Result<Vec<CandidateWords>> {
        let words: Vec<Vec<WordPieces>> =
            texts.par_iter().map(|text| self.words(text)).collect::<Result<_>>()?;
        self.look_up(&words)?;
        let mut likeliest = self.likeliest(&words)?;
        let mut texts = Vec::with_capacity(words.len());
        for (text, words) in words.into_iter().enumerate() {
            let mut candidates = Vec::new();
            for (place, word) in words.iter().enumerate().filter(|(_, w)| is_replaceable(w)) {
                let (found, origin) = match self.is_one_piece(word) {
                    true => (likeliest.remove(&(text, place)), &mut self.origins.masked_lm),
                    false => (self.nearest.get(&word.text).cloned(), &mut self.origins.vectors),
                };
                match found.filter(|found| !found.is_empty()) {
                    Some(found) => {
                        *origin += 1;
                        candidates.push((place, found));
                    }
                    None => self.origins.without += 1,
                }
            }
            let words = words.into_iter().map(|word| word.text).collect();
            texts.push(CandidateWords { words, candidates });
        }
        Ok(texts)
    }

    fn words(&self, text: &str) -> Result<Vec<WordPieces>> {
        let words = self.tokenizer.words(text)?;
        let vocabulary = self.model.vocabulary();
        let beyond = |id: &&u32| **id as usize >= vocabulary;
        match words.iter().flat_map(|word| &word.pieces).find(beyond) {
            None => Ok(words),
            Some(id) => bail!(failure!(
                "the tokenizer gives the id {id}, and the model has {vocabulary} embeddings"
            )
            .hint("use the tokenizer that the model was trained with")),
        }
    }

    fn is_one_piece(&self, word: &WordPieces) -> bool {
        word.pieces.len() == 1 && word.pieces[0] != self.special.unknown
    }

    /// Adds the nearest words of the words that no earlier text had.
    fn look_up(&mut self, texts: &[Vec<WordPieces>]) -> Result<()> {
        let mut new: Vec<&str> = texts
            .iter()
            .flatten()
            .filter(|word| is_replaceable(word) && !self.is_one_piece(word))
            .map(|word| word.text.as_str())
            .filter(|word| !self.nearest.contains_key(*word))
            .collect();
        new.sort_unstable();
        new.dedup();
        let mut nearest = self.vectors.nearest(&new, self.count)?;
        for (_, nearest) in new.iter().zip(&mut nearest).filter(|(word, _)| is_title(word)) {
            nearest.iter_mut().for_each(|other| *other = title(other));
        }
        self.nearest.extend(new.into_iter().map(str::to_owned).zip(nearest));
        Ok(())
    }

    /// The likeliest words at each replaceable word of one piece, by text and place.
    fn likeliest(&self, texts: &[Vec<WordPieces>]) -> Result<HashMap<(usize, usize), Vec<String>>> {
        let mut sequences: Vec<MaskedSequence> = Vec::new();
        for (text, words) in texts.iter().enumerate() {
            for (word, _) in
                words.iter().enumerate().filter(|(_, w)| is_replaceable(w) && self.is_one_piece(w))
            {
                sequences.extend(self.masked(text, words, word));
            }
        }
        let mut likeliest = HashMap::new();
        let mut rest = sequences.as_slice();
        while !rest.is_empty() {
            self.interrupt.check(|| "running the masked language model".to_owned())?;
            let mut tokens = 0;
            let fits = rest.iter().take_while(|sequence| {
                tokens += sequence.tokens.len();
                tokens <= TOKENS
            });
            let (batch, left) = rest.split_at(fits.count().max(1));
            rest = left;
            for (sequence, words) in batch.iter().zip(self.run(batch)?) {
                likeliest.insert((sequence.text, sequence.word), words);
            }
        }
        Ok(likeliest)
    }

    /// `[CLS] text with the word masked [SEP] text [SEP]`, the two of segments 0 and 1. What is too
    /// long for the model is cut, the second text first; `None` if the masked word would be.
    fn masked(&self, text: usize, words: &[WordPieces], word: usize) -> Option<MaskedSequence> {
        let SpecialIds { start, end, mask, .. } = self.special;
        let pieces: Vec<u32> = words.iter().flat_map(|word| word.pieces.iter().copied()).collect();
        let before: usize = words[..word].iter().map(|word| word.pieces.len()).sum();
        let room = self.model.shape().positions.checked_sub(3)?;
        let first = pieces.len().min(room);
        if before >= first {
            return None;
        }
        let second = pieces.len().min(room - first);
        let mut input_ids = vec![start];
        input_ids.extend(&pieces[..first]);
        input_ids[1 + before] = mask;
        input_ids.push(end);
        let segment = u32::from(self.model.segments().is_some());
        let mut token_type_ids = vec![0; input_ids.len()];
        input_ids.extend(&pieces[..second]);
        input_ids.push(end);
        token_type_ids.resize(input_ids.len(), segment);
        let tokens = TokenizedExample { input_ids, token_type_ids, truncated: false };
        Some(MaskedSequence { text, word, place: 1 + before, tokens })
    }

    /// The words among the M likeliest tokens at the mask of each sequence, the likeliest first.
    fn run(&self, batch: &[MaskedSequence]) -> Result<Vec<Vec<String>>> {
        let packed = PackedBatch::new(batch.iter().map(|sequence| &sequence.tokens));
        let starts = packed.first_tokens();
        let rows: Vec<u32> =
            starts.zip(batch).map(|(start, sequence)| start + sequence.place as u32).collect();
        let logits = self.model.logits(&packed, &rows, Mode::Eval)?; // (M, V)
        let words = |logits: &Vec<f32>| {
            let ids = super::largest(logits, self.count).into_iter();
            let tokens = ids.filter_map(|id| self.tokenizer.ordinary_token(id));
            // A piece that continues a word cannot replace one.
            tokens.filter(|token| !token.starts_with("##")).collect()
        };
        Ok(logits.to_vec2::<f32>()?.par_iter().map(words).collect())
    }
}

/// Whether a word may be replaced: it has the letters a to z only, in upper or lower case, and is not a
/// stop word.
fn is_replaceable(word: &WordPieces) -> bool {
    let is_letters =
        !word.text.is_empty() && word.text.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_letters && !is_stop_word(&word.text)
}

/// Whether `word` starts with its only capital, as a name does.
fn is_title(word: &str) -> bool {
    let capitals = |letters: &str| letters.bytes().filter(u8::is_ascii_uppercase).count();
    capitals(&word[..1]) == 1 && capitals(&word[1..]) == 0
}

/// `word` with a capital at the start of each run of letters, and small ones after it.
fn title(word: &str) -> String {
    let mut in_word = false;
    let letter = |c: char| {
        let goes_on = std::mem::replace(&mut in_word, c.is_alphabetic());
        if in_word && !goes_on {
            c.to_uppercase().collect::<String>()
        } else {
            c.to_lowercase().collect()
        }
    };
    word.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_may_be_capital_and_has_letters_alone() {
        let may =
            |text: &str| is_replaceable(&WordPieces { text: text.to_owned(), pieces: vec![7] });
        assert!(["film", "Film", "NASA", "who"].into_iter().all(may));
        assert!(!["", "3", "well-acted", "caf\u{e9}", "The", "it"].into_iter().any(may));
    }

    #[test]
    fn names_get_names() {
        assert!(is_title("Film") && is_title("F") && !is_title("film") && !is_title("NASA"));
        assert_eq!(title("o'neil-smith 3rd NASA"), "O'Neil-Smith 3Rd Nasa");
        assert_eq!(title(""), "");
    }
}
