//! A checkpoint's tokenizer: `tokenizer.json`, or the vocabulary files of older checkpoints.

mod agreement;
mod charsmap;
mod conventions;
mod limits;
mod stages;
#[cfg(test)]
mod tests; //   every case of transformers' tokenizers
mod words;

use std::collections::BTreeMap;

use anyhow::{anyhow, bail, Context, Result};
use serde_json::Value;
use tokenizers::models::bpe::{Vocab, BPE};
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{
    AddedToken, NormalizerWrapper, PostProcessor, PreTokenizerWrapper, TruncationParams,
};

use self::conventions::Conventions;
use self::stages::BoundedTokenizer;
pub use self::words::WordPieces;
use super::{CheckpointFiles, ModelConfig, TokenizedExample};
use crate::error::{failure, guarded, usage, Diagnostic, FileLocation};
use crate::input::SmallFile;

/// Whether a vocab.txt without a tokenizer.json is read as cased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Casing {
    /// From tokenizer_config.json; without it, a vocabulary without capital letters is uncased.
    #[default]
    Auto,
    /// Text keeps its case and its accents.
    Cased,
    /// Text is lower-cased and loses its accents.
    Uncased,
}

/// The files in which transformers stores a tokenizer; a checkpoint has some of them.
pub(super) const NAMES: [&str; 10] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
];

/// The files that a tokenizer is read from.
pub(super) enum TokenizerFiles {
    Json { tokenizer: SmallFile, config: Option<SmallFile> },
    WordPiece { vocabulary: SmallFile, config: Option<SmallFile> },
    ByteLevelBpe { vocabulary: SmallFile, merges: SmallFile, config: Option<SmallFile> },
}

impl TokenizerFiles {
    /// All of them, in a fixed order.
    pub(super) fn all(&self) -> impl Iterator<Item = &SmallFile> {
        let (main, other) = match self {
            TokenizerFiles::Json { tokenizer: main, .. }
            | TokenizerFiles::WordPiece { vocabulary: main, .. } => (main, None),
            TokenizerFiles::ByteLevelBpe { vocabulary, merges, .. } => (vocabulary, Some(merges)),
        };
        std::iter::once(main).chain(other).chain(self.config())
    }

    /// tokenizer_config.json.
    fn config(&self) -> Option<&SmallFile> {
        match self {
            TokenizerFiles::Json { config, .. }
            | TokenizerFiles::WordPiece { config, .. }
            | TokenizerFiles::ByteLevelBpe { config, .. } => config.as_ref(),
        }
    }
}

/// Finds the tokenizer's files.
pub(super) fn files(place: &CheckpointFiles, config: &ModelConfig) -> Result<TokenizerFiles> {
    let recorded = || place.small("tokenizer_config.json");
    if let Some(tokenizer) = place.small("tokenizer.json")? {
        return Ok(TokenizerFiles::Json { tokenizer, config: recorded()? });
    }
    if let Some(vocabulary) = place.small("vocab.txt")? {
        return Ok(TokenizerFiles::WordPiece { vocabulary, config: recorded()? });
    }
    if let (Some(vocabulary), Some(merges)) =
        (place.small("vocab.json")?, place.small("merges.txt")?)
    {
        return Ok(TokenizerFiles::ByteLevelBpe { vocabulary, merges, config: recorded()? });
    }
    bail!(failure!(
        "`{}` holds no tokenizer this program can read (a {} model)",
        place.name(),
        config.text("model_type")?.unwrap_or("bert")
    )
    .hint(
        "it needs tokenizer.json, vocab.txt, or vocab.json with merges.txt; a SentencePiece model \
         is turned into tokenizer.json by saving the fast tokenizer of transformers",
    ))
}

/// Turns text into token ids, special tokens included, without padding.
pub struct TextTokenizer {
    inner: BoundedTokenizer,
    conventions: Conventions,
    /// Its first file, for messages.
    name: String,
    max_length: usize,
}

impl TextTokenizer {
    /// The tokenizer of the checkpoint with the config.json `model`.
    ///
    /// # Errors
    /// A file that is not a tokenizer, or is beyond the limits of [`limits`].
    pub(super) fn open(
        files: &TokenizerFiles,
        model: &ModelConfig,
        casing: Casing,
    ) -> Result<Self> {
        let first = files.all().next().expect("a tokenizer has a file");
        let name = first.input.name().to_owned();
        guarded(|| part_of(&name), || Self::unguarded(files, model, casing, name.clone()))
    }

    fn unguarded(
        files: &TokenizerFiles,
        model: &ModelConfig,
        casing: Casing,
        name: String,
    ) -> Result<Self> {
        let config = files.config().map(ModelConfig::parse).transpose()?;
        let config = config.as_ref();
        let mut truncation = None;
        let mut inner = match files {
            TokenizerFiles::Json { tokenizer, .. } => {
                let class = conventions::class_of(config, model)?;
                let (tokenizer, own) = from_json(tokenizer, config, class)?;
                truncation = own;
                tokenizer
            }
            TokenizerFiles::WordPiece { vocabulary, .. } => word_piece(vocabulary, config, casing)?,
            TokenizerFiles::ByteLevelBpe { vocabulary, merges, .. } => {
                byte_level_bpe(vocabulary, merges, config)?
            }
        };
        // A saved tokenizer may have the padding and the truncation of its training.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|e| anyhow!("{e}"))?;
        let conventions = Conventions::read(config, model, truncation.as_ref())?;
        Ok(TextTokenizer { inner, conventions, name, max_length: usize::MAX })
    }

