"""Pictures in pages: which files are read, which are embedded as they are or become small."""

import base64
import io
import os

import numpy as np
import pytest

from fasthash.pages.pictures import EmbeddedPictures, PictureFiles


def embedded(content):
    return EmbeddedPictures().embed(content)


def test_a_small_picture_is_embedded_as_it_is():
    content = b"GIF89a" + bytes(100)
    kind, data = embedded(content).removeprefix("data:").split(";base64,")
    assert (kind, base64.b64decode(data)) == ("image/gif", content)


def test_other_content_is_left_out():
    assert embedded(b"<svg onload='alert(1)'/>") == "" and embedded(b"") == ""


def test_a_small_copy_of_a_photograph_stands_upright():
    image = pytest.importorskip("PIL.Image", reason="needs Pillow, which makes pictures smaller")
    pixels = np.random.default_rng(0).integers(0, 256, (300, 600, 3), dtype=np.uint8)
    exif = image.Exif()
    exif[0x0112] = 6  # The sensor was turned: the picture is 300 wide and 600 high.
    file = io.BytesIO()
    image.fromarray(pixels).save(file, "JPEG", quality=100, subsampling=0, exif=exif)
    data = embedded(file.getvalue()).split("base64,")[1]
    with image.open(io.BytesIO(base64.b64decode(data))) as small:
        assert small.format == "JPEG"
        assert small.size == (48, 96)


def test_pictures_of_a_page_have_a_limit():
    pictures = EmbeddedPictures()
    found = [pictures.embed(b"GIF89a" + bytes(8000)) for _ in range(100)]
    assert sum(map(len, found)) < 900_000 and "" in found
    assert pictures.n_left_out == found.count("")


@pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")
def test_a_file_that_is_not_read_says_why_and_is_closed(tmp_path):
    folder = tmp_path / "folder"
    (folder / "folder.png").mkdir(parents=True)
    (folder / "a.png").write_bytes(b"GIF89a")
    (tmp_path / "secret.png").write_bytes(b"GIF89a secret")
    (folder / "out.png").symlink_to(tmp_path / "secret.png")
    (folder / "circle.png").symlink_to("circle.png")
    os.mkfifo(folder / "pipe.png")
    pictures = PictureFiles(
        folder, ["a.png", "", "out.png", "pipe.png", "folder.png", "circle.png", "missing.png"]
    )
    assert [pictures.content(item) for item in (0, 1, 7)] == [b"GIF89a", b"", b""]
    for item, kind, message in (
        (2, ValueError, "a symbolic link leads from the file 'out.png' out of .* copy it there"),
        (3, ValueError, "'pipe.png' in .* is not a regular file"),
        (4, IsADirectoryError, "folder.png"),
        (5, OSError, "circle.png"),
        (6, FileNotFoundError, "missing.png"),
    ):
        with pytest.raises(kind, match=message):
            pictures.content(item)
    with pytest.raises(ValueError, match=r"'a.png' in .* has 6 bytes, and at most 5 are read"):
        pictures.content(0, most=5)
    descriptor = os.open(folder / "a.png", os.O_RDONLY)
    os.close(descriptor)
    assert [pictures.read(item) for item in range(2, 7)] == [None] * 5
    again = os.open(folder / "a.png", os.O_RDONLY)
    os.close(again)
    assert again == descriptor
