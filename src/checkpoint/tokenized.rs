//! One example as tokens.

/// The tokens of one example.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenizedExample {
    /// Token ids, special tokens included (L).
    pub input_ids: Vec<u32>,
    /// Segment of each token: 0, or 1 for the second sentence of a pair (L).
    pub token_type_ids: Vec<u32>,
    /// Whether the text was cut at the maximum length.
    pub truncated: bool,
}

impl TokenizedExample {
    /// Tokens, special ones included.
    pub fn len(&self) -> usize {
        self.input_ids.len()
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.input_ids.is_empty()
    }
}
