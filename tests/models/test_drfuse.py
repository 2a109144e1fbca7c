"""DrFuse against its equations written out one patient at a time."""

import math

import pytest
import torch
import torch.nn.functional as F

from cardiozoo.errors import OptionError
from cardiozoo.models.drfuse import DrFuse
from cardiozoo.models.drfuse_loss import one_sided_js_divergence, released_ranking
from cardiozoo.nn.losses import combine
from cardiozoo.testing import make_batch

TINY = dict(hidden_size=8, num_heads=2, feedforward=16, max_steps=32, backbone="resnet18", image_width=4)
PRESENT = {"cxr": [True, False, True, True, False]}


def drfuse(**init):
    torch.manual_seed(0)
    return DrFuse(**{**TINY, "num_classes": 3, **init}).eval()


def batch(present=PRESENT, **options):
    return make_batch(["ehr", "cxr"], size=5, present=present, **options)


def entropy(p):
    return -(p * p.log() + (1 - p) * (1 - p).log())


def test_shared_representation_is_pooled_or_that_of_the_ehr():
    r = drfuse().representations(batch())
    has = torch.tensor(PRESENT["cxr"])
    mean = (r["shared_ehr"].sigmoid() + r["shared_cxr"].sigmoid()) / 2
    torch.testing.assert_close(r["shared"][has], torch.logit(mean)[has])
    assert torch.equal(r["shared"][~has], r["shared_ehr"][~has])
    assert r["shared_cxr"][~has].eq(0).all() and r["distinct_cxr"][~has].eq(0).all()


def test_attention_ignores_the_radiograph_where_there_is_none():
    model, b = drfuse(), batch()
    record = model.predict_step(b)
    has = b["present"]["cxr"]
    attention = torch.stack([record["extra"][f"attention_{name}"] for name in ("ehr", "shared", "cxr")], -1)
    assert attention.shape == (5, 3, 3)
    assert attention[~has][..., 2].eq(0).all() and (attention[has] > 0).all()
    torch.testing.assert_close(attention.sum(-1), torch.ones(5, 3))


def test_each_class_reads_its_own_vector():
    model, b = drfuse(), batch()
    outputs = model(b)
    by_class = [F.linear(outputs["fused"][:, c], model.head.weight, model.head.bias)[:, c] for c in range(3)]
    torch.testing.assert_close(outputs["logits"], torch.stack(by_class, 1))


def test_embedding_is_the_three_representations():
    model, b = drfuse(), batch()
    r = model.representations(b)
    torch.testing.assert_close(model.embed(b), torch.cat([r["distinct_ehr"], r["shared"], r["distinct_cxr"]], 1))


def cosine(a, b):
    return F.cosine_similarity(a, b, dim=0).abs()


def rank(attention, losses):
    """Eq. 10 with the indicator outside the hinge and no margin; (C, 3) both."""
    total = torch.zeros(())
    for a, loss in zip(attention, losses, strict=True):
        for i in range(3):
            for j in range(3):
                if i != j and loss[i] < loss[j]:
                    total = total + (a[j] - a[i]).clamp_min(0)
    return total / (2 * len(attention))


def terms_of_patient(model, outputs, target, has_cxr, n, aux_on_partial):
    """The sums of Eq. 1, 4, 9, 10 and 11 for patient ``n``."""

    def bce(logits):
        p = logits.sigmoid()
        return -(target[n] * p.log() + (1 - target[n]) * (1 - p).log())

    o = {name: value[n] for name, value in outputs.items()}
    heads = {"ehr": model.aux_ehr, "shared": model.aux_shared, "cxr": model.aux_cxr}
    inputs = {"ehr": o["distinct_ehr"], "shared": o["shared"], "cxr": o["distinct_cxr"]}
    aux = {name: bce(heads[name](inputs[name])) for name in heads}
    terms = {"prediction": bce(o["logits"]).sum(), "orthogonality_ehr": cosine(o["shared_ehr"], o["distinct_ehr"])}
    if aux_on_partial or has_cxr[n]:
        terms |= {f"auxiliary_{name}": aux[name].sum() for name in ("ehr", "shared")}
    if has_cxr[n]:
        p, q = o["shared_ehr"].sigmoid(), o["shared_cxr"].sigmoid()
        terms["alignment"] = (entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2).sum()
        terms["orthogonality_cxr"] = cosine(o["shared_cxr"], o["distinct_cxr"])
        terms["auxiliary_cxr"] = aux["cxr"].sum()
        terms["attention"] = rank(o["attention"], torch.stack(list(aux.values()), 1))
    return terms


@pytest.mark.parametrize("paper", [False, True])
def test_objective_equals_the_equations(paper):
    """``paper``: sums over classes and dimensions, all terms averaged over all patients (Eq. 13)."""
    options = dict(reduction="sum", average_over="batch", aux_on_partial=False) if paper else {}
    model, b = drfuse(**options), batch()
    outputs, has = model(b), b["present"]["cxr"]
    patients = [terms_of_patient(model, outputs, b["target"], has, n, not paper) for n in range(5)]
    expected = {}
    for name in patients[0]:
        of_name = [terms[name] for terms in patients if name in terms]
        size = {"alignment": 8}.get(name, 3 if name.startswith(("prediction", "auxiliary")) else 1)
        expected[name] = sum(of_name) / (5 if paper else len(of_name) * size)
    total, means = combine(model.loss_terms(b, outputs))
    assert set(means) == set(expected)
    for name, value in expected.items():
        assert means[name].item() == pytest.approx(value.item(), rel=1e-4, abs=1e-6), name
    half = {"attention", "auxiliary_ehr", "auxiliary_shared", "auxiliary_cxr"}
    weighted = sum((0.5 if name in half else 1.0) * value.item() for name, value in expected.items())
    assert total.item() == pytest.approx(weighted, rel=1e-4)


