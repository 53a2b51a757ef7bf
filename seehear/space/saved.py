"""Loading of model folders: the method with its weights, and the input specification of one that reads media."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from seehear.errors import SeehearError, near, read_json
from seehear.methods.base import Method, make_method
from seehear.space.frozen import FROZEN, load_frozen
from seehear.train.files import has_model

if TYPE_CHECKING:
    from seehear.space.towers import InputSpec


def load_method(folder: str | os.PathLike[str]) -> tuple[Method, dict[str, Any], InputSpec | None]:
    """(method, config.json, input specification if the method reads media) of a run or model folder, or of a frozen
    space ('frozen:LIBRARY', `space/frozen.py`)."""
    if str(folder).startswith(FROZEN):
        frozen, towers = load_frozen(str(folder))
        return frozen, {"encoders": towers}, None
    method, config = load_model(folder)
    if not method.reads_media:
        return method, config, None
    from seehear.space.towers import InputSpec

    folder = model_folder(folder)
    if not isinstance(config.get("shown"), dict):
        raise SeehearError(f"{folder / 'config.json'} has no input specification ('shown'): train again")
    return method, config, InputSpec.from_plain(config["shown"], folder)


class ModelGone(SeehearError):
    """The model of an index is missing."""

    def __init__(self, message: str, todo: str):
        super().__init__(f"{message}: run '{todo}'")
        self.message, self.todo = message, todo


def model_of(library_uri: str, name: str, about: Mapping[str, Any]) -> str:
    """Address of the model of an index, for `load_method`; raises `ModelGone`. `about`: entry of the index in
    `indexes`."""
    model = str(about.get("model", ""))
    if model.startswith(FROZEN):  # by the present address of the library, which may have moved
        return f"{FROZEN}{library_uri}#{model.partition('#')[2]}"
    if not model or not Path(model).is_dir():
        raise ModelGone(
            f"the model of index {name} is no longer at {model!r}", f"seehear index {library_uri} RUN --name {name}"
        )
    return model


def load_model(folder: str | os.PathLike[str]) -> tuple[Method, dict[str, Any]]:
    """(method, config.json) of a run or model folder."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = model_folder(folder)
    config, weights = read_config(folder), folder / "model.safetensors"

    def make() -> Method:
        made = make_method(config["method"], config["config"])
        made.set_last_sizes(config.get("last_layer", {}))
        return made

    try:
        with torch.device("meta"):  # needs no memory, however large the sizes of a foreign config are
            empty = make()
            sizes = {name: tuple(tensor.shape) for name, tensor in empty.state_dict().items()}
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise SeehearError(f"{folder / 'config.json'} describes no {config['method']} model: {error}") from error
    _check_sizes(sizes, weights, empty.current_name)
    method = make()
    try:
        tensors = {method.current_name(name): tensor for name, tensor in load_file(weights).items()}
    except (SafetensorError, OSError) as error:
        raise SeehearError(f"{weights} cannot be read: {error}") from error
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise SeehearError(f"{weights}: tensor {name} has NaN or infinity: train again, or copy the model again")
    method.load_state_dict(tensors)
    return method, config


def model_folder(folder: str | os.PathLike[str]) -> Path:
    """Model folder of a run, or the folder itself if it is a model folder."""
    for candidate in (Path(folder) / "model", Path(folder)):
        if has_model(candidate):
            return candidate
    raise SeehearError(
        f"no trained model in {folder}{'' if os.path.exists(folder) else near(folder)}: a run has "
        "model/model.safetensors once it has been trained"
    )


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a model folder."""
    path = folder / "config.json"
    config = read_json(path, "it is no model that seehear saved")
    if missing := [name for name in ("method", "config", "encoders") if name not in config]:
        raise SeehearError(f"{path} lacks {', '.join(missing)}: it is no model that seehear saved")
    kinds = {"method": str, "config": dict, "encoders": dict}
    wrong = [name for name, kind in kinds.items() if not isinstance(config[name], kind)]
    fields = {"name": str, "fingerprint": str, "width": int}
    for infos in [] if wrong else config["encoders"].values():
        if not isinstance(infos, list) or not all(
            isinstance(info, dict) and all(isinstance(info.get(name), kind) for name, kind in fields.items())
            for info in infos
        ):
            wrong = ["encoders"]
    if wrong:
        raise SeehearError(f"{path}: {', '.join(wrong)} is not as seehear writes it")
    return config


def verdict_of(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Verdict at the end of training of a run (`runs/verdict.py`), {} for none."""
    if str(folder).startswith(FROZEN):
        return {}
    verdict = read_config(model_folder(folder)).get("verdict")
    return verdict if isinstance(verdict, dict) and isinstance(verdict.get("words"), str) else {}


def _check_sizes(sizes: Mapping[str, tuple[int, ...]], path: Path, current_name: Callable[[str], str]) -> None:
    """Raises `SeehearError` for a file without tensors of exactly these sizes; reads only its header."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            stored = {current_name(name): tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise SeehearError(f"{path} cannot be read: {error}") from error
    for name in sorted(sizes.keys() | stored.keys()):
        if sizes.get(name) != stored.get(name):
            raise SeehearError(
                f"{path} does not fit its config.json: {name} is {_size(stored.get(name))}, "
                f"and should be {_size(sizes.get(name))}"
            )


def _size(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else " x ".join(map(str, shape)) or "one number"
