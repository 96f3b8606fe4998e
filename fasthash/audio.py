"""Feature vectors of sounds without a pretrained network: statistics of log-mel spectra.

Use `sound_features` for files and `log_mel_statistics` for samples that are already in memory.
scipy reads WAV files; soundfile, which the extra ``audio`` installs, reads other formats.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import lru_cache
from math import gcd
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core.arrays import as_array
from ._core.pieces import cut
from ._core.validation import check_count

__all__ = ["log_mel_statistics", "read_sound", "sound_features"]

# All sounds are resampled to this rate, in samples per second. Speech, and most of the differences
# between sounds, lie below 8 kHz.
_RATE = 16_000
_WINDOW, _HOP = 400, 160
_N_FFT = 512
_LOWEST, _HIGHEST = 50.0, 8000.0
# This power is added to every band, so that the logarithm of silence is finite.
_SILENCE = 1e-8
_STATISTICS = 4


def sound_features(
    paths: Iterable[str | os.PathLike[str]],
    *,
    n_mels: int = 64,
    callback: Callable[[str, int, int], None] | None = None,
) -> NDArray[np.float32]:
    """
    Compute one feature vector for each sound file.

    Parameters
    ----------
    paths : iterable of path
        Sound files. The channels of a file are averaged.
    n_mels : int, default 64
        Number of mel bands.
    callback : callable, optional
        Called as ``callback("sounds", done, total)`` after every file.

    Returns
    -------
    ndarray of float32, shape (n_files, 4 · n_mels)
        Row i holds the result of `log_mel_statistics` for file i.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ImportError
        If a file needs soundfile, and soundfile is not installed.
    ValueError
        If a file cannot be read as sound, or `paths` is empty.

    See Also
    --------
    log_mel_statistics : The same features of samples in memory.

    Notes
    -----
    Each file is read whole, one file at a time, which takes 64 kB per second of sound at 16 kHz.
    Its spectra are computed block by block.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import numpy as np
    >>> from scipy.io import wavfile
    >>> from fasthash.audio import sound_features
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "a.wav")
    ...     wavfile.write(path, 16000, np.sin(np.arange(16000) * 0.17).astype(np.float32))
    ...     sound_features([path]).shape
    (1, 256)
    """
    paths = list(paths)
    if not paths:
        raise ValueError("paths is empty: pass at least one sound file")
    features = []
    for i, path in enumerate(paths, start=1):
        samples, rate = read_sound(path)
        try:
            features.append(log_mel_statistics(samples, rate, n_mels=n_mels))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        if callback is not None:
            callback("sounds", i, len(paths))
    return np.stack(features)


def log_mel_statistics(samples: ArrayLike, rate: int, *, n_mels: int = 64) -> NDArray[np.float32]:
    """
    Describe a sound by statistics of its log-mel spectrum over time.

    Parameters
    ----------
    samples : array_like, shape (n,)
        Amplitudes of one channel, between -1 and 1. At least one sample is needed.
    rate : int
        Samples per second.
    n_mels : int, default 64
        Number of mel bands between 50 Hz and 8 kHz.

    Returns
    -------
    ndarray of float32, shape (4 · n_mels,)
        Four statistics of the natural logarithm of the power in each band: first the means of all
        bands, then the standard deviations, the largest values, and the mean absolute changes from
        one frame to the next.

    Raises
    ------
    TypeError, ValueError
        If the samples are not one-dimensional and finite, or there are none.

    See Also
    --------
    sound_features : The same features of sound files.
    read_sound : Read the samples and the rate of a file.

    Notes
    -----
    The sound is resampled to 16 kHz and cut into frames of 25 ms, one every 10 ms, with a Hann
    window. The mel scale is that of O'Shaughnessy, 2595 log10(1 + f / 700). A sound that is shorter
    than one frame is padded with silence.

    Examples
    --------
    The band with the largest mean is lower for a low tone than for a high tone.

    >>> import numpy as np
    >>> from fasthash.audio import log_mel_statistics
    >>> time = np.arange(16000) / 16000
    >>> low, high = (log_mel_statistics(np.sin(2 * np.pi * f * time), 16000) for f in (220, 3520))
    >>> int(low[:64].argmax()) < int(high[:64].argmax())
    True
    """
    rate, n_mels = check_count(rate, "rate"), check_count(n_mels, "n_mels")
    x = as_array(samples, "samples")
    if x.ndim != 1 or x.dtype.kind not in "fiu" or len(x) == 0:
        raise ValueError(
            "samples must be at least one number in one dimension, that is one channel; got "
            f"{x.dtype} of shape {x.shape}"
        )
    x = x.astype(np.float32)
    if not np.isfinite(x).all():
        raise ValueError("samples must be finite; replace NaN and infinity first")
    logarithms = _log_mel(_resample(x, rate), n_mels)
    changes: NDArray[np.float32] = np.abs(np.diff(logarithms, axis=0))
    parts = [logarithms.mean(axis=0), logarithms.std(axis=0), logarithms.max(axis=0)]
    parts.append(changes.mean(axis=0) if len(changes) else np.zeros(n_mels, np.float32))
    return np.concatenate(parts).astype(np.float32)


def read_sound(path: str | os.PathLike[str]) -> tuple[NDArray[np.float32], int]:
    """
    Read a sound file as one channel.

    Parameters
    ----------
    path : path
        A WAV file, or a file that soundfile reads. Its channels are averaged.

    Returns
    -------
    samples : ndarray of float32, shape (n,)
        Amplitudes between -1 and 1.
    rate : int
        Samples per second.

    Raises
    ------
    FileNotFoundError
        If the file is missing.
    ImportError
        If the file needs soundfile, and soundfile is not installed.
    ValueError
        If the file cannot be read as sound.

    See Also
    --------
    log_mel_statistics : Compute features of the samples.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import numpy as np
    >>> from scipy.io import wavfile
    >>> from fasthash.audio import read_sound
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "a.wav")
    ...     wavfile.write(path, 8000, np.array([[0, 16384], [0, -32768]], np.int16))
    ...     read_sound(path)
    (array([ 0.25, -0.5 ], dtype=float32), 8000)
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if path.suffix.lower() in (".wav", ".wave"):
        return _read_wav(path)
    try:
        import soundfile
    except ImportError:
        raise ImportError(
            f"{path} is not a WAV file, and other formats need soundfile: pip install "
            '"fasthash-retrieval[audio]"'
        ) from None
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{path} cannot be read as sound: {error}") from None
    return samples.mean(axis=1), int(rate)


