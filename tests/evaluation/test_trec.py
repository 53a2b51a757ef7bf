import numpy as np
import pytest

from seehear.evaluation.retrieval import retrieval
from seehear.evaluation.trec import write_qrels, write_run


def unit(rng, n, e=12):
    x = rng.normal(size=(n, e)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_trec_eval_reads_both_files_and_agrees(tmp_path):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    rng = np.random.default_rng(0)
    query, gallery = unit(rng, 40), unit(rng, 120)
    query_ids, gallery_ids = np.arange(40) % 30, np.arange(120) % 35
    names = {
        "query_names": [f"a query {i}" for i in range(40)],
        "gallery_names": [f"clips/ä {i}.mp4" for i in range(120)],
    }
    write_run(tmp_path / "run.txt", query, gallery, **names, depth=120, tag="t")
    write_qrels(tmp_path / "qrels.txt", query_ids, gallery_ids, **names)
    with open(tmp_path / "run.txt", encoding="utf-8") as file:
        run = pytrec_eval.parse_run(file)
    with open(tmp_path / "qrels.txt", encoding="utf-8") as file:
        truth = pytrec_eval.parse_qrel(file)
    scores = pytrec_eval.RelevanceEvaluator(truth, {"map", "recip_rank", "ndcg_cut_10"}).evaluate(run)
    ours = retrieval(query, gallery, query_ids, gallery_ids).per_query
    for theirs, name in {"map": "AP", "recip_rank": "MRR", "ndcg_cut_10": "nDCG@10"}.items():
        expected = [scores[f"a_query_{i}"][theirs] for i in range(40)]
        np.testing.assert_allclose(ours[name], expected, atol=1e-7)


def test_the_lines_themselves(tmp_path):
    names = {"query_names": ["q"], "gallery_names": ["a", "b", "c"]}
    write_run(tmp_path / "r", np.array([[1.0, 0.0]]), np.array([[0.6, 0.8], [1, 0], [0, 1]]), **names, depth=2)
    assert (tmp_path / "r").read_text() == "q Q0 b 1 1 seehear\nq Q0 a 2 0.600000024 seehear\n"
    write_qrels(tmp_path / "t", [7], [7, 8, 7], **names)
    assert (tmp_path / "t").read_text() == "q 0 a 1\nq 0 c 1\n"
    with pytest.raises(ValueError, match="unique"):
        write_qrels(tmp_path / "t", [1, 2], [1], query_names=["a b", "a_b"], gallery_names=["x"])
