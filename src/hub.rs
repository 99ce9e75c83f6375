//! Files of the Hugging Face Hub, downloaded once into its cache.
