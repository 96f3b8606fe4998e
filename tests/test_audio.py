"""Features of sound files: readers, what the features tell, a folder of clips with captions."""

import csv

import numpy as np
import pytest
from scipy.io import wavfile

from fasthash.audio import log_mel_statistics, read_sound, sound_features

RATE = 16_000


def tone(frequency, seconds=0.4, rate=RATE, decay=0.0, phase=0.0):
    time = np.arange(int(seconds * rate)) / rate
    return np.exp(-decay * time) * np.sin(2 * np.pi * frequency * time + phase)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint8, np.float32])
def test_kinds_of_wav_are_the_same_sound(tmp_path, dtype):
    x = 0.5 * tone(440)
    if dtype == np.uint8:
        stored = np.round(128 + 128 * x).astype(dtype)
    else:
        stored = (x * np.iinfo(dtype).max if dtype != np.float32 else x).astype(dtype)
    wavfile.write(tmp_path / "a.wav", RATE, stored)
    samples, rate = read_sound(tmp_path / "a.wav")
    assert rate == RATE and samples.dtype == np.float32
    np.testing.assert_allclose(samples, x, atol=0.01)


def test_channels_are_averaged(tmp_path):
    both = np.column_stack([tone(440), tone(880)]).astype(np.float32)
    wavfile.write(tmp_path / "a.wav", RATE, both)
    np.testing.assert_allclose(read_sound(tmp_path / "a.wav")[0], both.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("extension", ["flac", "ogg"])
def test_other_formats_are_read_by_soundfile(tmp_path, extension):
    soundfile = pytest.importorskip("soundfile", reason="needs soundfile: pip install '.[audio]'")
    x = 0.5 * tone(440)
    soundfile.write(tmp_path / f"a.{extension}", x, RATE)
    wavfile.write(tmp_path / "a.wav", RATE, x.astype(np.float32))
    features = sound_features([tmp_path / "a.wav", tmp_path / f"a.{extension}"])
    loud = features[0, :64] > -12
    np.testing.assert_allclose(features[0, :64][loud], features[1, :64][loud], atol=0.3)


def test_a_tone_is_loudest_in_its_band():
    mel = 2595 * np.log10(1 + np.array([50, 8000]) / 700)
    for frequency in (220, 440, 1000, 3000):
        mean = log_mel_statistics(tone(frequency), RATE)[:64]
        place = (2595 * np.log10(1 + frequency / 700) - mel[0]) / (mel[1] - mel[0]) * 65 - 1
        assert abs(mean.argmax() - place) <= 1


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000])
def test_the_rate_of_the_file_does_not_matter(rate):
    expected = log_mel_statistics(tone(440, decay=3), RATE)
    ours = log_mel_statistics(tone(440, rate=rate, decay=3), rate)
    loud = expected[:64] > expected[:64].max() - 6
    np.testing.assert_allclose(ours[:64][loud], expected[:64][loud], atol=0.2)


def test_statistics_say_what_changes():
    steady, fading = (log_mel_statistics(tone(440, decay=decay), RATE) for decay in (0, 8))
    band = int(steady[:64].argmax())
    assert fading[64 + band] > 0.5 > 0.1 > steady[64 + band]
    assert fading[192 + band] > steady[192 + band]


@pytest.mark.parametrize("n", [1, 100, 400, 401, 559, 560])
def test_short_sounds_and_silence(n):
    for x in (np.zeros(n), tone(440)[:n]):
        features = log_mel_statistics(x, RATE, n_mels=128)
        assert features.shape == (512,) and np.isfinite(features).all()


def test_what_it_refuses(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*missing\.wav"):
        sound_features([tmp_path / "missing.wav"])
    with pytest.raises(ValueError, match="paths is empty"):
        sound_features([])
    (tmp_path / "text.wav").write_bytes(b"no sound at all, only words")
    with pytest.raises(ValueError, match=r"text\.wav cannot be read as sound"):
        sound_features([tmp_path / "text.wav"])
    wavfile.write(tmp_path / "empty.wav", RATE, np.zeros(0, np.int16))
    with pytest.raises(ValueError, match=r"empty\.wav: samples must be"):
        sound_features([tmp_path / "empty.wav"])
    with pytest.raises(ValueError, match="one dimension"):
        log_mel_statistics(np.zeros((5, 2)), RATE)
    with pytest.raises(ValueError, match="finite"):
        log_mel_statistics(np.array([0, np.nan]), RATE)


def test_without_soundfile_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    (tmp_path / "a.mp3").write_bytes(b"")
    with pytest.raises(ImportError, match=r"pip install \"fasthash-retrieval\[audio\]\""):
        read_sound(tmp_path / "a.mp3")


KINDS = {
    "plucked": {"decay": 12.0},
    "bowed": {"decay": 0.0},
}
PITCHES = {"low": 110.0, "middle": 440.0, "high": 1760.0}


def write_folder(folder, rng, n_each):
    """Sounds of six kinds with two captions each, as files and a table."""
    rows = []
    for kind, shape in KINDS.items():
        for pitch, frequency in PITCHES.items():
            for i in range(n_each):
                x = 0.5 * tone(frequency * rng.uniform(0.9, 1.1), phase=rng.uniform(0, 6), **shape)
                x += 0.01 * rng.standard_normal(len(x))
                name = f"{kind}-{pitch}-{i}.wav"
                wavfile.write(folder / name, RATE, x.astype(np.float32))
                take = 100 + len(rows)
                rows += [(name, f"take {take}, a {kind} string, {pitch}")]
                rows += [(name, f"{pitch} note of a {kind} string")]
    with open(folder / "captions.csv", "w", newline="") as file:
        csv.writer(file).writerows([("file", "caption"), *rows])
