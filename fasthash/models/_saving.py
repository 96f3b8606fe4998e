"""Format of model files: arrays as safetensors, everything else as JSON in the metadata; no pickle.

A model that can be saved inherits from `SavedModel`. It lists its learned attributes in `_learned`,
and the dataclasses that they contain in `_parts`. A model with another kind of state, such as
PyTorch modules, overrides `_learned_state` and `_set_learned_state`, which return and take arrays.
A value is written as a tree of plain values, arrays and parts. A file is read as such a tree only,
so it cannot run code. Every array has a checksum, and so has the tree.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import zlib
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from .._core.files import KINDS, MODEL_FORMAT, identify, replacing
from .._core.validation import check_flag
from ._names import MODULES

__all__ = ["LEFT_OUT_IF_NONE", "SavedModel", "check_shape", "load_model"]

_VERSION = "1"

# Metadata of a field that is newer than the files of its dataclass. A None is not written, so that
# an old file has the fingerprint that it had.
LEFT_OUT_IF_NONE = {"left_out_if_none": True}

# Largest number of characters in an array of strings; numpy makes each string as long as the
# longest one.
_MOST_CHARACTERS = 1 << 26

# All model classes, also those that users define; the newest class of each name.
_CLASSES: dict[str, type[SavedModel]] = {}

# The errors that a damaged or forged tree can cause.
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


class SavedModel(BaseEstimator):
    """Base of the models that can be saved to a file and loaded from it."""

    # Names of the learned attributes; an attribute that a model does not have is not saved.
    _learned: ClassVar[tuple[str, ...]] = ()
    # Names of the learned attributes that decide the codes of samples, the matrices with a column
    # for each bit last.
    _encoding: ClassVar[tuple[str, ...]] = ()
    # Learned attributes that only `partial_fit` needs.
    _for_updates: ClassVar[tuple[str, ...]] = ()
    # The dataclasses that the learned attributes may contain.
    _parts: ClassVar[tuple[type[Any], ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _CLASSES[cls.__name__] = cls

    def save(self, path: str | os.PathLike[str], *, updatable: bool = True) -> None:
        """
        Write the fitted model to a file.

        Parameters
        ----------
        path : path
            The file, in a folder that exists. An old file is replaced when the new one is complete
            and on the disk.
        updatable : bool, default True
            Whether the file also holds what only `AMSH.partial_fit` needs. Without it, the file of
            an `AMSH` model is a small part as large; a model that is read from it encodes and
            searches as before. Files of other models are the same either way.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model has not been fitted.
        ImportError
            If safetensors is not installed.
        TypeError
            If a parameter has a type that a model file cannot hold.
        OSError
            If the file cannot be written; an old file is then unchanged.

        See Also
        --------
        load : Read the file.

        Notes
        -----
        The file is in the safetensors format. It holds the parameters and what was learned. An
        interrupted fit cannot be resumed from it.
        """
        check_is_fitted(self)
        learned = self._learned_state()
        if not check_flag(updatable, "updatable"):
            learned = {k: value for k, value in learned.items() if k not in self._for_updates}
        safetensors = _safetensors()
        arrays: dict[str, NDArray[Any]] = {}
        tree = {
            "model": type(self).__name__,
            "parameters": _flatten(self.get_params(deep=False), "parameters", arrays, ()),
            "learned": _flatten(learned, "learned", arrays, self._parts),
        }
        text = json.dumps(tree)
        metadata = {
            "format": MODEL_FORMAT,
            "version": _VERSION,
            "content": text,
            "crc32": f"{zlib.crc32(text.encode()):08x}",
        }
        with replacing(path) as file:
            file.write(safetensors.numpy.save(arrays, metadata))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """
        Read a model from a file that `save` has written.

        Parameters
        ----------
        path : path
            The file. It may come from an untrusted source: a damaged file raises an error, and no
            code in a file is run.

        Returns
        -------
        CrossModalHasher, ITQ or RandomHyperplanes
            A model of the class on which the method was called.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it holds no model of this class, has another format version, or is damaged.
        ImportError
            If safetensors is not installed.

        See Also
        --------
        fasthash.load : Read a model or index of any class.
        """
        model = load_model(path)
        if not isinstance(model, cls):
            raise ValueError(
                f"{os.fspath(path)} holds {type(model).__name__!r}, not {cls.__name__!r}"
            )
        return model

    def fingerprint(self) -> str:
        """
        Name the fitted model by its method, the length of its codes, and a digest.

        Returns
        -------
        str
            Such as ``"ITQ-64-0c1d…"``. The digest is of what `encode` or `transform` computes with,
            so a saved and loaded model has the same fingerprint, and a model that was fitted to
            other samples has another one.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model has not been fitted.
        TypeError
            If the model holds something that a model file cannot hold.

        See Also
        --------
        fasthash.HammingIndex : Its attribute `model` says which model made the codes of an index.

        Notes
        -----
        Costs one pass over the parameters of the hash functions.

        Examples
        --------
        >>> import fasthash as fh
        >>> model = fh.ITQ(n_bits=2, random_state=0).fit([[0.0, 1.0], [1.0, 3.0], [2.0, 0.0]])
        >>> model.fingerprint().startswith("ITQ-2-")
        True
        """
        check_is_fitted(self)
        arrays: dict[str, NDArray[Any]] = {}
        learned = {name: getattr(self, name) for name in self._encoding}
        # The tree holds a checksum of each array, but those can be equal by chance.
        digest = hashlib.sha256(
            json.dumps(_flatten(learned, "learned", arrays, self._parts)).encode()
        )
        for array in arrays.values():
            digest.update(array.reshape(-1).view(np.uint8).data)
        projections = learned[self._encoding[-1]]
        one = next(iter(projections.values())) if isinstance(projections, Mapping) else projections
        return f"{type(self).__name__}-{one.shape[1]}-{digest.hexdigest()[:16]}"

    def _learned_state(self) -> dict[str, Any]:
        """Return learned values by name: plain values, arrays, `_parts`, mappings and tuples."""
        return {name: getattr(self, name) for name in self._learned if hasattr(self, name)}

    def _set_learned_state(self, learned: dict[str, Any]) -> None:
        """
        Set the result of `_learned_state` that was read from a file, which may hold anything.

        Raises
        ------
        ValueError
            If shapes do not fit together; they are checked because kernels trust them.
        """
        for name in self._learned:
            if name in learned:
                setattr(self, name, learned[name])


def load_model(path: str | os.PathLike[str]) -> Any:
    """
    Read a model of any kind; see `SavedModel.load`.

    Raises
    ------
    OSError, ValueError, ImportError
        As `SavedModel.load`.
    """
    path = os.fspath(path)
    tree, arrays = _read(path)
    cls = _class_of(path, tree.get("model"))
    try:
        parameters = _restore(tree["parameters"], arrays, {})
        learned = _restore(tree["learned"], arrays, {part.__name__: part for part in cls._parts})
        if not set(parameters) <= set(cls._get_param_names()):
            raise ValueError(f"{cls.__name__} has no parameters {sorted(parameters)}")
        model = cls(**parameters)
        model._set_learned_state(learned)
        check_is_fitted(model)
    except _DAMAGE as error:
        raise ValueError(f"{path} is damaged: {type(error).__name__}, {error}") from None
    return model


def check_shape(
    array: Any, name: str, shape: tuple[int | None, ...], dtype: Any = np.float64
) -> NDArray[Any]:
    """
    Check that a value is a C-contiguous array of this dtype and shape; None is any length.

    Raises
    ------
    ValueError
        If it is not.
    """
    fits = (
        isinstance(array, np.ndarray)
        and array.dtype == dtype
        and array.flags.c_contiguous
        and array.ndim == len(shape)
        and all(b is None or a == b for a, b in zip(array.shape, shape, strict=True))
    )
    if not fits:
        raise ValueError(f"{name} must be {np.dtype(dtype)} of shape {shape}")
    return array


def _safetensors() -> Any:
    if find_spec("safetensors") is None:
        raise ImportError(
            "models are saved and loaded with safetensors, which is not installed: "
            "pip install 'fasthash-retrieval[models]'"
        )
    import safetensors.numpy

    return safetensors


def _class_of(path: str, name: Any) -> type[SavedModel]:
    cls: Any = None
    if isinstance(name, str) and name in MODULES:
        cls = getattr(import_module(MODULES[name], __package__), name)
    elif isinstance(name, str):
        cls = _CLASSES.get(name)
    if not (isinstance(cls, type) and issubclass(cls, SavedModel)):
        raise ValueError(f"{path} holds {name!r}, which this version does not know")
    return cls


def _read(path: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read the tree and the arrays of a model file."""
    kind = identify(path)
    if kind != "model":
        raise ValueError(f"{path} holds no model of fasthash: it is {KINDS[kind]}")
    safetensors = _safetensors()
    try:
        with safetensors.safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != MODEL_FORMAT:
                raise ValueError("it is a safetensors file, but holds no model of fasthash")
            if metadata.get("version") != _VERSION:
                raise ValueError(
                    f"it is of format {metadata.get('version')}, and this version of fasthash "
                    f"reads format {_VERSION}: read it with the version that wrote it"
                )
            text = metadata.get("content", "")
            if f"{zlib.crc32(text.encode()):08x}" != metadata.get("crc32"):
                raise ValueError("the checksum of its content is wrong")
            tree = json.loads(text)
            if not isinstance(tree, dict):
                raise ValueError("its content is no mapping")
            # Copied, so that the arrays are aligned and do not need the file any more.
            arrays = {name: np.array(file.get_tensor(name), order="C") for name in file.keys()}
    except (safetensors.SafetensorError, *_DAMAGE) as error:
        raise ValueError(f"{path} is damaged or no model: {error}") from None
    return tree, arrays


