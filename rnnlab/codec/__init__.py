"""Text to few bits and back: a model says how likely each next byte is, a range coder writes it down accordingly.

    compress(path, out, run=...)    decompress(path, out, run=...)          a run's model: with_run
    compress(path, out, fragments)  decompress(path, out)                   one that learns as it codes: online

What a decoder needs to be the same stands in the file (needs), which a checksum seals (container). Both sides go
through one loop (streams), since the decoder has to come to the encoder's numbers to the last bit.
"""
