"""What `--slurm 'OPTIONS'` may say."""

import pytest

from rnnlab.errors import ConfigError
from rnnlab.studies.launch.slurm.request import mebibytes_of, parse_request, seconds_of


def test_options_are_those_of_sbatch_and_one_is_ours() -> None:
    request = parse_request(
        "partition=gpu --gpus-per-node=1 exclusive 'comment=two words' time=240 array-parallelism=16"
    )
    assert request.at_a_time == 16
    assert request.arguments() == [
        "--partition=gpu", "--gpus-per-node=1", "--exclusive", "--comment=two words", "--time=240"
    ]  # fmt: skip
    assert request.arguments(without="partition")[0] == "--gpus-per-node=1"
    assert request.seconds == 240 * 60
    assert parse_request("").at_a_time is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("-p gpu", "'-p' is no option; write sbatch's long ones"),
        ("array=0-3", "array is set by rnnlab"),
        ("job-name=mine", "job-name is set by rnnlab"),
        ("signal=TERM@60", "signal is set by rnnlab"),
        ("mem=1G mem=2G", "mem is there twice"),
        ("array-parallelism=0", "at least 1"),
        ("array-parallelism=x", "at least 1"),
        ("comment='no end", "no closing quotation"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_request(text)


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [("90", 5400), ("90:30", 5430), ("1:00:05", 3605), ("2-1", 176400), ("1-00:30", 88200), ("1-00:00:01", 86401),
     ("UNLIMITED", None), ("", None)],
)  # fmt: skip
def test_a_time_is_read_as_slurm_reads_it(limit: str, seconds: int | None) -> None:
    assert seconds_of(limit) == seconds


@pytest.mark.parametrize(
    ("size", "mebibytes"), [("4000", 4000), ("4G", 4096), ("512K", 0.5), ("1t", 1024**2), ("0", None), ("a lot", None)]
)
def test_a_size_is_read_as_slurm_reads_it(size: str, mebibytes: float | None) -> None:
    assert mebibytes_of(size) == mebibytes


@pytest.mark.parametrize(("options", "warning"), [("", 120), ("time=60", 120), ("time=1", 20), ("time=3", 60)])
def test_a_job_is_told_in_time_of_its_limit(options: str, warning: int) -> None:
    assert parse_request(options).warning == warning
