"""`fasthash serve` as a process: walked by schemathesis, asked by many, stopped, refused."""

import concurrent.futures
import contextlib
import http.client
import json
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import numpy as np
import pytest

import fasthash as fh
from fasthash import cli
from fasthash.datasets import load_emoji
from fasthash.pages import demo

pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")
pytest.importorskip("safetensors", reason="models are saved with safetensors")

from serving_process import serving

SECRET = b"\x89PNG\r\n\x1a\n a secret"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The emoji as plain files, models and indexes of 16 and 64 bits, a module that knows words."""
    folder = tmp_path_factory.mktemp("served")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert cli.main("--quiet demo --files emoji".split()) == 0
        for n_bits in (16, 64):
            for command in (
                f"fit --data emoji/emoji.npz --bits {n_bits} --set n_anchors=200 "
                f"--output {n_bits}.model",
                f"encode --model {n_bits}.model --modality image --learned --output {n_bits}.npy",
                f"index build {n_bits}.index --codes {n_bits}.npy",
            ):
                assert cli.main(["--quiet", *command.split()]) == 0
        for command in (
            "encode --method itq --features emoji/emoji.npz:T_tr --bits 20 --save-model itq.model "
            "--output itq.npy",
            "index build itq.index --codes itq.npy --bits 20",
        ):
            assert cli.main(["--quiet", *command.split()]) == 0
        (folder / "secret.png").write_bytes(SECRET)
        (folder / "words.py").write_text(
            "from fasthash.datasets import load_emoji\nfeatures = load_emoji().text_features\n"
            "of_file = lambda paths: features(['dog'])\n",
            encoding="utf-8",
        )
    return folder


OWN = (
    "--index 16.index 64.index --model 16.model 64.model --names emoji/train.csv:name "
    "--pictures emoji/train.csv:picture --labels emoji/train.csv:group --words words:features"
).split()

# One kind of features, bits that do not fill their bytes, a folder of pictures, columns as labels,
# files that are no sounds, and searches by a file.
EMBEDDINGS = (
    "--index itq.index --model itq.model --pictures emoji/pictures "
    "--labels emoji/emoji.npz:L_tr --label-names emoji/labels.txt --sounds emoji/train.csv:picture "
    "--features words:of_file"
).split()


def get(url, path, **query):
    address = f"{url}{path}?{urllib.parse.urlencode(query)}" if query else url + path
    with urllib.request.urlopen(address, timeout=60) as response:
        return json.load(response)


@pytest.mark.parametrize(("served", "n"), [(OWN, 11), (EMBEDDINGS, 12)])
def test_schemathesis_finds_no_fault(folder, tmp_path, served, n):
    """Everything described, with right and wrong data: statuses, types, contents as described."""
    program = pathlib.Path(sys.executable).with_name("schemathesis")
    if not program.exists():
        pytest.skip("schemathesis is not installed")
    (tmp_path / "schemathesis.toml").write_text(
        # Words that nobody knows are a right question without an answer.
        '[checks.positive_data_acceptance]\nexpected-statuses = ["2xx", "404", "422"]\n'
        '[checks.negative_data_rejection]\nexpected-statuses = ["400", "404", "414", "415"]\n',
        encoding="utf-8",
    )
    with serving(*served, "--port", 0, "--rate", 0, cwd=folder) as (url, *_):
        done = subprocess.run(
            [program, "--no-color", "run", f"{url}/openapi.json", "--max-examples", "20",
             "--seed", "1", "--generation-database", "none"],
            cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"Tested: {n}" in done.stdout, done.stdout


def test_200_at_once_get_what_a_search_finds(tmp_path):
    """The emoji, as they are served by default, rate limit included."""
    data = load_emoji()
    model = demo.fit_lengths(data, [64], seed=0)[64]
    weights = model.project(data.features["image"], "image")
    codes = model.encode(data.features["image"], "image")
    rng = np.random.default_rng(0)
    vocabulary = sorted({word for name in data.names for word in name.split() if word.isalpha()})
    known = [word for word in vocabulary if not data.unknown_words(word)]
    asked = [" ".join(rng.choice(known, 2)) for _ in range(100)]
    items = rng.choice(len(codes), 100, replace=False)
    texts = demo.texts(data)
    words = fh.words.WordCodes(texts)
    database = {"model": codes, "words": words.encode(texts)}
    queries = {"model": model.project(data.text_features(asked), "text")}
    queries["words"] = words.project(asked)
    _, by_words = fh.topk_fused(None, database, 10, weights=queries)
    queries = {"model": weights[items]}
    queries["words"] = 2.0 * fh.unpack(database["words"][items], 256) - 1
    scores, by_item = fh.topk_fused(None, database, 10, weights=queries)
    with serving("--port", 0, cwd=tmp_path) as (url, *_):

        def ask(i):
            if i % 2:
                return get(url, "/api/search", q=asked[i // 2], k=10)["answers"]
            return get(url, f"/api/items/{items[i // 2]}/neighbours", k=10)["answers"]

        with concurrent.futures.ThreadPoolExecutor(200) as pool:
            answers = list(pool.map(ask, range(200)))
    for i, answer in enumerate(answers):
        ids = by_words if i % 2 else by_item
        assert [one["id"] for one in answer] == ids[i // 2].tolist()
        if i % 2 == 0:
            # Models of several lengths are fitted with other sums than one of them alone.
            assert [one["score"] for one in answer] == pytest.approx(scores[i // 2], rel=1e-3)


def test_files_of_ones_own(folder):
    model = fh.load(folder / "16.model")
    captions = load_emoji()
    query = captions.text_features(["green apple"])
    _, ids = model.search(query, "text", np.load(folder / "16.npy"), 5)
    with serving(*OWN, "--port", 0, cwd=folder) as (url, *_):
        best = get(url, "/api/search", q="green appel", bits=16, k=1)
        assert best["unknown_words"][0]["word"] == "appel"
        assert "apple" in best["unknown_words"][0]["suggestions"]
        best = get(url, "/api/search", q="red apples", bits=16, k=1)["answers"][0]
        assert best["name"] == "red apple" and best["matched_words"] == ["red", "apples"]
        answer = get(url, "/api/search", q="green apple", bits=16, k=5, compare="codes")
        scale = model.distance_scales_["text"]["image"]
        assert answer["close"] == scale.close and answer["weak"] is False
        found = answer["answers"]
        assert [one["band"] for one in found] == [scale.band(one["distance"]) for one in found]
        assert [one["id"] for one in found] == ids[0].tolist()
        assert [one["name"] for one in found] == [captions.names[captions.train[i]] for i in ids[0]]
        groups = [captions.group_names[captions.groups[captions.train[i]]] for i in ids[0]]
        assert [one["labels"] for one in found] == [[group] for group in groups]
        with urllib.request.urlopen(f"{url}/api/items/3/picture", timeout=60) as response:
            assert response.read() == captions.thumbnail(captions.train[3])


def test_embeddings_of_ones_own(folder):
    model, x = fh.load(folder / "itq.model"), np.load(folder / "emoji/emoji.npz")["T_te"][:1]
    codes = np.load(folder / "itq.npy")
    scores, ids = model.search(x, codes, 5)
    distances = fh.distances(model.transform(x), codes[ids[0]])
    body = json.dumps({"features": x[0].tolist(), "k": 5}).encode()
    with serving(*EMBEDDINGS, "--port", 0, cwd=folder) as (url, *_):
        request = urllib.request.Request(
            f"{url}/api/search/features", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            found = json.load(response)["answers"]
        assert [one["id"] for one in found] == ids[0].tolist()
        assert [one["distance"] for one in found] == distances[0].tolist()
        # The file holds float32, and the server reads float64.
        assert [one["score"] for one in found] == pytest.approx(scores[0], rel=1e-5)
        # Without names, pictures are called as their files are.
        files = sorted(path.stem for path in (folder / "emoji/pictures").iterdir())
        assert [one["name"] for one in found] == [files[i] for i in ids[0]]
        assert len(get(url, "/api/labels")["labels"]) > 50


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.png",
        "/%2e%2e/secret.png",
        "/..%2fsecret.png",
        "/..%5csecret.png",
        "/%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2fetc/passwd",
        "//etc/passwd",
        "/secret.png",
        "/app.py",
        "/search.html/../../secret.png",
        "/api/items/../secret.png",
        "/api/items/..%2f..%2fsecret.png/picture",
        "/api/items/%2Fetc%2Fpasswd/picture",
        "/api/items/0%00/picture",
        "/api/items/0%00.png/picture",
        "/api/items/0/picture/../../../../secret.png",
        "/api/items/secret.png/picture",
    ],
)
def test_no_address_leads_to_a_file(raw, path):
    """Sent as it stands, which browsers and libraries would tidy up."""
    raw.request("GET", path)
    response = raw.getresponse()
    content = response.read()
    assert response.status in (400, 404) and SECRET not in content and b"root:" not in content


@pytest.fixture(scope="module")
def address(folder):
    with serving(*OWN, "--port", 0, cwd=folder) as (url, *_):
        yield url.removeprefix("http://")


@pytest.fixture
def raw(address):
    # For one test: the server closes connections on which nothing comes.
    with contextlib.closing(http.client.HTTPConnection(address, timeout=60)) as connection:
        yield connection


@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_body_whose_chunks_are_broken_is_refused_without_a_traceback(address, kind, at_once):
    """`serving` looks for tracebacks at the end. The second kind is refused before the body."""
    host, port = address.split(":")
    head = (
        "POST /api/search/rows HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode()
    answer = b""
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        for part in [head + b"zz\r\n"] if at_once else [head, b"zz\r\n"]:
            connection.sendall(part)
            time.sleep(0.2)
        with contextlib.suppress(ConnectionResetError):
            while received := connection.recv(4096):
                answer += received
    early = kind == "text/plain" and not at_once
    assert answer.startswith(b"HTTP/1.1 415 " if early else b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_asked_is_answered_before_the_end(folder, number):
    (folder / "slow.py").write_text(
        "import time\nfrom words import features as fast\n"
        "def features(texts):\n    time.sleep(1.5)\n    return fast(texts)\n",
        encoding="utf-8",
    )
    options = [*OWN[:-1], "slow:features", "--port", 0]
    with (
        concurrent.futures.ThreadPoolExecutor() as pool,
        serving(*options, cwd=folder, ends_with=number) as (url, process, _),
    ):
        answer = pool.submit(get, url, "/api/search", q="dog")
        time.sleep(0.5)
        # While words are being looked up, others are answered.
        assert get(url, "/api/info")["n_items"] == 1437 and not answer.done()
        process.send_signal(number)
        assert len(answer.result(timeout=60)["answers"]) == 24
        assert process.wait(60) == 0
    with pytest.raises(OSError):
        get(url, "/api/info")


def test_a_search_that_does_not_end_does_not_keep_the_server(folder):
    (folder / "endless.py").write_text(
        "import time\ndef features(texts):\n    time.sleep(600)\n", encoding="utf-8"
    )
    options = [*OWN[:-1], "endless:features", "--port", 0]
    with (
        concurrent.futures.ThreadPoolExecutor() as pool,
        serving(*options, cwd=folder) as (url, process, _),
    ):
        answer = pool.submit(get, url, "/api/search", q="dog")
        time.sleep(1)
        process.terminate()
        assert process.wait(60) == 0
        with pytest.raises(urllib.error.HTTPError, match="503") as refused:
            answer.result(timeout=60)
        refused.value.close()


def test_behind_a_proxy_clients_are_told_apart(folder):
    def statuses(url, clients):
        for client in clients:
            request = urllib.request.Request(url + "/api/info", headers={"X-Forwarded-For": client})
            try:
                with urllib.request.urlopen(request, timeout=60) as response:
                    yield response.status
            except urllib.error.HTTPError as error:
                with error:
                    yield error.code

    clients = ["10.0.0.1"] * 30 + ["10.0.0.2"]
    options = ("--index", "16.index", "--port", 0, "--rate", 1)
    with serving(*options, "--proxy", "127.0.0.1", cwd=folder) as (url, *_):
        found = list(statuses(url, clients))
        assert 429 in found[:-1] and found[-1] == 200
    with serving(*options, cwd=folder) as (url, *_):
        # Without a proxy, nobody's word counts.
        assert list(statuses(url, map(str, range(30))))[-1] == 429


def test_json_says_where_it_is(folder):
    process = subprocess.Popen(
        [pathlib.Path(sys.executable).with_name("fasthash"), "serve", "--json", "--index",
         "16.index", "--port", "0"],
        cwd=folder, stdout=subprocess.PIPE, text=True, encoding="utf-8",
    )  # fmt: skip
    try:
        said = json.loads(process.stdout.readline())
        assert get(said["url"], "api/info")["n_items"] == said["n_items"] == 1437
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--names emoji/train.csv:name", "--names goes with --index"),
        ("--index missing.index", "missing.index"),
        ("--index 16.model", "16.model holds a model, and an index is needed"),
        ("--index 16.npy", "16.npy"),
        ("--index 16.index --model 16.index", "16.index holds an index, and a model is needed"),
        ("--index 16.index --model 64.model", "64.model makes codes of 64 bits"),
        ("--index 16.index 64.index --model 16.model", "--model: one for each index"),
        ("--index 16.index 16.index", "same length"),
        ("--index 16.index --names emoji/train.csv:title", "title"),
        ("--index 16.index --pictures emoji/train.csv:name --names no.csv", "no.csv"),
        ("--index 16.index --pictures 16.npy", "one text per row"),
        ("--index 16.index --pictures secret.csv:file", "the file '../x.png' is not in"),
        ("--index 16.index --pictures emptied", "holds no pictures"),
        ("--index 16.index --label-names emoji/labels.txt", "--label-names goes with --labels"),
        ("--index 16.index --labels emoji/emoji.npz:I_tr --label-names emoji/labels.txt", "256"),
        ("--index 16.index --words words:features", "--words needs --model"),
        ("--index 16.index --model 16.model --modality text", "--modality goes with --words"),
        ("--index 16.index --model 16.model --words words", "--words words"),
        ("--index 16.index --model 16.model --words no_such:f", "No module named 'no_such'"),
        ("--index 16.index --model 16.model --words words:f", "no attribute 'f'"),
        (
            "--index 16.index --model 16.model --words words:features --modality sound",
            "--modality: the features of --words must be of one of image, text",
        ),
        ("--sounds emoji", "--sounds goes with --index"),
        ("--index 16.index --sounds emptied", "holds no sounds"),
        ("--index 16.index --features words:of_file", "--features needs --model"),
        ("--index 16.index --model 16.model --features words:f", "name the modality, as in image="),
        ("--index 16.index --model 16.model --features image=words:f", "no attribute 'f'"),
        (
            "--index 16.index --model 16.model --features sound=words:of_file",
            "the model has the modalities image, text",
        ),
        ("--host no.such.host.invalid", "host no.such.host.invalid is not a known name"),
        ("--host 192.0.2.1", "host 192.0.2.1 is not an address of this machine"),
    ],
)
def test_what_does_not_fit_is_one_line(folder, capsys, monkeypatch, options, says):
    monkeypatch.chdir(folder)
    # The folder that --words looks into is for this test alone.
    monkeypatch.setattr(sys, "path", [*sys.path])
    (folder / "secret.csv").write_text("file\n../x.png\n", encoding="utf-8")
    (folder / "emptied").mkdir(exist_ok=True)
    assert cli.main(["serve", "--port", "0", *options.split()]) == 1
    said = capsys.readouterr().err.strip()
    assert says in said and len(said.splitlines()) == 1


def test_a_port_in_use_is_one_line(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert cli.main(f"serve --index 16.index --port {port}".split()) == 1
    said = capsys.readouterr().err.strip()
    assert f"port {port} of 127.0.0.1 is in use: use another port" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("port", ["-1", "65536", "web"])
def test_ports_that_are_none(capsys, port):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["serve", f"--port={port}"])
    assert stopped.value.code == 2 and "--port" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_a_missing_extra_is_named(capsys, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    assert cli.main(["serve"]) == 1
    said = capsys.readouterr().err.strip()
    assert missing in said and "pip install 'fasthash-retrieval[serve]'" in said
    assert len(said.splitlines()) == 1
