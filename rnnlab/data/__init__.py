"""The text that is read: corpora, where they come from, and the batches that are cut from them."""
