"""Download and upload of spaces on a model hub."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seehear.errors import SeehearError, hub_unreachable, require

_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_FILES = ["*.json", "*.safetensors", "*.md", "*.txt", "model/*"]


def is_hub_id(address: str) -> bool:
    """True for an address 'user/name' of a hub, unless a local folder has that name."""
    return bool(_ID.fullmatch(address)) and not Path(address).exists()


def download(address: str, revision: str | None) -> Path:
    """Folder of a hub model in the hub's cache. Raises `SeehearError` for an unknown model, or without network."""
    hub = require("huggingface_hub", "hub")
    try:
        return Path(hub.snapshot_download(address, revision=revision, allow_patterns=_FILES))
    except hub.errors.RepositoryNotFoundError as error:
        raise SeehearError(f"{address} is neither a folder here nor a model of the hub") from error
    except hub.errors.RevisionNotFoundError as error:
        raise SeehearError(f"{address} has no revision {revision!r} on the hub") from error
    except Exception as error:  # of its network library, which changes with its version
        raise hub_unreachable(address, error, "train it, or try again with a network") from error


def upload(
    repo_id: str, save: Callable[[Path], None], *, private: bool, message: str, revision: str | None, token: str | None
) -> str:
    """Uploads the folder that `save` writes, and returns the address of the commit; creates a missing repository."""
    hub = require("huggingface_hub", "hub")
    api: Any = hub.HfApi(token=token)
    with tempfile.TemporaryDirectory(prefix="seehear-push-") as folder:
        save(Path(folder))
        try:
            api.create_repo(repo_id, private=private, exist_ok=True)
            if revision is not None:
                api.create_branch(repo_id, branch=revision, exist_ok=True)
            made = api.upload_folder(
                repo_id=repo_id, folder_path=folder, commit_message=message, revision=revision, ignore_patterns=[".*"]
            )
        except Exception as error:  # see above
            raise SeehearError(f"{repo_id} cannot be written on the hub: {error}") from error
    return str(made.commit_url)
