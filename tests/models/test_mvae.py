"""MVAE: its bounds against literal sums over subsets, and missing leads."""

import pytest
import torch

from cardiozoo.data.ecg import LEADS, LIMB_LEADS
from cardiozoo.errors import OptionError
from cardiozoo.functional import kl_standard_normal
from cardiozoo.models.mvae import Mvae
from cardiozoo.nn.losses import combine
from cardiozoo.testing import make_batch
from cardiozoo.testing.subject import training_loss

T = 83
TINY = {"ecg_samples": T, "latent_size": 5, "channels": (3, 4, 5)}


def build(seed=0, **init):
    torch.manual_seed(seed)
    return Mvae(**{**TINY, **init})


def batch(size=5, **options):
    return make_batch(["ecg"], size=size, task_kind="unsupervised", shapes={"ecg": (12, T)}, **options)


def product(mu, logvar, rows):
    """The prior and the experts of these leads, in precision form."""
    precision = 1 + (-logvar[rows]).exp().sum(0)
    return ((-logvar[rows]).exp() * mu[rows]).sum(0) / precision, -precision.log()


def test_the_posterior_is_the_product_of_the_prior_and_the_present_leads():
    model, records = build().eval(), batch(present={"ecg": [True] * 4 + [False]})
    posterior = model.encode(records)
    mu, logvar = model.encoders(torch.where(records["ecg_leads"][..., None], records["ecg"], 0))
    for row in range(4):
        there = records["ecg_leads"][row].nonzero().flatten().tolist()
        expected = product(mu[:, row], logvar[:, row], there)
        torch.testing.assert_close(posterior.mu[row], expected[0])
        torch.testing.assert_close(posterior.logvar[row], expected[1])
    assert not posterior.mu[4].any() and not posterior.logvar[4].any()
    limb = model.embed(records, leads=list(LIMB_LEADS))
    expected = product(mu[:, 0], logvar[:, 0], range(6))[0]
    torch.testing.assert_close(limb[0], expected)
    concatenated = model.embed(records, "lead_concat", ["V1", "II"])
    torch.testing.assert_close(concatenated[0], torch.cat([mu[6, 0], mu[1, 0]]))


@pytest.mark.parametrize("draw_all", [False, True])
@pytest.mark.parametrize("subsampling", ["subsets", "official", "joint"])
def test_the_loss_is_the_sum_of_the_bounds(subsampling, draw_all):
    """Every bound again, subset by subset and record by record, from the members and signals that the step drew."""
    reconstruct = "all" if draw_all else "members"
    model = build(subsampling=subsampling, random_subsets=2, reconstruct=reconstruct, beta=0.5).train()
    records = batch()
    outputs = model(records)
    loss, means = combine(model.loss_terms(records, outputs))
    mu, logvar = outputs["experts"], outputs["expert_logvars"]
    names = {"subsets": ["random_1", "random_2", "limb"], "official": ["random_1", "random_2"], "joint": []}[
        subsampling
    ]
    expected = means["reconstruction"] + 0.5 * means["kl"]
    assert len(outputs["members"]) == len(names)
    for number, name in enumerate(names):
        members = outputs["members"][number]
        assert not (members & ~records["ecg_leads"]).any()
        errors, divergences = [], []
        for row in range(5):
            chosen = members[row].nonzero().flatten().tolist()
            if not chosen:
                continue
            if name == "limb":
                assert chosen == [i for i in range(6) if records["ecg_leads"][row, i]]
            else:
                assert 2 <= len(chosen) < records["ecg_leads"][row].sum()
            joint = product(mu[:, row], logvar[:, row], chosen)
            torch.testing.assert_close(outputs["subset_mu"][number, row], joint[0])
            divergences.append(kl_standard_normal(*joint))
            drawn = records["ecg_leads"][row].nonzero().flatten().tolist() if draw_all else chosen
            errors.append(1e-3 * outputs["subset_errors"][number, row, drawn].sum())
        expected = expected + torch.stack(errors).mean() + 0.5 * torch.stack(divergences).mean()
    if subsampling == "official":
        errors, divergences = torch.zeros(5), torch.zeros(5)
        for row in range(5):
            for lead in records["ecg_leads"][row].nonzero().flatten().tolist():
                errors[row] += 1e-3 * outputs["single_errors"][row, lead].detach()
                alone = product(mu[:, row], logvar[:, row], [lead])
                divergences[row] += kl_standard_normal(*alone).detach()
        expected = expected + errors.mean() + 0.5 * divergences.mean()
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("draw_all", [False, True])
def test_subsets_are_drawn_from_their_own_posteriors(draw_all):
    """With nearly no noise a subset's signals are the decoded mean of its product, a single lead's those of its own."""
    model = build(subsampling="official", reconstruct="all" if draw_all else "members").train()
    with torch.no_grad():
        model.encoders.fc.weight[..., 5:] = 0
        model.encoders.fc.bias[..., 5:] = -30.0  # log-variance, bent to nearly -10
    model.logvar_limit = 40.0
    records = batch()
    outputs = model(records)
    with torch.no_grad():
        drawn = model.draw(outputs["subset_mu"][0])
        errors = ((drawn - records["ecg"]) ** 2).sum(-1)
        torch.testing.assert_close(outputs["subset_errors"][0], errors, rtol=1e-3, atol=1e-3)
        each = model.draw(outputs["experts"])
        errors = ((each - records["ecg"]) ** 2).sum(-1)
        there = records["ecg_leads"]
        if draw_all:  # every decoder draws its lead from the vector of every present lead
            errors = torch.zeros_like(errors)
            for row, lead in there.nonzero().tolist():
                signals = model.draw(outputs["experts"][lead, row][None])[0]
                errors[row] += ((signals - records["ecg"][row]) ** 2).sum(-1)
        torch.testing.assert_close(outputs["single_errors"][there], errors[there], rtol=1e-3, atol=1e-3)


