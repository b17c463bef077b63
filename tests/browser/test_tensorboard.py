"""TensorBoard as `rnnlab board` starts it, in a real browser and through the addresses that its pages ask."""

import json
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page

import rnnlab
from rnnlab.views.probe import probe
from tests.browser.chromium import SCREENSHOTS, browser
from tests.processes import Child, begin
from tests.rnnlab import quick_runs

pytestmark = pytest.mark.long
STATUSES = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
STUDIES = {
    "core_swap": {"qrnn": ["core/qrnn", "QRNN.width = 2"]},
    "more_dropout": {"dropout 0.2": ["dropout = 0.2"]},
}
VARIANTS = {study: ["baseline", *deltas] for study, deltas in STUDIES.items()}
SEEDS = (1, 2)
FIGURES = {"best/valid_bpc": "best_valid_bpc", "bpc/test": "test_bpc", "cost/parameters": "parameters",
           "cost/bytes_per_second": "bytes_per_second"}  # fmt: skip


def ablate(folder: Path, study: str) -> Child:
    """Begin to train a study of the baseline and its deltas, as a person would."""
    definition = folder / f"{study}.gin"
    settings = {
        "base": ["sha_rnn", "size/tiny"],
        "overrides": quick_runs.bindings(folder),
        "deltas": STUDIES[study],
        "seeds": len(SEEDS),
        "bytes": 640,  # 20 steps
    }
    definition.write_text("".join(f"Ablation.{name} = {value!r}\n" for name, value in settings.items()))
    return begin("ablate", definition, "--run", folder / study)


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("studies")
    for process in [ablate(folder, study) for study in STUDIES]:  # both at once: much of it is imports
        process.succeed()
    made = [folder / study for study in STUDIES]
    probe(next(runs(made[0] / "cells" / "qrnn")), split="train", size=4000)
    return made


