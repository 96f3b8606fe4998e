"""`ShardedCodes`: codes with ids in shards on the workers of a Dask cluster; changes and files."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.arrays import is_dask_array
from .._core.validation import check_choice, check_flag
from .._core.worker_memory import check_fits, memory_for_data
from ..codes import check_codes, check_ids
from ..index import HammingIndex
from ..index._code_index import check_model
from . import _shards
from ._cluster import client_of
from ._manifest import Manifest, check_new_folder, file_name, read_manifest, write_manifest
from ._partitions import check_ids_differ, shard_row_bytes, shards_of
from ._shards import ShardFacts

__all__ = ["ShardedCodes"]


@dataclass(frozen=True)
class ShardedState:
    """The shards at one moment: futures, what is known of each, and the next id."""

    shards: tuple[Any, ...]
    facts: tuple[ShardFacts, ...]
    next_id: int


class ShardedCodes:
    """
    Packed codes with ids in shards, which can change.

    A change makes a new state, which replaces the old one by one assignment.
    """

    def __init__(self, n_bits: int, *, multi_index: str = "auto", client: Any = None) -> None:
        # An index without codes checks the arguments of all calls, with the usual errors.
        self._empty = HammingIndex(n_bits, multi_index=multi_index)
        self.n_bits = self._empty.n_bits
        self.multi_index = multi_index
        self.client = client_of(client)
        self.model: str | None = None
        self._state = ShardedState((), (), 0)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return sum(f.n for f in self._state.facts)

    def __repr__(self) -> str:
        state = self._state
        return (
            f"{type(self).__name__}(n_bits={self.n_bits}) of {len(self)} codes in "
            f"{len(state.shards)} shards"
        )

    @property
    def shard_sizes(self) -> list[int]:
        return [f.n for f in self._state.facts]

    @property
    def ids(self) -> NDArray[np.int64]:
        parts = self.client.gather(self.client.map(_shards.ids_of, self._state.shards, pure=False))
        return np.sort(np.concatenate([np.empty(0, np.int64), *parts]))

    def add(self, codes: Any, *, ids: Any = None, replace: bool = False) -> None:
        """
        Add codes.

        Parameters
        ----------
        codes : dask.array.Array or array_like of uint8, shape (n, ceil(n_bits / 8))
            Packed codes. Each partition of a Dask array becomes a shard; its workers compute it,
            and compute it again if they are lost. An array of this process goes to the shard with
            the fewest codes, or becomes a shard if there is none, or no space in it.
        ids : dask.array.Array or array_like of int, shape (n,), optional
            Ids of the codes, at least 0. By default they continue from the largest id that the
            index has ever held, in the order of the partitions.
        replace : bool, default False
            Whether a code replaces a held one with the same id, in its shard. Otherwise such a code
            is refused. Not for Dask arrays.

        Raises
        ------
        TypeError, ValueError
            If codes or ids have the wrong type or shape, an id is negative, given twice, or held
            already, or a partition takes more memory than a worker has for data. The index is then
            unchanged.

        See Also
        --------
        update : Replace codes whose ids must be held.
        remove : Remove codes by their ids.

        Notes
        -----
        The codes of a Dask array do not pass through this process. Those of an array do, and
        through the scheduler, so Dask warns above 10 MB. The scheduler keeps them, to make the
        shard again if its worker is lost; `save` and `load` begin anew.
        """
        check_flag(replace, "replace")
        if is_dask_array(codes):
            if replace:
                raise ValueError(
                    "replace=True needs codes of this process, got a Dask array: remove the old "
                    "ids first, or pass one block of codes at a time"
                )
            self._add_partitions(codes, ids)
        else:
            self._add_array(codes, ids, replace)

    def update(self, codes: ArrayLike, *, ids: ArrayLike) -> None:
        """
        Replace the codes of ids that are held.

        Parameters
        ----------
        codes : array_like of uint8, shape (n, ceil(n_bits / 8))
            Packed codes, as made by `pack`.
        ids : array_like of int, shape (n,)
            The id of each code.

        Raises
        ------
        TypeError, ValueError
            If codes or ids have the wrong type or shape, or an id is given twice or not held. The
            index is then unchanged.

        See Also
        --------
        add : Add codes, or replace those that are held.
        """
        codes, chosen = self._checked(codes, ids, 0)
        with self._lock:
            state = self._state
            holders = self._holders(state, chosen)
            _refuse_missing(chosen, holders)
            self._state = self._with(state, codes, chosen, holders)

    def remove(self, ids: ArrayLike, *, missing: str = "raise") -> int:
        """
        Remove codes by their ids.

        Parameters
        ----------
        ids : array_like of int, shape (n,)
            Ids of the codes to remove.
        missing : {"raise", "ignore"}, default "raise"
            Whether an id that is not held is an error or is ignored.

        Returns
        -------
        int
            Number of codes that were removed.

        Raises
        ------
        TypeError, ValueError
            If ids are not integers, or one is not held and `missing` is "raise". The index is then
            unchanged.

        See Also
        --------
        add : Add codes.
        """
        check_choice(missing, "missing", ("raise", "ignore"))
        chosen = np.unique(check_ids(ids))
        with self._lock:
            state = self._state
            holders = self._holders(state, chosen)
            if missing == "raise":
                _refuse_missing(chosen, holders)
            changes = {
                int(place): partial(_shards.changed, removed=chosen[holders == place], added=None)
                for place in np.unique(holders[holders >= 0])
            }
            self._state = self._changed(state, changes)
        return int((holders >= 0).sum())

    def reconstruct(self, ids: ArrayLike) -> NDArray[np.uint8]:
        """
        Return codes by their ids.

        Parameters
        ----------
        ids : array_like of int, shape (n,)
            Ids that are held.

        Returns
        -------
        ndarray of uint8, shape (n, ceil(n_bits / 8))
            The codes, in the order of `ids`.

        Raises
        ------
        TypeError, ValueError
            If ids are not integers, or one is not held.

        See Also
        --------
        search : Find ids by codes.
        """
        chosen = check_ids(ids)
        state = self._state
        distinct, place_of = np.unique(chosen, return_inverse=True)
        holders = self._holders(state, distinct)
        _refuse_missing(distinct, holders)
        codes = np.empty((len(distinct), -(-self.n_bits // 8)), np.uint8)
        asked = [int(place) for place in np.unique(holders)]
        found = self.client.map(
            _shards.codes_of,
            [state.shards[place] for place in asked],
            [distinct[holders == place] for place in asked],
            pure=False,
        )
        for place, some in zip(asked, self.client.gather(found), strict=True):
            codes[holders == place] = some
        return codes[place_of]

    def save(self, path: str | os.PathLike[str], *, tables: bool = False) -> None:
        """
        Write the index to a folder: a file for each shard, and a manifest.

        Parameters
        ----------
        path : path
            A folder that does not exist yet or is empty, on a file system that this process and all
            workers share.
        tables : bool, default False
            Whether the files also hold the tables of multi-index hashing, as in
            `HammingIndex.save`.

        Raises
        ------
        OSError
            If the folder has files, or cannot be written, or this process does not see the files of
            the workers.
        TypeError
            If `tables` is neither True nor False, or the attribute `model` is neither text nor
            None.

        See Also
        --------
        load : Open the folder.

        Notes
        -----
        Each worker writes its shards. The manifest is written last, so an interrupted call leaves a
        folder that `load` refuses.
        """
        check_flag(tables, "tables")
        check_model(self.model)
        folder = check_new_folder(path)
        state = self._state
        files = [str(folder / file_name(place)) for place in range(len(state.shards))]
        written = self.client.map(
            partial(_shards.saved, tables=bool(tables), model=self.model),
            state.shards,
            files,
            pure=False,
        )
        sizes = self.client.gather(written)
        write_manifest(folder, Manifest(self._parameters, state.next_id, self.model, sizes))

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, mmap: bool = True, client: Any = None) -> Self:
        """
        Open a folder that `save` has written.

        Parameters
        ----------
        path : path
            The folder, which all workers see under this name. Its files must stay unchanged.
        mmap : bool, default True
            Whether workers map the files into memory, which takes milliseconds. Otherwise they
            read and check them.
        client : distributed.Client, optional
            The client of the cluster, by default the current one.

        Returns
        -------
        ShardedIndex

        Raises
        ------
        OSError
            If the folder has no manifest, or a file cannot be read.
        ValueError
            If a file is damaged, does not fit the manifest, or takes more memory than a worker has
            for data.

        See Also
        --------
        save : Write the folder.
        """
        check_flag(mmap, "mmap")
        manifest = read_manifest(path)
        if set(manifest.parameters) != {"n_bits", "multi_index"}:
            raise ValueError(f"the manifest of {path} is damaged: it says {manifest.parameters}")
        index = cls(**manifest.parameters, client=client)
        index.model = manifest.model
        folder = Path(path).absolute()
        row_bytes = shard_row_bytes(index.n_bits, 1)
        check_fits(index.client, manifest.sizes, row_bytes, f"shard {{}} of {path}")
        shards = index.client.map(
            partial(_shards.open_shard, mmap=bool(mmap)),
            [str(folder / file_name(place)) for place in range(len(manifest.sizes))],
            pure=False,
        )
        facts = index._facts(shards)
        for place, (n, fact) in enumerate(zip(manifest.sizes, facts, strict=True)):
            if fact.n != n:
                raise ValueError(
                    f"{folder / file_name(place)} has {fact.n} codes, and the manifest says {n}: "
                    "it is of another index"
                )
        index._state = ShardedState(tuple(shards), tuple(facts), manifest.next_id)
        return index

    @property
    def _parameters(self) -> dict[str, Any]:
        """Arguments of the constructor, which are also those of the index of a shard."""
        return {"n_bits": self.n_bits, "multi_index": self.multi_index}

    def _add_partitions(self, codes: Any, ids: Any) -> None:
        with self._lock:
            state = self._state
            new = shards_of(self.client, codes, ids, self._parameters, state.next_id)
            facts = self._facts(new)
            shards, all_facts = (*state.shards, *new), (*state.facts, *facts)
            check_ids_differ(self.client, shards, all_facts)
            next_id = max([state.next_id, *(f.next_id for f in facts)])
            self._state = ShardedState(shards, all_facts, next_id)

    def _add_array(self, codes: ArrayLike, ids: ArrayLike | None, replace: bool) -> None:
        with self._lock:
            state = self._state
            codes, chosen = self._checked(codes, ids, state.next_id)
            if len(chosen) == 0:
                return
            holders = self._holders(state, chosen)
            if not replace and (holders >= 0).any():
                raise ValueError(
                    f"ids holds {chosen[holders >= 0][0]}, which the index has already: leave it "
                    "out, or pass replace=True"
                )
            self._state = self._with(state, codes, chosen, holders)

    def _checked(
        self, codes: ArrayLike, ids: ArrayLike | None, next_id: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Codes and ids in ascending order of id, checked as by an index of this process."""
        codes = check_codes(codes, "codes", self.n_bits)
        if ids is None:
            ids = np.arange(next_id, next_id + len(codes))
        new = HammingIndex(self.n_bits)
        new.add(codes, ids=ids)
        return new.codes, new.ids

    def _holders(self, state: ShardedState, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The place of the shard that holds each id, which ascend; -1 for ids that none holds."""
        holders = np.full(len(ids), -1)
        asked = [place for place, f in enumerate(state.facts) if f.may_hold(ids)]
        found = self.client.map(
            partial(_shards.held, ids=ids), [state.shards[place] for place in asked], pure=False
        )
        for place, is_held in zip(asked, self.client.gather(found), strict=True):
            holders[is_held] = place
        return holders

    def _with(
        self,
        state: ShardedState,
        codes: NDArray[np.uint8],
        ids: NDArray[np.int64],
        holders: NDArray[np.int64],
    ) -> ShardedState:
        """The state in which codes replace those of the holders; the others go to one shard."""
        new = (holders < 0).sum()
        if new:
            smallest = self._place_for(state, int(new))
            if smallest is None:
                check_fits(self.client, [int(new)], shard_row_bytes(self.n_bits, 2), "codes")
                made = self.client.submit(_shards.Shard, self._empty, pure=False)
                nothing = ShardFacts(0, 0, np.empty(0, np.int64))
                state = ShardedState((*state.shards, made), (*state.facts, nothing), state.next_id)
                smallest = len(state.shards) - 1
            holders = np.where(holders < 0, smallest, holders)
        changes = {
            int(place): partial(
                _shards.changed,
                removed=ids[:0],
                added=(codes[holders == place], ids[holders == place]),
            )
            for place in np.unique(holders)
        }
        return self._changed(state, changes)

    def _place_for(self, state: ShardedState, n: int) -> int | None:
        """The shard with the fewest codes, if n more fit into the memory of its worker."""
        if not state.facts:
            return None
        place = min(range(len(state.facts)), key=lambda i: state.facts[i].n)
        n_bytes = (state.facts[place].n + n) * shard_row_bytes(self.n_bits, 2)
        fits = n_bytes <= memory_for_data(self.client)
        return place if fits else None

    def _changed(
        self, state: ShardedState, changes: Mapping[int, Callable[[Any], Any]]
    ) -> ShardedState:
        """The state after changes of some shards, once their workers have made them."""
        shards, facts = list(state.shards), list(state.facts)
        for place, change in changes.items():
            shards[place] = self.client.submit(change, shards[place], pure=False)
        new_facts = self._facts([shards[place] for place in changes])
        for place, fact in zip(changes, new_facts, strict=True):
            facts[place] = fact
        next_id = max([state.next_id, *(f.next_id for f in new_facts)])
        return ShardedState(tuple(shards), tuple(facts), next_id)

    def _facts(self, shards: Sequence[Any]) -> list[ShardFacts]:
        facts: list[ShardFacts] = self.client.gather(
            self.client.map(_shards.facts, shards, pure=False)
        )
        return facts


def _refuse_missing(ids: NDArray[np.int64], holders: NDArray[np.int64]) -> None:
    if (holders < 0).any():
        raise ValueError(f"ids holds {ids[holders < 0][0]}, which the index does not hold")
