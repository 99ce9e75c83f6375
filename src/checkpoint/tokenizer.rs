//! A checkpoint's tokenizer: `tokenizer.json`, or the vocabulary files of older checkpoints.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail, Context, Result};
use tokenizers::models::bpe::BPE;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{AddedToken, Tokenizer, TruncationDirection, TruncationParams};

use super::{CheckpointFiles, ModelConfig, TokenizedExample};
use crate::error::{failure, usage};

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
    Json { tokenizer: PathBuf, config: Option<PathBuf> },
    WordPiece { vocabulary: PathBuf, config: Option<PathBuf> },
    ByteLevelBpe { vocabulary: PathBuf, merges: PathBuf },
}

impl TokenizerFiles {
    /// All of them, in a fixed order.
    pub(super) fn all(&self) -> Vec<&Path> {
        match self {
            TokenizerFiles::Json { tokenizer: main, config }
            | TokenizerFiles::WordPiece { vocabulary: main, config } => {
                [Some(main), config.as_ref()].into_iter().flatten().map(PathBuf::as_path).collect()
            }
            TokenizerFiles::ByteLevelBpe { vocabulary, merges } => vec![vocabulary, merges],
        }
    }
}

/// Finds the tokenizer's files.
pub(super) fn files(place: &CheckpointFiles, config: &ModelConfig) -> Result<TokenizerFiles> {
    if let Some(tokenizer) = place.get("tokenizer.json")? {
        let config = place.get("tokenizer_config.json")?;
        return Ok(TokenizerFiles::Json { tokenizer, config });
    }
    if let Some(vocabulary) = place.get("vocab.txt")? {
        let config = place.get("tokenizer_config.json")?;
        return Ok(TokenizerFiles::WordPiece { vocabulary, config });
    }
    if let (Some(vocabulary), Some(merges)) = (place.get("vocab.json")?, place.get("merges.txt")?) {
        return Ok(TokenizerFiles::ByteLevelBpe { vocabulary, merges });
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
    inner: Tokenizer,
    max_length: usize,
    direction: TruncationDirection,
}

impl TextTokenizer {
    pub(super) fn open(files: &TokenizerFiles, casing: Casing) -> Result<Self> {
        let mut inner = match files {
            TokenizerFiles::Json { tokenizer, config } => from_json(tokenizer, config.as_deref())?,
            TokenizerFiles::WordPiece { vocabulary, config } => {
                word_piece(vocabulary, config.as_deref(), casing)?
            }
            TokenizerFiles::ByteLevelBpe { vocabulary, merges } => {
                byte_level_bpe(vocabulary, merges)?
            }
        };
        // A saved tokenizer may have the padding and the truncation of its training.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|e| anyhow!("{e}"))?;
        let direction = match files {
            TokenizerFiles::Json { config: Some(config), .. }
            | TokenizerFiles::WordPiece { config: Some(config), .. }
                if ModelConfig::read(config)?.text("truncation_side")? == Some("left") =>
            {
                TruncationDirection::Left
            }
            _ => TruncationDirection::Right,
        };
        Ok(TextTokenizer { inner, max_length: usize::MAX, direction })
    }

    /// Cuts sequences at `tokens`, special tokens included, the longer text of a pair first.
    ///
    /// # Errors
    /// A length that leaves no room for text between the special tokens.
    pub fn set_max_length(&mut self, tokens: usize) -> Result<()> {
        let direction = self.direction;
        let params = TruncationParams { max_length: tokens, direction, ..Default::default() };
        // A pair has the more special tokens: four in RoBERTa.
        if tokens < 8 {
            bail!(usage!("a maximum length of {tokens} tokens leaves no room for text")
                .hint("use 8 or more"));
        }
        self.inner.with_truncation(Some(params)).map_err(|e| anyhow!("{e}"))?;
        self.max_length = tokens;
        Ok(())
    }

    /// The maximum length in tokens.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// Tokenises one text or one pair.
    pub fn encode(&self, text: &str, pair: Option<&str>) -> Result<TokenizedExample> {
        let encoding = match pair {
            Some(pair) => self.inner.encode_fast((text, pair), true),
            None => self.inner.encode_fast(text, true),
        };
        let encoding = encoding.map_err(|e| anyhow!("{e}")).context("cannot tokenise")?;
        Ok(TokenizedExample {
            input_ids: encoding.get_ids().to_vec(),
            token_type_ids: encoding.get_type_ids().to_vec(),
            truncated: !encoding.get_overflowing().is_empty(),
        })
    }
}

fn text_of(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("the path `{}` is not valid UTF-8", path.display()))
}