def test_terms_of_the_radiograph_vanish_without_any():
    model, b = drfuse(), batch({"cxr": [False] * 5})
    _, means = combine(model.loss_terms(b, model(b)))
    zero = {name for name, mean in means.items() if mean == 0}
    assert zero == {"alignment", "orthogonality_cxr", "auxiliary_cxr", "attention"}


def test_weights_of_the_terms():
    model, b = drfuse(lambda_jsd=2.0, lambda_orth=3.0, lambda_attention=4.0, lambda_aux=[5.0, 6.0, 7.0]), batch()
    weights = {name: term.weight for name, term in model.loss_terms(b, model(b)).items()}
    assert weights == {
        "prediction": 1.0, "alignment": 2.0, "orthogonality_ehr": 3.0, "orthogonality_cxr": 3.0, "attention": 4.0,
        "auxiliary_ehr": 5.0, "auxiliary_shared": 6.0, "auxiliary_cxr": 7.0,
    }  # fmt: skip


def test_ranking_moves_attention_but_not_the_classifiers_it_listens_to():
    model, b = drfuse(), batch()
    terms = model.loss_terms(b, model(b))
    terms["attention"].total().backward()
    assert model.attention.project.weight.grad.any()
    assert model.aux_ehr.weight.grad is None


def test_mse_ablation_pools_by_the_plain_mean():
    model, b = drfuse(alignment="mse"), batch()
    outputs, has = model(b), b["present"]["cxr"]
    torch.testing.assert_close(outputs["shared"][has], ((outputs["shared_ehr"] + outputs["shared_cxr"]) / 2)[has])
    _, means = combine(model.loss_terms(b, outputs))
    torch.testing.assert_close(means["alignment"], F.mse_loss(outputs["shared_ehr"][has], outputs["shared_cxr"][has]))


def test_one_sided_divergence_is_the_literal_half():
    h1, h2 = torch.randn(2, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    p, q = h1.sigmoid(), h2.sigmoid()
    m = (p + q) / 2
    torch.testing.assert_close(one_sided_js_divergence(h1, h2), (p * (p / m).log() + q * (q / m).log()) / 2)
    assert one_sided_js_divergence(torch.tensor([-300.0]), torch.tensor([300.0])).item() == pytest.approx(
        math.log(2) / 2
    )


def test_released_ranking_is_three_means_over_violations():
    attention = torch.tensor([[[0.2, 0.3, 0.5]], [[0.6, 0.3, 0.1]]])
    losses = torch.tensor([[[0.1, 0.2, 0.3]], [[0.1, 0.1, torch.nan]]])
    hinges = released_ranking(attention, losses)
    # row 0: 0.3 > 0.2, 0.5 > 0.2 and 0.5 > 0.3 against the losses' order; row 1: a tie, read as "0 is no better"
    expected = {"ehr_shared": [0.1, 0.3], "ehr_cxr": [0.3, 0.0], "shared_cxr": [0.2, 0.0]}
    for name, values in expected.items():
        torch.testing.assert_close(hinges[name][:, 0], torch.tensor(values))
    model, b = drfuse(ranking="released"), batch()
    outputs = model(b)
    terms = model.loss_terms(b, outputs)
    _, means = combine(terms)
    aux = [
        F.binary_cross_entropy_with_logits(outputs["aux_logits"][:, i], b["target"], reduction="none") for i in range(3)
    ]
    has = b["present"]["cxr"]
    first = released_ranking(outputs["attention"], torch.stack(aux, -1))["ehr_cxr"][has]
    torch.testing.assert_close(means["attention_ehr_cxr"], first[first > 0].mean())
    assert sum(t.weight for name, t in terms.items() if name.startswith("attention")) == pytest.approx(0.5)


def test_classes_of_a_softmax_share_their_ranking():
    model, b = drfuse(task_kind="multiclass"), batch(task_kind="multiclass")
    outputs = model(b)
    terms = model.loss_terms(b, outputs)
    _, means = combine(terms)
    torch.testing.assert_close(means["prediction"], F.cross_entropy(outputs["logits"], b["target"]))
    aux = torch.stack(
        [F.cross_entropy(outputs["aux_logits"][:, i], b["target"], reduction="none") for i in range(3)], -1
    )
    torch.testing.assert_close(means["auxiliary_shared"], aux[:, 1].mean())
    expected = [rank(outputs["attention"][n], aux[n].expand(3, 3)) for n in range(5) if PRESENT["cxr"][n]]
    torch.testing.assert_close(means["attention"], torch.stack(expected).mean())


def test_paper_forms_train():
    model = drfuse(
        reduction="sum", average_over="batch", ranking="literal", margin=0.1, aux_on_partial=False, aux_heads="mlp",
        attention_bias=False, shared_project=False, share_stem=False, lambda_aux=0.5,
    ).train()  # fmt: skip
    combine(model.loss_terms(batch(), model(batch())))[0].backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    ("init", "words"),
    [
        ({"alignment": "kl"}, "alignment 'kl'.*\n.*jsd_one_sided"),
        ({"ranking": "hard"}, "ranking 'hard'"),
        ({"average_over": "rows"}, "average_over"),
        ({"reduction": "median"}, "reduction"),
        ({"aux_heads": "deep"}, "aux_heads"),
        ({"lambda_jsd": -1.0}, "lambda_jsd -1.0"),
        ({"lambda_aux": [1.0, 2.0]}, "2 numbers"),
        ({"margin": float("nan")}, "margin"),
        ({"num_heads": 3}, "num_heads 3"),
    ],
)
def test_wrong_options_are_refused(init, words):
    with pytest.raises(OptionError, match=words):
        drfuse(**init)
