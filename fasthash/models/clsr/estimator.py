"""`CLSR`: a common space of two modalities, learned by contrast and reconstruction, with codes."""

from __future__ import annotations

import numbers
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from ..._core.runtime import resolve_threads
from .._encoding import encode_rows
from .._preprocessing import kinds_of
from .._progress import Callback, Progress
from .._scales import Related
from ..base import CrossModalHasher
from ._appended import append_best
from ._codes import make_latent_maps
from ._latent_maps import (
    CanonicalVariates,
    DenseHead,
    LatentMap,
    Reconstruction,
    check_latent_map,
)
from ._latent_search import LatentSearch
from ._problem import (
    EpochRecord,
    check_item_pairs,
    make_problem,
    read_two_modalities,
    split_items,
)
from ._refinement import Refinement
from ._settings import check_parameters, has_few_items, settings_for

__all__ = ["CLSR"]

# Weight of the canonical variates without validation data to choose it, if items are few.
_VARIATES_OF_FEW_ITEMS = 0.5


class CLSR(LatentSearch):
    """
    Contrastive latent space reconstruction learning.

    Learns a common space of two modalities from pairs, such as clips and their captions, and codes
    of this space. Training needs PyTorch, the extra ``clsr``. `transform` and `encode` need it only
    if the encoders are your own modules.

    Parameters
    ----------
    n_bits : int, default 256
        Length of the codes, at most `n_latent`. Bits are signs of the principal components of the
        centred latents, or of the latents themselves if there are as many, after a rotation. From
        128 bits on, they are then refined, so that the sum of their directions is near the latents.
        With validation data, bits may also compare fewer components with several thresholds each.
    n_latent : int, default 256
        Number of latents that the heads compute; the reconstructed features are appended to them.
    hidden : sequence of int, default (512,)
        Widths of the hidden layers of a built-in head.
    dropout : float or "auto", default "auto"
        Share of hidden values that is dropped in training. "auto": 0.2, or 0.5 with fewer than
        2,000 items.
    encoders : mapping of str to torch.nn.Module, optional
        Your own modules by modality, which replace built-in heads: from preprocessed features
        (n, n_features) to latents (n, n_latent). They are copied, and the copies are trained.
    preprocessing : str or mapping of str to str, default "whiten"
        Preprocessing for both modalities, or per modality. "whiten": columns are standardised, and
        principal components are kept (256 of the first modality, 384 of the second), each divided
        by its standard deviation or by 0.3, whichever is larger. "centre": columns are centred, and
        all are divided by one number; better for TF-IDF and similar features. "standardise": every
        column is centred and divided by its standard deviation. "unit": rows of unit length.
        "none": nothing.
    temperature : float, default 0.1
        Temperature τ0 of the contrast.
    temperature_slope : float, default 0.0
        Slope α of the adaptive temperature τ0 (1 + α A), where A is the mean cosine of the pairs in
        a batch. The temperature stays between 0.01 and 0.3.
    consistency : float, default 0.3
        Weight of the consistency of neighbourhoods within the modalities.
    semantic : float, default 0.03
        Weight of the semantic teacher, whose neighbourhoods both modalities learn.
    semantic_temperature : float, default 0.05
        Temperature of the teacher's neighbourhoods.
    teacher : str, optional
        The modality whose features tell how similar samples are; by default the second one.
    reconstruction : float or "auto", default "auto"
        Weight of the contrastive reconstruction. "auto": 1, or 3 with fewer than 2,000 items.
    reconstruction_in_latents : float or "auto", default "auto"
        Weight w of the reconstructed features in the latents. They compare the features decoded
        from the latents of a query with those of a database item, and the other way round. 0 leaves
        them out. "auto": 0.25, or 1 with fewer than 2,000 items, in training; afterwards the best
        of several weights on validation data; 0 if `reconstruction` is 0.
    variates_in_latents : float or "auto", default "auto"
        Weight c of canonical variates in the latents: linear projections of the two modalities that
        correlate in pairs. 0 leaves them out. "auto": the best of several weights on validation
        data. Without validation data 0, or 0.5 with fewer than 2,000 items.
    n_targets : int, default 64
        Number of principal components of a whitened modality that are reconstructed. All columns of
        other modalities are reconstructed.
    n_epochs : int or "auto", default "auto"
        Largest number of epochs. "auto": 20, or 40 with fewer than 2,000 items.
    batch_size : int, default 256
        Number of pairs in a batch.
    learning_rate : float, default 3e-3
        Largest step size of the optimiser.
    weight_decay : float, default 1e-2
        Weight decay of the optimiser.
    patience : int or None, default 10
        Number of epochs without a better validation result after which training stops. None: never.
    device : str, default "auto"
        Where to train: "auto" is a CUDA device if there is one, else the processor. On a CUDA
        device with bfloat16 the networks are computed in bfloat16.
    random_state : int, RandomState instance or None, default None
        Seed of weights, batches, dropout and rotation.

    Attributes
    ----------
    codes_, projections_, feature_maps_, modalities_, n_features_in_, feature_names_in_
        As in `CrossModalHasher`; the feature maps are `LatentMap`.
    history_ : list of EpochRecord
        Loss, its parts, temperature and validation recalls of every epoch.
    best_epoch_ : int
        The epoch whose weights the model has, from 1 on: the one with the largest sum of validation
        recalls, or the last one without validation.

    See Also
    --------
    RREH : Learns from pairs without PyTorch.

    Notes
    -----
    A step costs O(b² · k + b · weights), with a batch of b pairs and k latents. The preprocessed
    features of the training rows are held in float32.

    References
    ----------
    Luo, Zhang, Wang, Li, Cheng, Xiao, "Contrastive Latent Space Reconstruction Learning for
    Audio-Text Retrieval", ICTAI 2023, arXiv:2309.08839. docs/research/clsr.md lists what differs
    from it.

    Examples
    --------
    >>> import numpy as np
    >>> import fasthash as fh
    >>> rng = np.random.default_rng(0)
    >>> sounds = rng.standard_normal((300, 8))
    >>> audio = sounds @ rng.standard_normal((8, 30))
    >>> text = np.repeat(sounds, 2, axis=0) @ rng.standard_normal((8, 20))
    >>> pairs = np.column_stack([np.repeat(np.arange(300), 2), np.arange(600)])
    >>> model = fh.CLSR(n_bits=64, n_latent=64, n_epochs=15, random_state=0)
    >>> model = model.fit({"audio": audio, "text": text}, pairs)
    >>> found = fh.topk(model.encode(text[:2], "text"), model.codes_["audio"], k=10)[1]
    >>> bool((found == 0).any())
    True
    """

    _learned = (*CrossModalHasher._learned, "history_", "best_epoch_")
    _parts = (
        *CrossModalHasher._parts,
        *(LatentMap, DenseHead, Reconstruction, CanonicalVariates, Refinement),
    )

    feature_maps_: dict[str, LatentMap]

    def __init__(
        self,
        n_bits: int = 256,
        *,
        n_latent: int = 256,
        hidden: Sequence[int] = (512,),
        dropout: float | str = "auto",
        encoders: Mapping[str, Any] | None = None,
        preprocessing: str | Mapping[str, str] = "whiten",
        temperature: float = 0.1,
        temperature_slope: float = 0.0,
        consistency: float = 0.3,
        semantic: float = 0.03,
        semantic_temperature: float = 0.05,
        teacher: str | None = None,
        reconstruction: float | str = "auto",
        reconstruction_in_latents: float | str = "auto",
        variates_in_latents: float | str = "auto",
        n_targets: int = 64,
        n_epochs: int | str = "auto",
        batch_size: int = 256,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-2,
        patience: int | None = 10,
        device: str = "auto",
        random_state: Any = None,
    ) -> None:
        self.n_bits = n_bits
        self.n_latent = n_latent
        self.hidden = hidden
        self.dropout = dropout
        self.encoders = encoders
        self.preprocessing = preprocessing
        self.temperature = temperature
        self.temperature_slope = temperature_slope
        self.consistency = consistency
        self.semantic = semantic
        self.semantic_temperature = semantic_temperature
        self.teacher = teacher
        self.reconstruction = reconstruction
        self.reconstruction_in_latents = reconstruction_in_latents
        self.variates_in_latents = variates_in_latents
        self.n_targets = n_targets
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.patience = patience
        self.device = device
        self.random_state = random_state

    def fit(
        self,
        features: Mapping[str, ArrayLike],
        pairs: ArrayLike | None = None,
        *,
        validation: float | tuple[Mapping[str, ArrayLike], ArrayLike | None] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
        n_threads: int | None = None,
        callback: Callback | None = None,
        verbose: bool = False,
    ) -> CLSR:
        """
        Learn the common space from pairs, and compute the codes of all samples.

        Parameters
        ----------
        features : mapping of str to array_like, each of shape (n_samples, n_features)
            Features of two modalities: arrays, also memory-mapped, or anything sliced by rows.
        pairs : array_like of int, shape (n_pairs, 2), optional
            Rows that belong together: a row of the first modality and a row of the second, in the
            order of `features`. Rows of one modality may repeat, as for a clip with several
            captions. Rows in no pair get codes, but nothing is learned from them. By default row i
            belongs to row i.
        validation : float, or (features, pairs), optional
            Data by which the best epoch is chosen. Either other samples, or a share of the items of
            `pairs`, which are drawn at random and held out of training. By default the last epoch
            is kept.
        checkpoint : path, optional
            A file that is written after every epoch, completely or not at all.
        resume : bool, default False
            Continue an interrupted fit of the same data and parameters from its checkpoint. On the
            processor, with the same number of threads, the result is that of a fit without
            interruption.
        n_threads : int, optional
            Number of threads, as in `fasthash.topk`.
        callback : callable, optional
            Called as ``callback(stage, done, total)`` after each of the "epochs", when its
            checkpoint has been written, and during the stages "codes of <modality>". If it raises
            an error, the fit ends, and `resume` continues it.
        verbose : bool, default False
            Show progress, loss and recalls of every epoch on standard error.

        Returns
        -------
        CLSR
            The model itself.

        Raises
        ------
        ImportError
            If PyTorch is missing.
        TypeError, ValueError
            If parameters, features or pairs are unsuitable, the checkpoint is of another fit, or
            the loss is no longer finite. The model is then unchanged.

        See Also
        --------
        encode : Compute the codes of other samples.
        transform : Compute the latents of other samples.

        Notes
        -----
        `patience` stops a fit early. After the fit, ``history_`` has the results of every epoch.
        """
        check_parameters(self)
        n_threads = resolve_threads(n_threads)
        rows = read_two_modalities(features, self.teacher, self.encoders)
        kinds = kinds_of(self, rows)
        pairs = check_item_pairs(pairs, rows)
        checkpoint = None if checkpoint is None else Path(checkpoint)
        if resume and (checkpoint is None or not checkpoint.exists()):
            raise ValueError(
                f"resume=True, but there is no checkpoint to go on from: checkpoint={checkpoint}"
            )
        training = _training_module()
        device = training.choose_device(self.device)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        if resume and not isinstance(self.random_state, numbers.Integral):
            # What the interrupted fit drew is not to be had again in another way.
            seed = training.seed_of(checkpoint)
        rng = np.random.RandomState(seed)

        pairs, held_out = split_items(rows, pairs, validation, rng)
        teacher = list(rows)[1] if self.teacher is None else self.teacher
        preprocessing, problem = make_problem(rows, pairs, held_out, kinds, teacher, self.n_targets)
        settings = settings_for(self, len(problem.items))

        with Progress(callback, verbose) as report:

            def report_epoch(record: EpochRecord) -> None:
                report("epochs", record.epoch, record.n_epochs, record.details)

            trained = training.train(
                problem,
                settings,
                self.encoders or {},
                seed,
                device,
                n_threads,
                report_epoch,
                checkpoint,
                problem.fingerprint() if checkpoint else "",
                resume,
            )
            few, weight = has_few_items(len(problem.items)), self.variates_in_latents
            appended = append_best(
                problem,
                trained.heads,
                trained.reconstructions,
                choose_reconstruction=self.reconstruction_in_latents == "auto",
                variates_weight=None if isinstance(weight, str) else float(weight),
                usual_variates_weight=_VARIATES_OF_FEW_ITEMS if few else 0.0,
            )
            feature_maps, projections = make_latent_maps(
                *(problem, preprocessing, trained.heads, appended),
                *(settings.reconstruction_in_latents, self.n_bits, not few, rng),
            )
            codes = {
                name: encode_rows(
                    *(rows[name], feature_maps[name], projections[name], n_threads),
                    *(report, f"codes of {name}"),
                )
                for name in rows
            }
        self._set_fitted(
            *(rows, feature_maps, projections, codes, Related.of_pairs(pairs, rows)),
            history_=trained.history,
            best_epoch_=trained.best_epoch,
        )
        return self

    def _learned_state(self) -> dict[str, Any]:
        learned = super()._learned_state()
        return {**learned, "history_": [record.to_plain() for record in self.history_]}

    def _set_learned_state(self, learned: dict[str, Any]) -> None:
        history = [EpochRecord.from_plain(record) for record in learned["history_"]]
        super()._set_learned_state({**learned, "history_": history})

    @staticmethod
    def _check_feature_map(feature_map: Any, n_features: Any, n_out: int) -> None:
        check_latent_map(feature_map, n_features, n_out)


def _training_module() -> Any:
    try:
        from . import _training as clsr_training
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ImportError(
            "CLSR trains with PyTorch, which is not installed: pip install "
            '"fasthash-retrieval[clsr]"'
        ) from None
    return clsr_training