/// Reads tokenizer.json, which must not contradict tokenizer_config.json: transformers prefers the
/// latter, and would read another text.
fn from_json(file: &Path, config: Option<&Path>) -> Result<Tokenizer> {
    let tokenizer = Tokenizer::from_file(file)
        .map_err(|e| anyhow!("`{}` is not a tokenizer: {e}", file.display()))?;
    let Some(config) = config else { return Ok(tokenizer) };
    let (parts, recorded) = (ModelConfig::read(file)?, ModelConfig::read(config)?);
    for (part, kind, key, name) in [
        ("normalizer", "BertNormalizer", "lowercase", "do_lower_case"),
        ("normalizer", "BertNormalizer", "strip_accents", "strip_accents"),
        ("normalizer", "BertNormalizer", "handle_chinese_chars", "tokenize_chinese_chars"),
        ("pre_tokenizer", "ByteLevel", "add_prefix_space", "add_prefix_space"),
    ] {
        let part = parts.keys().get(part).filter(|p| p["type"] == kind);
        let (Some(inside), Some(outside)) = (part.map(|p| &p[key]), recorded.keys().get(name))
        else {
            continue;
        };
        if !outside.is_null() && inside != outside {
            bail!(failure!(
                "`{}` has `{key}` = {inside}, and `{}` has `{name}` = {outside}",
                file.display(),
                config.display()
            )
            .hint("make them agree: save the tokenizer again with transformers' save_pretrained"));
        }
    }
    Ok(tokenizer)
}

/// BERT's tokenizer from vocab.txt alone.
fn word_piece(vocabulary: &Path, config: Option<&Path>, casing: Casing) -> Result<Tokenizer> {
    let vocab = WordPiece::read_file(text_of(vocabulary)?)
        .map_err(|e| anyhow!("cannot read `{}`: {e}", vocabulary.display()))?;
    let special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"];
    let id = |token: &str| {
        let found = vocab.get(token).copied();
        found.with_context(|| format!("`{}` has no token `{token}`", vocabulary.display()))
    };
    let processor =
        BertProcessing::new(("[SEP]".to_owned(), id("[SEP]")?), ("[CLS]".to_owned(), id("[CLS]")?));
    id("[UNK]")?;
    let recorded = config.map(ModelConfig::read).transpose()?;
    let flag = |key: &str| recorded.as_ref()?.keys().get(key)?.as_bool();
    let lower_case = match (casing, flag("do_lower_case")) {
        (Casing::Cased, _) => false,
        (Casing::Uncased, _) => true,
        (Casing::Auto, Some(lower_case)) => lower_case,
        (Casing::Auto, None) if !has_capitals(vocab.keys()) => true,
        (Casing::Auto, None) => {
            bail!(failure!(
                "`{}` has tokens with capital letters, and no file records whether text is \
                     lower-cased",
                vocabulary.display()
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
    let mut tokenizer = Tokenizer::new(model.map_err(|e| anyhow!("{e}"))?);
    let chinese = flag("tokenize_chinese_chars").unwrap_or(true);
    tokenizer
        .with_normalizer(Some(BertNormalizer::new(
            true,
            chinese,
            flag("strip_accents"),
            lower_case,
        )))
        .map_err(|e| anyhow!("{e}"))?
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_post_processor(Some(processor));
    let _ = tokenizer.add_special_tokens(tokens).map_err(|e| anyhow!("{e}"))?;
    Ok(tokenizer)
}

/// Whether any token other than the special ones has a capital letter.
fn has_capitals<'a>(mut tokens: impl Iterator<Item = &'a String>) -> bool {
    tokens.any(|t| !t.starts_with('[') && t.chars().any(char::is_uppercase))
}

/// RoBERTa's tokenizer from vocab.json and merges.txt.
fn byte_level_bpe(vocabulary: &Path, merges: &Path) -> Result<Tokenizer> {
    let wrong =
        |e| anyhow!("cannot read `{}` with `{}`: {e}", vocabulary.display(), merges.display());
    let model = BPE::from_file(text_of(vocabulary)?, text_of(merges)?).build().map_err(wrong)?;
    let mut tokenizer = Tokenizer::new(model);
    let id = |token: &str| {
        let found = tokenizer.token_to_id(token);
        found.with_context(|| format!("`{}` has no token `{token}`", vocabulary.display()))
    };
    let processor =
        RobertaProcessing::new(("</s>".to_owned(), id("</s>")?), ("<s>".to_owned(), id("<s>")?));
    let tokens = ["<s>", "</s>", "<unk>", "<pad>", "<mask>"].map(|t| AddedToken::from(t, true));
    tokenizer
        .with_pre_tokenizer(Some(ByteLevel::default().add_prefix_space(false)))
        .with_post_processor(Some(processor));
    let _ = tokenizer.add_special_tokens(tokens).map_err(|e| anyhow!("{e}"))?;
    Ok(tokenizer)
}