    /// The tokenizer's class in transformers, without `Fast`.
    pub fn class(&self) -> &str {
        &self.conventions.class
    }

    /// Whether it returns token types; else all are 0.
    pub fn returns_token_types(&self) -> bool {
        self.conventions.returns_token_types
    }

    /// `model_max_length` of tokenizer_config.json, if there is a limit; it may be below 1.
    pub fn model_max_length(&self) -> Option<i64> {
        self.conventions.longest
    }

    /// The id of the token that masks others, in BERT's or RoBERTa's spelling.
    pub fn mask_token(&self) -> Option<u32> {
        ["[MASK]", "<mask>"].iter().find_map(|token| self.inner.token_to_id(token))
    }

    /// Cuts sequences at `tokens`, special tokens included, the longer text of a pair first.
    ///
    /// # Errors
    /// A length that leaves no room for text between the special tokens.
    pub fn set_max_length(&mut self, tokens: usize) -> Result<()> {
        let direction = self.conventions.direction;
        let params = TruncationParams { max_length: tokens, direction, ..Default::default() };
        // A pair has the more special tokens: four in RoBERTa.
        if tokens < 8 {
            bail!(usage!("a maximum length of {tokens} tokens leaves no room for text")
                .hint("use 8 or more"));
        }
        let needed = self.shortest_length();
        if tokens < needed {
            bail!(failure!(
                "`{}` adds {} special tokens to a pair of texts, and the maximum length is {tokens}: \
                 there is no room for text",
                self.name,
                needed - 2
            )
            .hint(
                "its `post_processor` is not the model's; use the tokenizer that the model was \
                 trained with"
            ));
        }
        self.inner.with_truncation(Some(params)).map_err(|e| anyhow!("{e}"))?;
        self.max_length = tokens;
        Ok(())
    }

    /// The least maximum length with room for a token of either text of a pair.
    pub fn shortest_length(&self) -> usize {
        let added = |pair| self.inner.get_post_processor().map_or(0, |p| p.added_tokens(pair));
        added(true).max(added(false)).saturating_add(2)
    }

    /// The maximum length in tokens.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// Tokenises one text or one pair.
    ///
    /// # Errors
    /// A text that the tokenizer cannot encode, or makes too long.
    pub fn encode(&self, text: &str, pair: Option<&str>) -> Result<TokenizedExample> {
        let encoding = guarded(
            || part_of(&self.name),
            || {
                stages::take_refusal();
                let encoding = match pair {
                    Some(pair) => self.inner.encode_fast((text, pair), true),
                    None => self.inner.encode_fast(text, true),
                };
                if let Some(reason) = stages::take_refusal() {
                    bail!(limits::refused(&self.name, &reason));
                }
                encoding.map_err(|e| anyhow!("{e}")).context("cannot tokenise")
            },
        )?;
        let token_type_ids = match self.returns_token_types() {
            true => encoding.get_type_ids().to_vec(),
            false => vec![0; encoding.len()],
        };
        let tokens = TokenizedExample {
            input_ids: encoding.get_ids().to_vec(),
            token_type_ids,
            truncated: !encoding.get_overflowing().is_empty(),
        };
        if tokens.len() > self.max_length || tokens.token_type_ids.len() != tokens.len() {
            let most = self.max_length;
            let reason = format!("it makes {} tokens of it at a length of {most}", tokens.len());
            bail!(limits::refused(&self.name, &reason));
        }
        Ok(tokens)
    }
}

/// The tokenizer in messages.
fn part_of(name: &str) -> String {
    format!("the tokenizer in `{name}`")
}

/// Reads tokenizer.json, which must agree with tokenizer_config.json and the tokenizer's class. Also
/// returns its own truncation.
fn from_json(
    file: &SmallFile,
    recorded: Option<&ModelConfig>,
    class: &str,
) -> Result<(BoundedTokenizer, Option<Value>)> {
    let wrong = |e| anyhow!("`{}` is not a tokenizer: {e}", file.input.name());
    let keys = serde_json::from_slice(&file.bytes).map_err(wrong)?;
    let parts = ModelConfig::of(file.path(), keys);
    limits::check(parts.keys(), &|key, why| parts.error(key, why))?;
    stages::take_refusal(); // of an earlier tokenizer on this thread
    let tokenizer = serde_json::from_slice(&file.bytes);
    if let Some(reason) = stages::take_refusal() {
        bail!("`{}` cannot normalise its own added tokens: {reason}", file.input.name());
    }
    let tokenizer: BoundedTokenizer = tokenizer.map_err(wrong)?;
    agreement::check(&parts, recorded, class)?;
    Ok((tokenizer, parts.keys().get("truncation").cloned()))
}

