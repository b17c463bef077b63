"""rnnlab: what does each part of a recurrent-attention model buy?"""

__version__ = "0.1.0"
