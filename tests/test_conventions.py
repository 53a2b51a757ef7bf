"""The conventions of sentence-transformers: the same inputs and options give what that package gives, and a saved space
is one of its models. The model hub is a server in this process."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch

from seehear.errors import SeehearError
from seehear.space import SharedSpace
from tests.test_space import encoders, run, space  # noqa: F401  # fixtures

WORDS = ["a dog barks", "rain on a roof", "cab", "a bee"]


@pytest.fixture
def theirs(run):  # noqa: F811
    sentence_transformers = pytest.importorskip("sentence_transformers")
    return sentence_transformers.SentenceTransformer(str(run / "model"), trust_remote_code=True, device="cpu")


def test_a_saved_space_is_a_sentence_transformer(space, theirs, tmp_path):  # noqa: F811
    np.testing.assert_array_equal(theirs.encode(WORDS), space.encode(WORDS))
    np.testing.assert_array_equal(theirs.encode_query("cab"), space.encode_query("cab"))
    np.testing.assert_array_equal(theirs.encode_document(WORDS), space.encode_document(WORDS))
    window = {"audio": "bark.wav", "start": 1.0, "end": 2.0}
    np.testing.assert_array_equal(theirs.encode([window, "cab"]), space.encode([window, "cab"]))
    assert theirs.get_embedding_dimension() == space.get_embedding_dimension() == space.dim
    assert set(space.modalities) <= set(theirs.modalities)
    assert theirs.supports("image")
    assert theirs.supports(("image", "text"))
    assert theirs.similarity_fn_name == space.similarity_fn_name
    theirs.save_pretrained(str(tmp_path / "again"))
    again = SharedSpace.from_pretrained(tmp_path / "again", device="cpu")
    assert again.fingerprint == space.fingerprint


@pytest.mark.parametrize(
    "options",
    [
        {"convert_to_tensor": True},
        {"convert_to_numpy": False},
        {"truncate_dim": 4},
        {"truncate_dim": 4, "normalize_embeddings": True},
        {"batch_size": 3, "show_progress_bar": True},
        {"prompt": "say: "},
        {"prompt_name": "query"},
        {"precision": "int8"},
        {"precision": "uint8"},
        {"precision": "binary"},
        {"precision": "ubinary"},
        {"device": "cpu"},
    ],
    ids=str,
)
def test_options_give_what_theirs_give(space, theirs, options):  # noqa: F811
    ours, expected = space.encode(WORDS, **options), theirs.encode(WORDS, **options)
    assert type(ours) is type(expected)
    if isinstance(ours, list):
        ours, expected = torch.stack(ours), torch.stack(expected)
    assert ours.dtype == expected.dtype
    np.testing.assert_allclose(np.asarray(ours), np.asarray(expected), atol=1e-6)


def test_one_input_gives_one_vector_and_a_list_a_row_each(space):  # noqa: F811
    for one in ("cab", {"text": "cab"}):
        assert space.encode(one).shape == (16,)
        assert space.encode([one]).shape == (1, 16)
        assert space.encode(one, convert_to_tensor=True).shape == (16,)
    assert space.encode(np.array(WORDS)).shape == (4, 16)
    assert space.encode(word for word in WORDS).shape == (4, 16)
    with pytest.raises(SeehearError, match="unknown prompt 'passage'"):
        space.encode(WORDS, prompt_name="passage")
    with pytest.raises(SeehearError, match="unknown precision 'int4'"):
        space.encode(WORDS, precision="int4")
    with pytest.raises(SeehearError, match="did you mean 'truncate_dim'"):
        space.encode(WORDS, truncate_dims=4)
    with pytest.raises(SeehearError, match="batch_size must be 1 or more"):
        space.encode(WORDS, batch_size=0)


def test_similarities_are_theirs(space, theirs):  # noqa: F811
    a, b = space.encode(WORDS), space.encode(WORDS[::-1])
    torch.testing.assert_close(space.similarity(a, b), theirs.similarity(a, b))
    torch.testing.assert_close(space.similarity_pairwise(a, b), theirs.similarity_pairwise(a, b))
    torch.testing.assert_close(space.similarity(list(a), torch.from_numpy(b[0])), theirs.similarity(a, b[0]))


def test_half_precision_and_the_device_move_the_method(space):  # noqa: F811
    whole = space.encode(WORDS)
    assert space.half() is space
    assert all(tensor.dtype == torch.float16 for tensor in space.state_dict().values())
    half = space.encode(WORDS)
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, whole, atol=5e-3)
    assert space.to("cpu").device == "cpu"


# -- a model hub -------------------------------------------------------------------------------------------------------


class Hub(BaseHTTPRequestHandler):
    """The part of the hub's API that uploads and downloads need. `repos`: {repository: [commit: {path: content}]}."""

    repos: dict = {}  # noqa: RUF012
    address = ""

    def log_message(self, *_):
        pass

    def _answer(self, content, status=200, **headers):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self):
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def do_POST(self):
        parts, body = self.path.strip("/").split("/"), self._body()
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            self.repos.setdefault(name, [{}])
            self._answer({"url": f"{self.address}/{name}", "name": name})
        elif self.path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif parts[4] == "preupload":
            files = json.loads(body)["files"]
            kept = {"uploadMode": "regular", "shouldIgnore": False}
            self._answer({"files": [{"path": f["path"]} | kept for f in files]})
        elif parts[4] == "commit":
            lines = [json.loads(line) for line in body.splitlines()]
            files = [line["value"] for line in lines if line["key"] == "file"]
            made = {file["path"]: base64.b64decode(file["content"]) for file in files}
            commits = self.repos["/".join(parts[2:4])]
            commits.append(commits[-1] | made)
            sha = _sha(len(commits) - 1)
            self._answer({"commitUrl": f"{self.address}/me/dogs/commit/{sha}", "commitOid": sha})
        else:
            self._answer({"error": "not here"}, 404)

    def do_GET(self):
        parts = self.path.split("?")[0].strip("/").split("/")
        name = "/".join(parts[2:4]) if parts[0] == "api" else "/".join(parts[:2])
        if name not in self.repos:
            return self._answer({"error": "no"}, 404, x_error_code="RepoNotFound")
        commits = self.repos[name]
        place = 5 if parts[0] == "api" else 3
        revision = parts[place] if len(parts) > place else "main"
        shas = [_sha(n) for n in range(len(commits))]
        if revision != "main" and revision not in shas:
            return self._answer({"error": "no"}, 404, x_error_code="RevisionNotFound")
        at = len(commits) - 1 if revision == "main" else shas.index(revision)
        if parts[0] == "api" and parts[4:5] == ["tree"]:
            kinds = {"type": "file", "oid": "0" * 40}
            return self._answer([kinds | {"path": path, "size": len(c)} for path, c in commits[at].items()])
        if parts[0] == "api":
            files = [{"rfilename": path} for path in commits[at]]
            about = {"id": name, "modelId": name, "sha": shas[at], "siblings": files, "private": False}
            return self._answer(about | {"tags": [], "downloads": 0, "likes": 0})
        content = commits[at].get("/".join(parts[4:]))
        if content is None:
            return self._answer(b"", 404, x_error_code="EntryNotFound")
        etag = f'"{hashlib.sha1(content).hexdigest()}"'
        return self._answer(content, x_repo_commit=shas[at], etag=etag)

    do_HEAD = do_GET


