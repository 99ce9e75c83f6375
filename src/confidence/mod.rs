//! 5. Logits to numbers: pure f64 functions over slices.
