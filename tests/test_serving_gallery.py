"""What a gallery shows: pictures of its folder and of nowhere else, labels both ways."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from fasthash.pages.pictures import PictureFiles, media_type

pytest.importorskip("starlette", reason="the extra 'serve' is not installed")
pytest.importorskip("httpx2", reason="httpx2 asks the application")

from starlette.testclient import TestClient

import fasthash as fh
from fasthash.serving.app import application
from fasthash.serving.collection import Collection, Files, Length
from fasthash.serving.gallery import Gallery, Labels, files_of_folder, sound_type

PNG = b"\x89PNG\r\n\x1a\n and more"
SECRET = b"\x89PNG\r\n\x1a\n a secret"


@pytest.fixture
def folder(tmp_path):
    """A gallery with a picture, beside it a secret that looks like one."""
    (tmp_path / "secret.png").write_bytes(SECRET)
    (tmp_path / "gallery-of-others").mkdir()
    (tmp_path / "gallery-of-others" / "a.png").write_bytes(SECRET)
    gallery = tmp_path / "gallery"
    (gallery / "sub").mkdir(parents=True)
    (gallery / "a.png").write_bytes(PNG)
    (gallery / "sub" / "b.png").write_bytes(PNG)
    return gallery


def client_of(pictures, n):
    index = fh.HammingIndex(8)
    index.add(np.arange(n, dtype=np.uint8)[:, None])
    collection = Collection("pictures", Gallery(pictures=pictures), [Length(index)])
    return TestClient(application(collection))


def test_pictures_of_the_folder_are_shown(folder):
    (folder / "inside.png").symlink_to(folder / "a.png")
    files = ["a.png", "sub/b.png", "sub/../a.png", "inside.png", "", "missing.png"]
    client = client_of(PictureFiles(folder, files), 7)
    for item in range(4):
        response = client.get(f"/api/items/{item}/picture")
        assert response.content == PNG and response.headers["content-type"] == "image/png"
    for item in (4, 5, 6):
        assert client.get(f"/api/items/{item}/picture").status_code == 404
    shown = [client.get(f"/api/items/{item}").json()["has_picture"] for item in range(7)]
    assert shown == [True] * 4 + [False, True, False]


@pytest.mark.parametrize(
    "name",
    [
        "../secret.png",
        "sub/../../secret.png",
        "../gallery-of-others/a.png",
        "/etc/passwd",
        "a.png\0",
        "..",
    ],
)
def test_names_that_lead_out_are_refused(folder, name):
    with pytest.raises(ValueError, match="is not in"):
        PictureFiles(folder, ["a.png", name])
    with pytest.raises(ValueError, match="is not in"):
        PictureFiles(folder, [str(folder.parent / "secret.png")])


@pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")
def test_links_that_lead_out_are_not_followed(folder):
    """Also those that come after the start, in the place of a file or of a folder."""
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    (folder / "sub" / "out").symlink_to(folder.parent)
    (folder / "sub" / "out.png").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    files = ["a.png", "sub/b.png", "link.png", "sub/out/secret.png", "sub/out.png", "pipe.png",
             "loop.png", "sub"]  # fmt: skip
    client = client_of(PictureFiles(folder, files), len(files))
    for item, status in enumerate([200, 200] + [404] * 6):
        assert client.get(f"/api/items/{item}/picture").status_code == status, files[item]
    (folder / "a.png").unlink()
    (folder / "a.png").symlink_to(folder.parent / "secret.png")
    (folder / "sub").rename(folder / "was")
    (folder / "sub").symlink_to(folder.parent / "gallery-of-others")
    (folder.parent / "gallery-of-others" / "b.png").write_bytes(SECRET)
    for item in (0, 1):
        response = client.get(f"/api/items/{item}/picture")
        assert response.status_code == 404 and SECRET not in response.content


def test_what_is_no_picture_is_not_sent(folder):
    (folder / "page.png").write_bytes(b"<html><script>alert(1)</script>")
    (folder / "drawing.png").write_bytes(b"<svg onload='alert(1)'/>")
    (folder / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    os.truncate(folder / "huge.png", (1 << 24) + 1)
    client = client_of(PictureFiles(folder, ["page.png", "drawing.png", "huge.png"]), 3)
    for item in range(3):
        assert client.get(f"/api/items/{item}/picture").status_code == 404


def test_kinds_of_pictures():
    assert media_type(PNG) == "image/png"
    assert media_type(b"\xff\xd8\xff\xe0") == "image/jpeg"
    assert media_type(b"GIF89a") == "image/gif"
    assert media_type(b"RIFF\x10\0\0\0WEBPVP8 ") == "image/webp"
    assert media_type(b"RIFF\x10\0\0\0WAVEfmt ") is None and media_type(b"") is None


def test_sounds_of_the_folder_are_sent(folder):
    (folder / "a.ogg").write_bytes(b"OggS and more")
    (folder / "b.wav").write_bytes(b"<html>")
    index = fh.HammingIndex(8)
    index.add(np.arange(3, dtype=np.uint8)[:, None])
    sounds = PictureFiles(folder, files_of_folder(folder, "sounds"))
    client = TestClient(application(Collection("s", Gallery(sounds=sounds), [Length(index)])))
    response = client.get("/api/items/0/sound")
    assert response.content == b"OggS and more"
    assert response.headers["content-type"] == "audio/ogg"
    assert [client.get(f"/api/items/{item}/sound").status_code for item in (1, 2)] == [404, 404]
    shown = [client.get(f"/api/items/{item}").json()["has_sound"] for item in range(3)]
    assert shown == [True, True, False]


def test_kinds_of_sounds():
    assert sound_type(b"RIFF\x10\0\0\0WAVEfmt ") == "audio/wav"
    assert sound_type(b"fLaC\0") == "audio/flac"
    assert sound_type(b"ID3\x04") == sound_type(b"\xff\xfb\x90\x44") == "audio/mpeg"
    assert sound_type(PNG) is None and sound_type(b"") is None


def test_a_file_is_searched_by_the_features_of_a_function():
    """The function gets a path of its own, which is gone afterwards; its ValueError is told."""
    paths = []

    def features(given):
        paths.extend(given)
        with open(given[0], "rb") as file:
            content = file.read()
        if content.endswith(b"!"):
            raise ValueError("a picture of nothing")
        return np.array([[len(content) - 20.0, 1.0]])

    index = fh.HammingIndex(2)
    index.add(np.array([[0b01000000], [0b11000000]], np.uint8))
    length = Length(index, lambda x, modality: x, {"image": 2})
    collection = Collection("files", Gallery(), [length], files=[Files(features, "image")])
    client = TestClient(application(collection))
    assert client.get("/api/info").json()["by_file"] == ["image"]

    def ask(content, **query):
        return client.post(
            "/api/search/file", params={"modality": "image", **query}, content=content
        )

    for content, best in ((PNG, 0), (PNG + bytes(20), 1)):
        answers = ask(content, k=1).json()["answers"]
        assert [(one["id"], one["distance"]) for one in answers] == [(best, 0)]
    assert all(path.endswith(".png") and not os.path.exists(path) for path in paths)
    for response, status, says in (
        (ask(PNG + b"!"), 422, "a picture of nothing"),
        (ask(b"<svg>"), 422, "the file is not a PNG"),
        (ask(b""), 400, "the body is empty"),
        (ask(PNG, modality="text"), 400, "modality must be image"),
        (ask(PNG + bytes(1 << 24)), 413, "more than 16777216 bytes"),
    ):
        assert response.status_code == status and says in response.json()["error"], response.text


def test_a_folder_in_the_order_of_names(folder):
    for name in ("c.JPG", "b.webp", "notes.txt"):
        (folder / name).write_bytes(PNG)
    assert files_of_folder(folder) == ["a.png", "b.webp", "c.JPG"]
    with pytest.raises(ValueError, match="holds no pictures"):
        (folder / "sub" / "b.png").unlink()
        files_of_folder(folder / "sub")


@given(
    st.lists(st.text("aAbß \n\tİ", max_size=6), max_size=12),
    st.lists(st.text("aAbßi", min_size=1, max_size=3), min_size=1, max_size=3),
)
def test_names_are_found_as_one_by_one(names, words):
    expected = [
        i for i, name in enumerate(names)
        if all(word.casefold() in name.casefold() for word in words)
    ]  # fmt: skip
    assert Gallery(names).called(" ".join(words)).tolist() == expected


@pytest.mark.parametrize("kind", ["texts", "numbers", "columns", "sparse"])
def test_labels_are_looked_up_both_ways(kind):
    texts = np.array(["red", "", "blue", "red"])
    if kind == "texts":
        labels = Labels(texts)
    elif kind == "numbers":
        labels = Labels(np.array([2, 1, 0, 2]), ["blue", "", "red"])
    else:
        columns = np.stack([texts == "blue", texts == "never", texts == "red"], axis=1)
        labels = Labels(
            csr_matrix(columns) if kind == "sparse" else columns, ["blue", "never", "red"]
        )
    assert labels.names == ["blue", "red"]
    assert labels.ids("red").tolist() == [0, 3] and labels.ids("blue").tolist() == [2]
    assert [labels.of(item) for item in range(5)] == [["red"], [], ["blue"], ["red"], []]
    assert "red" in labels and "never" not in labels and len(labels) == 4


@pytest.mark.parametrize(
    ("labels", "names", "says"),
    [
        (np.eye(3), ["a", "b"], "3 labels and 2 names"),
        (np.eye(2), ["a", "a"], "two labels are called 'a'"),
        (np.array([0, 5]), ["a", "b"], "from 0 to 5, and there are 2 names"),
        (np.array([-1, 1]), ["a", "b"], "from -1 to 1"),
        (np.array(["x"]), ["a"], "integers from 0"),
    ],
)
def test_labels_that_do_not_fit(labels, names, says):
    with pytest.raises(ValueError, match=says):
        Labels(labels, names)
