"""What a configuration builds."""

from pathlib import Path

import torch

from rnnlab import config
from rnnlab.training import experiment


def test_bytes_that_the_training_text_lacks_start_unlikely_where_the_recipe_says_so(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(b"abba" * 500)
    file = ["Trainer.source = @corpus.File", f"File.path = {str(text)!r}"]
    small = ["LanguageModel.dim = 8", "Trainer.batch_size = 2", *file]
    paper = experiment.build(config.resolve(["sha_rnn"], [*small, "Trainer.bytes = 100"]))
    lacking = torch.ones(256, dtype=torch.bool)
    lacking[list(b"ab")] = False
    assert torch.equal(experiment.unseen(paper.corpus.train), lacking)  # type: ignore[union-attr]
    assert (paper.model.output_bias[lacking] == -10.0).all()
    assert (paper.model.output_bias[~lacking] == 0.0).all()

    own = experiment.build(config.resolve(["sha_rnn", "size/tiny"], [*small, "Trainer.bytes = 100"]))
    assert (own.model.output_bias == 0.0).all()