# --- trees of plain values, arrays and parts ----------------------------------------------------


def _flatten(
    value: Any, name: str, arrays: dict[str, NDArray[Any]], parts: tuple[type[Any], ...]
) -> Any:
    """Turn a value into JSON; its arrays are added to `arrays`, under their path in the tree."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, list | tuple):
        items = [_flatten(item, f"{name}.{i}", arrays, parts) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {"mapping": {k: _flatten(v, f"{name}.{k}", arrays, parts) for k, v in value.items()}}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        array = np.asarray(value, value.dtype.newbyteorder("<"), order="C")
        arrays[name] = array
        return {
            "array": name,
            "dtype": array.dtype.name,
            "shape": list(value.shape),
            "crc32": zlib.crc32(array.reshape(-1).view(np.uint8).data),
        }
    if isinstance(value, np.ndarray) and all(isinstance(item, str) for item in value.flat):
        strings = _check_strings(value.tolist())
        return {"strings": strings, "dtype": "object" if value.dtype == object else "str"}
    if isinstance(value, np.random.RandomState):
        return {"RandomState": _flatten(value.get_state(), name, arrays, ())}
    if isinstance(value, parts):
        fields = {
            field.name: _flatten(getattr(value, field.name), f"{name}.{field.name}", arrays, parts)
            for field in dataclasses.fields(value)
            if getattr(value, field.name) is not None or "left_out_if_none" not in field.metadata
        }
        return {"part": type(value).__name__, "fields": fields}
    raise TypeError(f"{name} is of type {type(value).__name__}, which a model file cannot hold")


def _check_strings(items: list[Any]) -> list[str]:
    """Check that all items are strings, and that their array would not take gigabytes."""
    if not all(isinstance(item, str) for item in items):
        raise ValueError("strings must be in one dimension and hold nothing else")
    if len(items) * max(map(len, items), default=0) > _MOST_CHARACTERS:
        raise ValueError(f"{len(items)} strings are too long for an array")
    return items


def _restore(node: Any, arrays: dict[str, NDArray[Any]], parts: dict[str, type]) -> Any:
    """Undo `_flatten`; raise ValueError, KeyError or TypeError if it did not write this."""
    if node is None or isinstance(node, bool | int | float | str):
        return node
    if isinstance(node, list):
        return [_restore(item, arrays, parts) for item in node]
    match node:
        case {"mapping": dict(items)}:
            return {key: _restore(item, arrays, parts) for key, item in items.items()}
        case {"tuple": list(items)}:
            return tuple(_restore(item, arrays, parts) for item in items)
        case {"array": str(name), "dtype": dtype, "shape": shape, "crc32": checksum}:
            array = arrays[name]
            if array.dtype.name != dtype or list(array.shape) != shape:
                raise ValueError(f"{name} is {array.dtype} of shape {array.shape}")
            if zlib.crc32(array.reshape(-1).view(np.uint8).data) != checksum:
                raise ValueError(f"the checksum of {name} is wrong")
            return array
        case {"strings": list(items), "dtype": dtype}:
            return np.array(_check_strings(items), object if dtype == "object" else np.str_)
        case {"float": ("inf" | "-inf" | "nan") as text}:
            return float(text)
        case {"RandomState": state}:
            random_state = np.random.RandomState()
            random_state.set_state(_restore(state, arrays, {}))
            return random_state
        case {"part": str(name), "fields": dict(fields)}:
            values = {key: _restore(value, arrays, parts) for key, value in fields.items()}
            return parts[name](**values)
    raise ValueError("its content is of no known kind")
