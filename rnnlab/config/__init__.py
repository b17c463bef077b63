"""Configurations: gin fragments and overrides, resolved, checked, activated, compared.

    config = resolve(["sha_rnn", "size/tiny"], ["Block.dropout = 0.2"])
    with config.activate():
        model = config.construct("LanguageModel")
        config.audit()

gin binds and builds; what it accepts in silence is refused here, in one line with place and nearest name. The modules:
values (right of the equals sign), parser (text to statements), bindings (a line, its precedence, its reach), checks
(names, types), sources (files), resolution (the whole), activation (gin's runtime), translation (errors), difference.
"""

import rnnlab.registry  # noqa: F401 -- first: it says what to install if gin-config is missing
from rnnlab.config.bindings import Binding, Precedence
from rnnlab.config.difference import Difference, diff, format_differences
from rnnlab.config.resolution import Config, identity, load, resolve, with_later
from rnnlab.config.sources import MODEL, anchored, config_folder, fragments
from rnnlab.config.values import Macro, Reference, format_value

__all__ = [
    "MODEL",
    "Binding",
    "Config",
    "Difference",
    "Macro",
    "Precedence",
    "Reference",
    "anchored",
    "config_folder",
    "diff",
    "format_differences",
    "format_value",
    "fragments",
    "identity",
    "load",
    "resolve",
    "with_later",
]
