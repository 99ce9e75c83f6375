"""A small uncased WordPiece vocabulary, and its tokenizer files."""

import collections
import json

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CHARACTERS = list("abcdefghijklmnopqrstuvwxyz0123456789")
PUNCTUATION = list(".,;:!?'\"-()")
SUFFIXES = ["ingly", "able", "ment", "ness", "less", "ish", "ful", "ing", "ous", "est", "ed", "en", "er", "es", "ly", "s"]
WHOLE_WORD_SHARE = 0.7  # the most frequent words that stay whole; the others split at a suffix, so that ## pieces occur
SHORTEST_STEM = 3


def build_vocabulary(sentences):
    """Tokens in order of their ids: specials, characters (so that any English word has pieces), suffixes, words."""
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    counts = collections.Counter(word for sentence in sentences for word, _ in split(sentence.lower()))
    words = sorted((word for word in counts if word.isalpha()), key=lambda word: (-counts[word], word))
    whole = round(WHOLE_WORD_SHARE * len(words))

    tokens = SPECIAL_TOKENS + PUNCTUATION + CHARACTERS + ["##" + character for character in CHARACTERS]
    tokens += ["##" + suffix for suffix in SUFFIXES if len(suffix) > 1]
    tokens += words[:whole] + [stem(word) for word in words[whole:]]
    return list(dict.fromkeys(tokens))  # a word such as "a" is a character too


def stem(word):
    """The word without its longest suffix, or the word itself."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if word.endswith(suffix) and len(word) - len(suffix) >= SHORTEST_STEM:
            return word.removesuffix(suffix)
    return word


def build_tokenizer(vocabulary):
    """As BERT's uncased tokenizer: clean, lower-case, strip accents, split at spaces and punctuation, WordPiece."""
    ids = {token: index for index, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, ids[token]) for token in ("[CLS]", "[SEP]")],
    )
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.add_special_tokens(SPECIAL_TOKENS)
    return tokenizer


def save_tokenizer(tokenizer, folder, max_length):
    """`tokenizer.json` and a `tokenizer_config.json` from which transformers loads a BertTokenizer."""
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        "strip_accents": None,
        "tokenize_chinese_chars": True,
        "clean_up_tokenization_spaces": False,
        "model_max_length": max_length,
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