def _sha(n):
    return f"{n + 1:040x}"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(Hub, "repos", {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    for module in (huggingface_hub.constants, huggingface_hub.hf_api, huggingface_hub.file_download):
        if hasattr(module, "ENDPOINT"):
            monkeypatch.setattr(module, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(Hub, "address", address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # whatever other tests asked for
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    yield Hub
    server.shutdown()
    server.server_close()


def test_a_space_goes_to_a_hub_and_comes_back(space, hub):  # noqa: F811
    first = space.push_to_hub("me/dogs", licence="apache-2.0", token="hf_x")
    assert first.endswith(_sha(1))
    card = hub.repos["me/dogs"][-1]["README.md"].decode()
    assert "license: apache-2.0" in card
    assert "pipeline_tag: feature-extraction" in card
    assert 'from_pretrained("me/dogs")' in card
    again = SharedSpace.from_pretrained("me/dogs", device="cpu")
    assert again.fingerprint == space.fingerprint
    np.testing.assert_array_equal(again.encode(WORDS), space.encode(WORDS))
    SharedSpace.from_pretrained("me/dogs", revision=_sha(1), device="cpu")
    with pytest.raises(SeehearError, match="me/dogs has no revision 'v9' on the hub"):
        SharedSpace.from_pretrained("me/dogs", revision="v9")
    with pytest.raises(SeehearError, match="me/cats is neither a folder here nor a model of the hub"):
        SharedSpace.from_pretrained("me/cats")
