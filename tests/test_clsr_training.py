"""A fit of CLSR as a process: the best epoch, progress, seeds, interruptions, checkpoints."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from sklearn.base import clone

import fasthash as fh
from clips import NO_PARTS, SMALL, assert_same_model, fit, make_clips, recall_sum
from fasthash.models import _progress

torch = pytest.importorskip("torch", reason="CLSR trains with PyTorch: pip install '.[clsr]'")


def test_the_best_epoch_by_validation_is_restored():
    views, pairs = make_clips(n=60, noise=2.0)
    held_out = make_clips(n=60, seed=1, noise=2.0)
    forgetful = {
        **NO_PARTS,
        "variates_in_latents": 0,
        "n_epochs": 40,
        "learning_rate": 3e-2,
        "dropout": 0.0,
    }

    def learn(patience):
        parameters = {**forgetful, "patience": patience}
        return fit(views, pairs, validation=held_out, parameters=parameters)

    model = learn(None)
    sums = [record.recall_sum for record in model.history_]
    assert model.best_epoch_ == 1 + int(np.argmax(sums)) < len(sums) == 40
    assert recall_sum(model, *held_out) == pytest.approx(max(sums), abs=0.2)
    patient = learn(2)
    assert len(patient.history_) == patient.best_epoch_ + 2 < 40


def test_a_share_of_the_items_is_held_out_whole():
    views, pairs = make_clips()
    events = []
    model = fit(views, pairs, validation=0.25, callback=lambda *event: events.append(event))
    assert [event for event in events if event[0] == "epochs"] == [
        ("epochs", epoch, 6) for epoch in range(1, 7)
    ]
    seen = model.history_
    assert list(seen[0].recall) == [("audio", "text"), ("text", "audio")]
    assert str(seen[-1]).startswith("epoch 6/6  loss ") and "text→audio R@1/5/10" in str(seen[-1])
    # Captions of a clip that is held out are, too: 60 clips of 240 were not learned from.
    names = fit(views, pairs, validation=0.25).history_
    assert names == seen


def test_verbose_prints_a_line_per_epoch(capsys, monkeypatch):
    monkeypatch.setattr(_progress, "find_spec", lambda name: None)
    fit(*make_clips(n=60), verbose=True, parameters={"n_epochs": 2})
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epochs: ")]
    assert [line.split("  ")[0] for line in lines] == ["epochs: 1 of 2", "epochs: 2 of 2"]
    assert all("loss" in line and "temperature" in line for line in lines)


def test_one_seed_one_model_whatever_else_draws():
    views, pairs = make_clips()
    torch.manual_seed(5)
    first = fit(views, pairs)
    drawn = torch.rand(3)
    again = fit(views, pairs, callback=lambda *event: torch.rand(7))
    assert_same_model(first, again)
    # The caller's generator is where it would be without the fit.
    torch.manual_seed(5)
    torch.testing.assert_close(torch.rand(3), drawn)
    other = fit(views, pairs, parameters={"random_state": 1})
    assert (other.codes_["audio"] != first.codes_["audio"]).any()
    assert clone(first).get_params() == first.get_params()


class Stopped(Exception):
    pass


@pytest.mark.parametrize("validation", [None, 0.2])
@pytest.mark.parametrize("error", [Stopped, KeyboardInterrupt])
def test_an_interrupted_fit_goes_on_as_if_it_had_not_been(tmp_path, validation, error):
    views, pairs = make_clips()
    path = tmp_path / "run.pt"

    def stop(stage, done, total):
        if done == 3:
            raise error

    options = {"validation": validation, "checkpoint": path}
    model = fh.CLSR(**SMALL)
    with pytest.raises(error):
        model.fit(views, pairs, callback=stop, n_threads=1, **options)
    assert not hasattr(model, "codes_")
    epochs = []
    model.fit(
        views,
        pairs,
        resume=True,
        callback=lambda *event: epochs.append(event),
        n_threads=1,
        **options,
    )
    assert epochs[:3] == [("epochs", epoch, 6) for epoch in (4, 5, 6)]
    assert_same_model(model, fit(views, pairs, validation=validation))


def test_a_killed_process_leaves_a_checkpoint_to_go_on_from(tmp_path):
    views, pairs = make_clips()
    path = tmp_path / "run.pt"
    np.savez(tmp_path / "clips.npz", pairs=pairs, **views)
    program = f"""
        import time
        import numpy as np
        import fasthash as fh
        clips = np.load({str(tmp_path / "clips.npz")!r})
        views = {{name: clips[name] for name in ("audio", "text")}}
        fh.CLSR(**{SMALL!r}).fit(
            views, clips["pairs"], n_threads=1, checkpoint={str(path)!r},
            callback=lambda stage, done, total: time.sleep(0.5 if done == 1 else 60),
        )
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])
    try:
        while not path.exists():
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    resumed = fit(views, pairs, checkpoint=path, resume=True)
    assert_same_model(resumed, fit(views, pairs))


def test_a_checkpoint_of_another_fit_is_refused(tmp_path):
    views, pairs = make_clips(n=60)
    path = tmp_path / "run.pt"
    with pytest.raises(ValueError, match="no checkpoint to go on from"):
        fit(views, pairs, checkpoint=path, resume=True)
    fit(views, pairs, checkpoint=path, parameters={"n_epochs": 1})
    with pytest.raises(ValueError, match="differs in temperature, n_epochs:"):
        fit(views, pairs, checkpoint=path, resume=True, parameters={"temperature": 0.2})
    unseeded = {"random_state": None, "n_epochs": 1}
    first = fit(views, pairs, checkpoint=path, parameters=unseeded)
    again = fit(views, pairs, checkpoint=path, parameters=unseeded, resume=True)
    assert_same_model(first, again)
    (tmp_path / "other.pt").write_bytes(b"something else")
    with pytest.raises(ValueError, match="is no checkpoint"):
        fit(views, pairs, checkpoint=tmp_path / "other.pt", resume=True)
    fit(views, pairs, checkpoint=path, parameters={"n_epochs": 1})
    changed = {**views, "text": views["text"] + np.eye(*views["text"].shape)}
    with pytest.raises(ValueError, match="differs in data:"):
        fit(changed, pairs, checkpoint=path, resume=True, parameters={"n_epochs": 1})
