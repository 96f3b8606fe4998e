"""Pictures in pages: which are embedded as they are, and which become small."""

import base64
import io

import numpy as np
import pytest

from fasthash.pages.pictures import EmbeddedPictures


def embedded(path):
    return EmbeddedPictures().embed(path)


def test_a_small_picture_is_embedded_as_it_is(tmp_path):
    content = b"GIF89a" + bytes(100)
    (tmp_path / "a.jpg").write_bytes(content)
    kind, data = embedded(tmp_path / "a.jpg").removeprefix("data:").split(";base64,")
    assert (kind, base64.b64decode(data)) == ("image/gif", content)


def test_other_content_is_left_out(tmp_path):
    (tmp_path / "a.png").write_text("<svg onload='alert(1)'/>")
    assert embedded(tmp_path / "a.png") == ""


def test_a_small_copy_of_a_photograph_stands_upright(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="needs Pillow, which makes pictures smaller")
    pixels = np.random.default_rng(0).integers(0, 256, (300, 600, 3), dtype=np.uint8)
    exif = image.Exif()
    exif[0x0112] = 6  # The sensor was turned: the picture is 300 wide and 600 high.
    image.fromarray(pixels).save(tmp_path / "a.jpg", quality=100, subsampling=0, exif=exif)
    data = embedded(tmp_path / "a.jpg").split("base64,")[1]
    with image.open(io.BytesIO(base64.b64decode(data))) as small:
        assert small.format == "JPEG"
        assert small.size == (48, 96)


def test_pictures_of_a_page_have_a_limit(tmp_path):
    (tmp_path / "a.gif").write_bytes(b"GIF89a" + bytes(8000))
    pictures = EmbeddedPictures()
    found = [pictures.embed(tmp_path / "a.gif") for _ in range(100)]
    assert sum(map(len, found)) < 900_000 and "" in found
    assert pictures.n_left_out == found.count("")
    assert EmbeddedPictures().embed(None) == ""