def _read_wav(path: Path) -> tuple[NDArray[np.float32], int]:
    from scipy.io import wavfile

    try:
        rate, samples = wavfile.read(path)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} cannot be read as sound: {error}") from None
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128) / 128
    elif samples.dtype.kind == "i":
        samples = samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    x: NDArray[np.float32] = samples.astype(np.float32)
    return x.mean(axis=1) if x.ndim == 2 else x, int(rate)


def _resample(x: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    if rate == _RATE:
        return x
    from scipy.signal import resample_poly

    shared = gcd(rate, _RATE)
    return resample_poly(x, _RATE // shared, rate // shared).astype(np.float32)


def _log_mel(x: NDArray[np.float32], n_mels: int) -> NDArray[np.float32]:
    """Compute the logarithms of the band powers, shape (n_frames, n_mels)."""
    if len(x) < _WINDOW:
        x = np.pad(x, (0, _WINDOW - len(x)))
    frames = np.lib.stride_tricks.sliding_window_view(x, _WINDOW)[::_HOP]
    window = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)
    bands = _mel_bands(n_mels)
    out = np.empty((len(frames), n_mels), np.float32)
    for rows in cut(len(frames), _N_FFT):
        spectrum = np.fft.rfft(frames[rows] * window, _N_FFT)
        power = (spectrum.real**2 + spectrum.imag**2) / window.sum() ** 2
        out[rows] = np.log(power @ bands + _SILENCE)
    return out


@lru_cache(maxsize=4)
def _mel_bands(n_mels: int) -> NDArray[np.float64]:
    """Compute the triangular weights of frequencies in bands, shape (n_fft / 2 + 1, n_mels)."""
    low, high = (2595 * np.log10(1 + f / 700) for f in (_LOWEST, _HIGHEST))
    edges = 700 * (10 ** (np.linspace(low, high, n_mels + 2) / 2595) - 1)
    frequencies = np.fft.rfftfreq(_N_FFT, 1 / _RATE)[:, None]
    left, middle, right = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (
        (frequencies - left) / (middle - left),
        (right - frequencies) / (right - middle),
    )
    bands = np.maximum(0, np.minimum(rising, falling))
    # A band that lies between two frequencies of the spectrum uses the nearest frequency.
    empty = np.flatnonzero(bands.sum(axis=0) == 0)
    bands[np.abs(frequencies - middle[empty]).argmin(axis=0), empty] = 1
    return bands
