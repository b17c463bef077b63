"""What TensorBoard's HParams page is made of: the values of a variant, the columns, and how a session ended."""

import ast
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2, summary_v2

from rnnlab.safe_text import as_utf8
from rnnlab.views.runs import is_seed, parse_bindings

Value = bool | float | str

METRICS = {
    "best/valid_bpc": "Best valid BPC",
    "bpc/valid": "Valid BPC",
    "bpc/test": "Test BPC",
    "cost/bytes_per_second": "Bytes/s",
    "cost/parameters": "Parameters",
    "cost/macs_per_byte": "MACs/byte",
    "cost/state_floats": "State [floats]",
}
"""Columns of the HParams page, each the last value of its tag."""

OF_TASKS = {
    "best/valid_accuracy": "Best valid accuracy",
    "accuracy/valid": "Valid accuracy",
    "accuracy/test": "Test accuracy",
    "cost/bytes_per_second": "Positions/s",
    "cost/parameters": "Parameters",
    "cost/macs_per_byte": "MACs/position",
    "cost/state_floats": "State [floats]",
}
"""The same where every run is on a task."""


def hyperparameters(config_text: str) -> dict[str, Value]:
    """Macros and bindings of a resolved configuration, macros replaced, without the seed; numbers as numbers."""
    macros = dict(re.findall(r"^([A-Za-z]\w*) *= *(.*)$", config_text, re.MULTILINE))
    bindings = {key: text for key, text in parse_bindings(config_text).items() if not is_seed(key)}
    return {key: _typed(text) for key, text in (macros | bindings).items()}


def _typed(text: str) -> Value:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, bool | int | float) else text


def is_on_task(values: Mapping[str, Value]) -> bool:
    """Whether a configuration trains on a task; else it does on text."""
    sources = [value for name, value in values.items() if name.endswith("Trainer.source")]
    return any(re.match(r"@([\w.]+/)*task\.", str(source)) for source in sources)


def columns_of(variants: Sequence[Mapping[str, Value]]) -> dict[str, str]:
    """The columns of results by tag: METRICS of runs on text, OF_TASKS of runs on tasks, both where there are both."""
    on_task = {is_on_task(values) for values in variants}
    return (OF_TASKS if True in on_task else {}) | (METRICS if False in on_task or not on_task else {})


def default_variant(folder: Path) -> str:
    """What a run that no study trained is called: its folder, with the one above it where that alone says no more than
    the seed."""
    path = folder.resolve()
    only_seed = re.fullmatch(r"(seed)?[-_=]?[0-9]+", path.name)
    return as_utf8(f"{path.parent.name}/{path.name}" if only_seed else path.name)


def session_start(name: str, config_text: str, at: float) -> Any:
    """The summary that begins a run's session. Args: name: of its row, the same for every seed; at: [s since 1970]."""
    return summary_v2.hparams_pb(hyperparameters(config_text), trial_id=name, start_time_secs=at)


def session_end(status: int) -> Any:
    """The summary that ends a run's session. Args: status: of tensorboard.plugins.hparams.api_pb2."""
    info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
    return _hparams_summary(metadata.SESSION_END_INFO_TAG, session_end_info=info)


def experiment(variants: Sequence[Mapping[str, Value]]) -> Any:
    """The summary that names the columns: every hyperparameter that some variant has, and results.

    The page ticks the columns that "differ". Of those with the same values throughout, as a macro and all that it sets,
    only the one with the shortest name counts as such.
    """
    names = sorted({name for variant in variants for name in variant}, key=lambda name: (len(name), name))
    told: set[tuple[Value | None, ...]] = set()
    columns = []
    for name in names:
        values = tuple(variant.get(name) for variant in variants)
        columns.append(_column(name, [value for value in values if value is not None]))
        columns[-1].differs = len(set(values)) > 1 and values not in told
        told.add(values)
    figures = [api_pb2.MetricInfo(name={"tag": tag}, display_name=title) for tag, title in columns_of(variants).items()]
    info = api_pb2.Experiment(hparam_infos=columns, metric_infos=figures, time_created_secs=time.time())
    return _hparams_summary(metadata.EXPERIMENT_TAG, experiment=info)


def _column(name: str, values: Sequence[Value]) -> Any:
    """A hyperparameter with its domain: an interval for numbers, else the list, from which the page filters."""
    column = api_pb2.HParamInfo(name=name)
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        column.type = api_pb2.DATA_TYPE_FLOAT64
        column.domain_interval.min_value, column.domain_interval.max_value = min(values), max(values)
    else:
        only_bool = all(isinstance(value, bool) for value in values)
        column.type = api_pb2.DATA_TYPE_BOOL if only_bool else api_pb2.DATA_TYPE_STRING
        column.domain_discrete.extend(sorted(set(values), key=str))
    return column


def _hparams_summary(tag: str, **data: Any) -> Any:
    about = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(**data))
    return Summary(value=[Summary.Value(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR)])