def test_records_with_few_leads_have_no_such_subset():
    model = build(random_subsets=1).train()
    records = batch(3)
    leads = torch.zeros(3, 12, dtype=torch.bool)
    leads[0, [0, 7]], leads[1, :6] = True, True  # two leads; the limb leads are all there is; none
    outputs = model({**records, "ecg_leads": leads})
    random, limb = outputs["members"]
    assert random.any(1).tolist() == [False, True, False] and limb.any(1).tolist() == [True, False, False]
    loss = training_loss(model, {**records, "ecg_leads": leads})
    loss.backward()
    assert loss.isfinite() and all(p.grad.isfinite().all() for p in model.parameters())


def test_evaluation_is_the_bound_of_all_present_leads():
    model, records = build().eval(), batch()
    terms = model.loss_terms(records, model(records))
    assert set(terms) == {"reconstruction", "kl"}
    torch.testing.assert_close(training_loss(model, records), training_loss(model, records))
    released = build(divergence="released").eval()
    mu, logvar = released(records)["experts"], released(records)["expert_logvars"]
    row, there = 0, records["ecg_leads"][0]
    expected = kl_standard_normal(mu[there, row].mean(0), logvar[there, row].mean(0))
    torch.testing.assert_close(released.loss_terms(records, released(records))["kl"].values[0], expected)


def test_masked_leads_are_as_a_model_without_them():
    model, leads = build().eval(), ["I", "aVF", "V5"]
    rows = [LEADS.index(lead) for lead in leads]
    smaller, state = build(1, ecg_leads=leads).eval(), {}
    for name, value in model.state_dict().items():
        stacked = name.startswith(("encoders.fc", "decoders.fc"))
        state[name] = value[rows] if stacked else value.view(12, -1, *value.shape[1:])[rows].flatten(0, 1)
    smaller.load_state_dict(state)
    records = batch()
    kept = torch.zeros(12, dtype=torch.bool)
    kept[rows] = True
    records["ecg_leads"] = records["ecg_leads"] & kept
    torch.testing.assert_close(model.embed(records), smaller.embed(records), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(training_loss(model, records), training_loss(smaller, records), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(model.reconstruct(records)[:, rows], smaller.reconstruct(records)[:, rows])


def test_bad_options_are_refused():
    wrong = ({"subsampling": "all"}, {"divergence": "own"}, {"reconstruct": "none"}, {"random_subsets": -1})
    for init in (*wrong, {"logvar_limit": 50.0}):
        with pytest.raises(OptionError, match=next(iter(init))):
            build(**init)