/// BERT's tokenizer from vocab.txt alone.
fn word_piece(
    vocabulary: &SmallFile,
    recorded: Option<&ModelConfig>,
    casing: Casing,
) -> Result<BoundedTokenizer> {
    let name = vocabulary.input.name();
    let vocab = WordPiece::read_bytes(&vocabulary.bytes)
        .map_err(|e| anyhow!("cannot read `{name}`: {e}"))?;
    let special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"];
    let id = |token: &str| {
        let found = vocab.get(token).copied();
        found.with_context(|| format!("`{name}` has no token `{token}`"))
    };
    let processor =
        BertProcessing::new(("[SEP]".to_owned(), id("[SEP]")?), ("[CLS]".to_owned(), id("[CLS]")?));
    id("[UNK]")?;
    let flag = |key: &str| recorded?.keys().get(key)?.as_bool();
    let lower_case = match (casing, flag("do_lower_case")) {
        (Casing::Cased, _) => false,
        (Casing::Uncased, _) => true,
        (Casing::Auto, Some(lower_case)) => lower_case,
        (Casing::Auto, None) if !has_capitals(vocab.keys()) => true,
        (Casing::Auto, None) => {
            bail!(failure!(
                "`{name}` has tokens with capital letters, and no file records whether text is \
                     lower-cased"
            )
            .hint("pass --cased or --uncased, or add a tokenizer.json to the checkpoint"))
        }
    };
    let tokens: Vec<_> = special
        .iter()
        .filter(|t| vocab.contains_key(**t))
        .map(|t| AddedToken::from(*t, true))
        .collect();
    let model = WordPiece::builder().vocab(vocab).unk_token("[UNK]".to_owned()).build();
    let mut tokenizer = BoundedTokenizer::new(model.map_err(|e| anyhow!("{e}"))?.into());
    let chinese = flag("tokenize_chinese_chars").unwrap_or(true);
    tokenizer
        .with_normalizer(Some(NormalizerWrapper::from(BertNormalizer::new(
            true,
            chinese,
            flag("strip_accents"),
            lower_case,
        ))))
        .map_err(|e| anyhow!("{e}"))?
        .with_pre_tokenizer(Some(PreTokenizerWrapper::from(BertPreTokenizer)))
        .with_post_processor(Some(processor));
    let _ = tokenizer.add_special_tokens(tokens).map_err(|e| anyhow!("{e}"))?;
    Ok(tokenizer)
}

/// Whether any token other than the special ones has a capital letter.
fn has_capitals<'a>(mut tokens: impl Iterator<Item = &'a String>) -> bool {
    tokens.any(|t| !t.starts_with('[') && t.chars().any(char::is_uppercase))
}

/// RoBERTa's tokenizer from vocab.json and merges.txt.
fn byte_level_bpe(
    vocabulary: &SmallFile,
    merges: &SmallFile,
    recorded: Option<&ModelConfig>,
) -> Result<BoundedTokenizer> {
    let name = vocabulary.input.name();
    let ids: BTreeMap<String, u32> = serde_json::from_slice(&vocabulary.bytes)
        .map_err(|e| anyhow!("`{name}` is not a vocabulary: {e}"))?;
    let model = BPE::builder()
        .vocab_and_merges(ids.into_iter().collect::<Vocab>(), pairs(merges)?)
        .build()
        .map_err(|e| anyhow!("cannot read `{name}` with `{}`: {e}", merges.input.name()))?;
    let mut tokenizer = BoundedTokenizer::new(model.into());
    let id = |token: &str| {
        let found = tokenizer.token_to_id(token);
        found.with_context(|| format!("`{name}` has no token `{token}`"))
    };
    let processor =
        RobertaProcessing::new(("</s>".to_owned(), id("</s>")?), ("<s>".to_owned(), id("<s>")?));
    let tokens = ["<s>", "</s>", "<unk>", "<pad>", "<mask>"].map(|t| AddedToken::from(t, true));
    let prefix = recorded.map(|keys| keys.flag("add_prefix_space")).transpose()?.unwrap_or(false);
    tokenizer
        .with_pre_tokenizer(Some(PreTokenizerWrapper::from(
            ByteLevel::default().add_prefix_space(prefix),
        )))
        .with_post_processor(Some(processor));
    let _ = tokenizer.add_special_tokens(tokens).map_err(|e| anyhow!("{e}"))?;
    Ok(tokenizer)
}

/// The merges of merges.txt: a pair of tokens a line, after an optional `#version` line.
fn pairs(merges: &SmallFile) -> Result<Vec<(String, String)>> {
    let lines = merges.text()?.lines().enumerate();
    lines
        .filter(|(_, line)| !line.starts_with("#version"))
        .map(|(number, line)| {
            let mut parts = line.split(' ').map(str::to_owned);
            match (parts.next(), parts.next(), parts.next()) {
                (Some(first), Some(second), None) => Ok((first, second)),
                _ => {
                    let file = merges.input.name().to_owned();
                    let place = FileLocation { file, line: Some(number + 1), ..Default::default() };
                    bail!(Diagnostic::failure("it is not two tokens with a space between").at(place))
                }
            }
        })
        .collect()
}
