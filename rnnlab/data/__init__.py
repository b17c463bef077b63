"""The text that is read: corpora, where they come from, and the lanes that are cut through them."""
