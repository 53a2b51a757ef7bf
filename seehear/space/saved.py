"""A model folder read back: the method with its weights, and what it is shown of clips where it reads media."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from seehear.errors import SeehearError, near, read_json
from seehear.methods.base import Method
from seehear.methods.registry import make_method
from seehear.space.frozen import FROZEN, load_frozen
from seehear.train.files import has_model

if TYPE_CHECKING:
    from seehear.space.towers import InputSpec


def load_method(folder: str | os.PathLike[str]) -> tuple[Method, dict[str, Any], InputSpec | None]:
    """(the method of a run or model folder, its config.json, what it is shown where it reads media). 'frozen:LIBRARY'
    is a model too (`space/frozen.py`), without a folder."""
    if str(folder).startswith(FROZEN):
        frozen, towers = load_frozen(str(folder))
        return frozen, {"encoders": towers}, None
    method, config = load_model(folder)
    return method, config, _inputs(method, config, model_folder(folder))


class ModelGone(SeehearError):
    """The model that an index was made by is not where it was."""

    def __init__(self, message: str, todo: str):
        super().__init__(f"{message}: run '{todo}'")
        self.message, self.todo = message, todo


def model_of(library_uri: str, name: str, about: Mapping[str, Any]) -> str:
    """Where the model of an index is, for `load_method`; raises `ModelGone`. `about`: what the library says of the
    index."""
    model = str(about.get("model", ""))
    if model.startswith(FROZEN):  # of this library, wherever that lies now
        return f"{FROZEN}{library_uri}#{model.partition('#')[2]}"
    if not model or not Path(model).is_dir():
        raise ModelGone(
            f"the model of index {name} is no longer at {model!r}", f"seehear index {library_uri} RUN --name {name}"
        )
    return model


def load_model(folder: str | os.PathLike[str]) -> tuple[Method, dict[str, Any]]:
    """(the method of a run or model folder, its config.json)"""
    folder = model_folder(folder)
    config = read_config(folder)

    def make() -> Method:
        made = make_method(config["method"], config["config"])
        made.set_last_sizes(config.get("last_layer", {}))
        return made

    try:
        with torch.device("meta"):  # which needs no memory, whatever sizes are asked for
            empty = make()
            sizes = {name: tuple(tensor.shape) for name, tensor in empty.state_dict().items()}
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise SeehearError(f"{folder / 'config.json'} describes no {config['method']} model: {error}") from error
    _check_sizes(sizes, folder / "model.safetensors", empty.current_name)
    method = make()
    _load_weights(method, folder / "model.safetensors")
    return method, config


def model_folder(folder: str | os.PathLike[str]) -> Path:
    """Where the model of a run folder is, or the folder itself when it is one."""
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
    listed = [] if wrong else config["encoders"].values()
    if not all(isinstance(infos, list) and all(map(_is_encoder, infos)) for infos in listed):
        wrong = ["encoders"]
    if wrong:
        raise SeehearError(f"{path}: {', '.join(wrong)} is not as seehear writes it")
    return config


def verdict_of(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What the end of training said of a run (`runs/verdict.py`), {} where it was compared with nothing."""
    if str(folder).startswith(FROZEN):
        return {}
    verdict = read_config(model_folder(folder)).get("verdict")
    return verdict if isinstance(verdict, dict) and isinstance(verdict.get("words"), str) else {}


def _is_encoder(info: Any) -> bool:
    kinds = {"name": str, "fingerprint": str, "width": int}
    return isinstance(info, dict) and all(isinstance(info.get(name), kind) for name, kind in kinds.items())


def _check_sizes(sizes: Mapping[str, tuple[int, ...]], path: Path, current_name: Callable[[str], str]) -> None:
    """Raises `SeehearError` when a file does not hold the tensors of these sizes. Reads no more than its header."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            there = {current_name(name): tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise SeehearError(f"{path} cannot be read: {error}") from error
    for name in sorted(sizes.keys() | there.keys()):
        if sizes.get(name) != there.get(name):
            raise SeehearError(
                f"{path} does not fit its config.json: {name} is {_size(there.get(name))}, "
                f"and should be {_size(sizes.get(name))}"
            )


def _inputs(method: Method, config: Mapping[str, Any], folder: Path) -> InputSpec | None:
    if not method.reads_media:
        return None
    from seehear.space.towers import InputSpec

    if not isinstance(config.get("shown"), dict):
        raise SeehearError(f"{folder / 'config.json'} does not say what of a clip the model is shown ('shown')")
    return InputSpec.from_plain(config["shown"], folder)


def _size(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else " x ".join(map(str, shape)) or "one number"


def _load_weights(method: Method, path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = {method.current_name(name): tensor for name, tensor in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise SeehearError(f"{path} cannot be read: {error}") from error
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise SeehearError(f"{path}: the tensor {name} holds NaN or infinity: train again, or copy the model again")
    method.load_state_dict(tensors)