@contextmanager
def board(*paths: Path) -> Iterator[str]:
    """The address of a running `rnnlab board`, which an interrupt ends without a word of complaint."""
    command = [sys.executable, "-m", "rnnlab", "board", *map(str, paths), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert f"shows {len(list(runs(*paths)))} run" in line
        yield line.split()[0]
    finally:
        process.send_signal(SIGINT)
        _, complaints = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in complaints


def runs(*paths: Path) -> Iterator[Path]:
    for path in paths:
        for found in path.rglob("config.gin"):
            yield found.parent


@pytest.fixture(scope="module")
def url(studies: list[Path]) -> Iterator[str]:
    with board(*studies) as address:
        wait_for_runs(address, len(list(runs(*studies))))
        yield address


def ask(url: str, path: str, question: Any = None) -> Any:
    data = None if question is None else json.dumps(question).encode()
    request = urllib.request.Request(f"{url}data/{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def wait_until(happened: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.2)


def wait_for_runs(url: str, count: int) -> None:
    """TensorBoard answers before it has read its files."""
    wait_until(lambda: sum(len(row["sessions"]) for row in rows(url)) == count)


def rows(url: str) -> list[dict[str, Any]]:
    question = {
        "experimentName": "",
        "allowedStatuses": STATUSES,
        "colParams": [],
        "startIndex": 0,
        "sliceSize": 100,
        "aggregationType": "AGGREGATION_AVG",
    }
    found: list[dict[str, Any]] = ask(url, "plugin/hparams/session_groups", question)["sessionGroups"]
    return found


def test_hparams_has_one_row_a_variant_with_the_mean_of_its_seeds(url: str, studies: list[Path]) -> None:
    found = {row["name"]: row for row in rows(url)}
    assert set(found) == {f"{variant} ({study})" for study, variants in VARIANTS.items() for variant in variants}
    for study in studies:
        for variant in VARIANTS[study.name]:
            slug = variant.replace(" ", "-")
            results = [json.loads((run / "result.json").read_text()) for run in runs(study / "cells" / slug)]
            row = found[f"{variant} ({study.name})"]
            assert [session["status"] for session in row["sessions"]] == ["STATUS_SUCCESS"] * len(SEEDS)
            shown = {metric["name"]["tag"]: metric["value"] for metric in row["metricValues"]}
            for tag, key in FIGURES.items():
                assert shown[tag] == pytest.approx(statistics.mean(result[key] for result in results), rel=1e-6)


def test_columns_are_the_union_over_both_studies(url: str) -> None:
    told = ask(url, "plugin/hparams/experiment", {"experimentName": ""})
    columns = {column["name"]: column for column in told["hparamInfos"]}
    differing = {name for name, column in columns.items() if column.get("differs")}
    assert differing == {"Block.core", "core.QRNN.width", "dropout"}
    assert {"LanguageModel.dim", "Block.dropout"} <= set(columns)
    assert "Trainer.seed" not in columns


def test_runs_have_readable_names_and_no_point_twice(url: str) -> None:
    """Seeds and the mean over them, and no run beside these; over bytes, of which a step reads 32."""
    names = ask(url, "runs")
    assert sorted(names) == sorted(
        f"{study}/{variant}/{run}"
        for study, variants in VARIANTS.items()
        for variant in variants
        for run in (*(f"seed-{seed}" for seed in SEEDS), "mean")
    )
    for name in names:
        shown = ask(url, f"plugin/scalars/scalars?run={quote(name)}&tag=bpc/train")
        assert [position for _, position, _ in shown] == list(range(64, 641, 64))


def test_the_custom_page_lays_curves_out(url: str) -> None:
    layout = ask(url, "plugin/custom_scalars/layout")
    assert [category["title"] for category in layout["category"]] == ["Learning", "Optimization", "Machine"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


@contextmanager
def opened(chromium: Browser, url: str, page_name: str, width: int = 1800) -> Iterator[Page]:
    """A page of TensorBoard, pictured at the end; nothing on it may have failed, nor the console hold an error."""
    page = chromium.new_page(viewport={"width": width, "height": 1000})
    page.set_default_timeout(120_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(f"{url}#{page_name}")
    yield page
    page.screenshot(path=SCREENSHOTS / f"tensorboard-{page_name}-{width}.png")
    assert errors == []
    page.close()


def test_a_person_sees_the_table_of_variants(chromium: Browser, url: str) -> None:
    with opened(chromium, url, "hparams") as page:
        table = page.locator("tf-hparams-table-view")
        for row in rows(url):
            table.get_by_text(row["name"], exact=True).wait_for()
            (best,) = [m["value"] for m in row["metricValues"] if m["name"]["tag"] == "best/valid_bpc"]
            assert table.get_by_text(f"{best:.4f}").count() >= 1
        for title in ("core.QRNN.width", "dropout", "Best valid BPC", "Test BPC", "Parameters"):
            table.get_by_text(title, exact=True).first.wait_for()


@pytest.mark.parametrize("width", [1400, 390])
def test_names_are_of_variants_and_seeds_on_a_desk_and_on_a_phone(chromium: Browser, url: str, width: int) -> None:
    with opened(chromium, url, "hparams", width) as page:
        page.locator("tf-hparams-table-view").get_by_text("qrnn (core_swap)", exact=True).wait_for()
    with opened(chromium, url, "text", width) as page:
        for run in (*(f"core_swap/qrnn/seed-{seed}" for seed in SEEDS), "core_swap/qrnn/mean"):
            page.get_by_text(run, exact=True).first.wait_for()


def test_a_person_sees_the_curves_beside_each_other(chromium: Browser, url: str) -> None:
    with opened(chromium, url, "custom_scalars") as page:
        for title in ("Valid BPC", "Best valid BPC", "Training BPC"):
            page.get_by_text(title, exact=True).wait_for()
        page.get_by_text("Matches (12)").nth(1).wait_for()  # eight seeds, four means
        page.get_by_text("Matches (8)").first.wait_for()  # there is no mean of what was best so far
        page.wait_for_timeout(2000)  # the curves are drawn on a canvas, which tells nobody when it is done


def test_a_person_sees_scalars_and_configuration(chromium: Browser, url: str) -> None:
    with opened(chromium, url, "timeseries") as page:
        page.get_by_text("best/valid_bpc").first.wait_for()
        page.get_by_text("core_swap/qrnn/seed-1").first.wait_for()
        page.wait_for_timeout(2000)
    with opened(chromium, url, "text") as page:
        page.get_by_text("Block.core = @core.QRNN").first.wait_for()


def test_a_person_sees_the_pictures_of_a_probe(chromium: Browser, url: str) -> None:
    (tags,) = [tags for tags in ask(url, "plugin/images/tags").values() if tags]
    assert {"probe/attention_by_distance", "probe/attention_map_3", "probe/forgetting"} <= set(tags)
    with opened(chromium, url, "images") as page:
        picture = page.locator("img").first
        picture.wait_for()
        assert picture.evaluate("async (image) => { await image.decode(); return image.naturalWidth; }") > 500


def status(url: str) -> str:
    ((session,),) = [row["sessions"] for row in rows(url)]
    return str(session["status"])


@pytest.mark.faults
def test_a_killed_run_is_a_failure_until_it_is_resumed(tmp_path: Path) -> None:
    bindings = quick_runs.bindings(tmp_path, steps=100_000)
    train = [sys.executable, "-m", "rnnlab", "train", "sha_rnn", "size/tiny", "--run", str(tmp_path / "run")]
    process = subprocess.Popen(train + [word for binding in bindings for word in ("--set", binding)])
    try:
        wait_until(lambda: len(list((tmp_path / "run" / "checkpoints").glob("step-*"))) > 1)
        with board(tmp_path / "run") as url:
            wait_for_runs(url, 1)
            assert status(url) == "STATUS_UNKNOWN", "it is going on"
    finally:
        process.kill()
        process.wait()
    with board(tmp_path / "run") as url:
        wait_for_runs(url, 1)
        wait_until(lambda: status(url) == "STATUS_FAILURE")
        step = max(int(path.name.removeprefix("step-")) for path in (tmp_path / "run" / "checkpoints").glob("step-*"))
        rnnlab.resume(tmp_path / "run", [f"Trainer.steps = {step + 10}"])
        wait_until(lambda: rows(url) != [] and status(url) == "STATUS_SUCCESS")
        steps = [at for _, at, _ in ask(url, "plugin/scalars/scalars?run=run&tag=bpc/train")]
        assert len(steps) == len(set(steps))
        assert steps[-1] == 32 * (step + 10)
