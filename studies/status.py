"""`rnnlab status`: how a study or a run stands. Nothing is locked, trained or written."""

from pathlib import Path

from rnnlab.errors import ConfigError
from rnnlab.storage.durable import storage_errors
from rnnlab.storage.runfolder import CONFIG
from rnnlab.studies import definition
from rnnlab.studies.ablation.account import account_of_ablation
from rnnlab.studies.ablation.reopen import reopen_ablation
from rnnlab.studies.account import Answer
from rnnlab.studies.search.account import account_of_search
from rnnlab.studies.search.look import look
from rnnlab.studies.standing import standing


def status(folder: Path, storage: str | None = None) -> Answer:
    """How the ablation, the search or the run in a folder stands.

    Args:
        storage: the address of the database of a search whose database does not lie in its folder.
    Raises: ConfigError if the folder holds none of them, or for an address that is not ours; StorageError if a file of
        it is missing or damaged, or the database does not serve.
    """
    if (folder / definition.STUDY).is_file():
        with storage_errors(f"{folder / definition.STUDY}: cannot be read"):
            text = (folder / definition.STUDY).read_text(encoding="utf-8", errors="replace")
        if text.startswith("Search."):
            return account_of_search(look(folder, storage)).answer()
        _refuse_storage(folder, storage)
        return account_of_ablation(reopen_ablation(folder)).answer()
    if (folder / CONFIG).is_file():
        _refuse_storage(folder, storage)
        one = standing(folder)
        return {"run": str(folder), **one.facts()}, f"{folder}: {one.text()}"
    what = "is no study and no run" if folder.is_dir() else "there is no such folder"
    raise ConfigError(
        f"{folder}: {what}; name the folder of an ablation or a search, with a {definition.STUDY} in it, or of a run"
    )


def _refuse_storage(folder: Path, storage: str | None) -> None:
    if storage is not None:
        raise ConfigError(f"{folder}: no search, so there is no database to it; leave out --storage")
