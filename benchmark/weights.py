"""Checkpoints: found in a folder or on the Hugging Face hub, and pinned by their bytes."""

from __future__ import annotations

import json
from pathlib import Path

from benchmark import _files
from benchmark.api import NotRun, Weights
from benchmark.record import write_json

FOLDER = "pretrained"  # of the output folder, where `pretrain` puts checkpoints
_REMEDY = "put them into a folder and give it as --weights-dir"


class HubAway(NotRun):
    """The hub cannot be reached; asking again at once would only cost its client's retries again."""


def locate(weights: Weights, folder: Path | None, ask_hub: bool = True, pretrained: Path | None = None) -> Path:
    """Return the checkpoint's file: from `folder`, else from the hub (its cache first), as TerraTorch would.

    In a folder one that is named after the repository comes first: some repositories' files share a name. One that is
    on no hub is looked for in `pretrained` instead.

    Args:
        weights: what is wanted.
        folder: where the user keeps checkpoints.
        ask_hub: whether to look beyond the hub's local cache.
        pretrained: where `pretrain` puts checkpoints.

    Raises:
        HubAway: it is not here and the hub cannot be reached.
        NotRun: it cannot be had for another reason; the message says why and what to do.
    """
    near = [folder] if weights.repo else [folder, pretrained]
    own = Path(weights.repo).name
    files = (path for place in near if place for path in (place / own / weights.file, place / weights.file))
    return next((path for path in files if path.is_file()), None) or _from_hub(weights, ask_hub)


def _from_hub(weights: Weights, ask: bool) -> Path:
    if not weights.repo:
        made = "`python -m benchmark pretrain` makes them" if "simpretrained" in weights.file else _REMEDY
        raise NotRun(f"weights {weights.file} are not here, and on no hub; {made}")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(weights.repo, weights.file, local_files_only=not ask))
    except LocalEntryNotFoundError as error:
        raise HubAway(_sentence(weights, "not in the local cache, and the hub cannot be reached")) from error
    except Exception as error:  # the hub's client raises many kinds: 401, 404, disk, time-out
        raise NotRun(_sentence(weights, f"{type(error).__name__} from the hub")) from error


def _sentence(weights: Weights, why: str) -> str:
    own = Path(weights.repo).name
    remedy = f"put {weights.file} from {weights.repo} into a folder, or there into {own}/, and give it as --weights-dir"
    return f"weights {weights.file} could not be had ({why}); {remedy}"


def checksum(path: Path, cache: Path) -> str:
    """Return the SHA-256 of a file, remembered in `cache` (JSON) by path, size and time of change."""
    stat = path.resolve().stat()
    name = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    known = json.loads(cache.read_text()) if cache.is_file() else {}
    if name not in known:
        known[name] = _files.checksum(path)
        write_json(cache, known)
    return str(known[name])
