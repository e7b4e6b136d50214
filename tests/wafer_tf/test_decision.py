import numpy as np
import pytest
from numpy.typing import NDArray

from wafer_tf.decision import REVIEW_BELOW, Decision, verdict
from wafer_tf.decision import fitting as fitting_module
from wafer_tf.decision.fitting import fit_decision, macro_f1, refit_decision
from wafer_tf.errors import ModelError


def _sharp(n: int, sure: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is right as often as it says, then multiplied by `sure`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, 9))
    powers = np.exp(logits)
    label = (powers.cumsum(1) / powers.sum(1, keepdims=True) > rng.random((n, 1))).argmax(1)
    return logits * sure, label


def test_an_overconfident_model_gets_the_temperature_that_undoes_it() -> None:
    logits, label = _sharp(4000, 3.0)
    assert fit_decision(logits, label, np.arange(len(label))).temperature == pytest.approx(3.0, rel=0.1)


def test_a_shifted_class_is_shifted_back() -> None:
    logits, label = _sharp(2000, 1.0)
    shifted = logits.copy()
    shifted[:, 4] -= 1.2
    decision = fit_decision(shifted, label, np.arange(len(label)))
    before, after = macro_f1(label, shifted.argmax(1)), macro_f1(label, decision.probabilities(shifted).argmax(1))
    assert decision.bias[4] > 0.5
    assert after > before + 0.02


def test_a_refit_takes_as_many_parameters_as_other_groups_show_to_be_worth_it() -> None:
    logits, label = _sharp(3000, 1.0)
    was, group = Decision((0.0,) * 9, 1.0), np.arange(3000) // 3
    assert refit_decision(logits, label, group, was=was).kept == "as it was"
    hotter = refit_decision(logits * 2, label, group, was=was)
    assert hotter.kept == "temperature"
    assert hotter.decision.temperature == pytest.approx(2.0, rel=0.1)
    assert hotter.decision.bias == was.bias
    moved = logits.copy()
    moved[:, 2] += 2
    shifted = refit_decision(moved, label, group, was=was)
    assert shifted.kept == "temperature and biases"
    apart = np.array(shifted.decision.bias)
    assert apart[2] - np.delete(apart, 2).mean() == pytest.approx(-2, abs=0.3)
    assert shifted.log_loss["temperature and biases"] < shifted.log_loss["temperature"]


def test_a_refit_on_few_groups_keeps_what_was() -> None:
    logits, label = _sharp(60, 1.0, seed=3)
    assert refit_decision(logits, label, np.arange(60) // 6, was=Decision()).kept == "as it was"


def test_biases_that_would_only_fit_noise_are_not_kept() -> None:
    kept = 0
    for seed in range(10):
        logits, label = _sharp(120, 1.0, seed)
        kept += any(fit_decision(logits, label, np.arange(120)).bias)
    assert kept <= 7


def test_probabilities_sum_to_one_even_for_huge_logits() -> None:
    prob = Decision(temperature=0.5).probabilities(np.array([[1e4, -1e4] + [0.0] * 7, [0.0] * 9]))
    np.testing.assert_allclose(prob.sum(1), 1)
    np.testing.assert_allclose(prob[1], 1 / 9)


def test_decision_goes_to_json_and_back_unchanged() -> None:
    decision = Decision(bias=tuple(np.linspace(-1, 1, 9).tolist()), temperature=1.7)
    assert Decision.from_json(decision.to_json()) == decision


@pytest.mark.parametrize("bad", [{"temperature": 0.0}, {"temperature": float("nan")}, {"bias": (0.0,) * 8}])
def test_a_decision_that_cannot_be_applied_is_refused(bad: dict) -> None:
    with pytest.raises(ValueError, match="decision"):
        Decision(**bad)


def test_macro_f1_equals_scikit_learns() -> None:
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(0)
    label, call = rng.integers(0, 9, 500), rng.integers(0, 9, 500)
    assert macro_f1(label, call) == pytest.approx(f1_score(label, call, average="macro"))


def test_probabilities_are_the_softmax_of_shifted_logits_over_the_temperature() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (20, 9)).astype(np.float32)
    decision = Decision(tuple(np.linspace(-1, 2, 9).round(3).tolist()), 1.7)
    powers = np.exp((logits.astype(float) + decision.bias) / 1.7)
    expected, kept = powers / powers.sum(1, keepdims=True), logits.copy()
    found = decision.probabilities(logits)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(decision.probabilities(logits[3]), expected[3], rtol=1e-12)
    np.testing.assert_array_equal(logits, kept)
    np.testing.assert_allclose(decision.probabilities(np.arange(9)), decision.probabilities(np.arange(9.0)), rtol=0)


def test_huge_logits_of_either_sign_give_the_likeliest_class_all() -> None:
    logits = np.full((2, 9), -1e5)
    logits[0, 3], logits[1, 8] = 1e5, -9e4
    np.testing.assert_array_equal(Decision().probabilities(logits), np.eye(9)[[3, 8]])


def test_the_temperature_is_the_one_of_least_log_loss_after_the_biases_and_both_are_rounded() -> None:
    logits, label = _sharp(3000, 2.0)
    logits[:, 4] -= 3.0
    decision = fit_decision(logits, label, np.arange(len(label)))

    def loss(temperature: float) -> float:
        prob = Decision(decision.bias, temperature).probabilities(logits)
        return -float(np.log(prob[np.arange(len(label)), label]).mean())

    assert any(decision.bias)
    best = loss(decision.temperature)
    assert best < min(loss(decision.temperature * 1.01), loss(decision.temperature / 1.01))
    for value in (*decision.bias, decision.temperature):
        assert value == round(value, 4)
    assert any(value != round(value, 3) for value in (*decision.bias, decision.temperature))


def test_the_biases_are_judged_on_groups_they_were_not_fitted_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each logit tells its wafer, so that one sees which wafers a fit was given."""
    group = np.arange(200) // 4
    logits = np.tile(np.arange(200.0)[:, None], (1, 9))
    given: list[NDArray[np.float64]] = []

    def fit(logits: NDArray[np.float64], label: NDArray[np.int64]) -> NDArray[np.float64]:
        given.append(logits[:, 0].copy())
        assert len(label) == len(logits)
        return np.zeros(9)

    monkeypatch.setattr(fitting_module, "_fit_bias", fit)
    fit_decision(logits, np.arange(200) % 9, group)
    assert len(given) == 5
    left_out = [set(range(200)) - set(wafers.astype(int).tolist()) for wafers in given]
    assert sorted(w for wafers in left_out for w in wafers) == list(range(200)), "each wafer is left out once"
    for wafers in left_out:
        assert len(wafers) == 40
        assert all(int(w) // 4 * 4 + k in wafers for w in wafers for k in range(4)), "a group was cut"


def test_biases_that_gain_nothing_are_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    label = np.arange(90) % 9
    monkeypatch.setattr(fitting_module, "_fit_bias", lambda logits, label: np.linspace(-0.1, 0.1, 9))
    assert not any(fit_decision(np.eye(9)[label] * 5, label, np.arange(90)).bias)


def test_fitted_biases_have_mean_0_and_stay_within_a_step_of_what_was_shifted() -> None:
    logits, label = _sharp(3000, 1.0)
    logits[:, 2] += 1.0
    bias = fitting_module._fit_bias(logits, label)
    assert bias.mean() == pytest.approx(0, abs=1e-12)
    assert bias.argmin() == 2
    assert -1.3 < bias[2] - np.delete(bias, 2).mean() < -0.5
    still = fitting_module._fit_bias(np.eye(9)[label] * 9.0, label)
    np.testing.assert_array_equal(still, 0)


def test_macro_f1_is_of_the_classes_that_are_there() -> None:
    assert macro_f1(np.array([0, 0, 3]), np.array([0, 3, 3])) == pytest.approx(2 / 3)
    assert macro_f1(np.array([0, 0]), np.array([0, 8])) == pytest.approx(2 / 3), "a class called in vain adds no F1"
    assert np.isnan(macro_f1(np.zeros(0, int), np.zeros(0, int)))


@pytest.mark.parametrize(
    ("probabilities", "decision"),
    [
        ([0.5, 0.5, 0, 0, 0, 0, 0, 0, 0], "defect"),
        ([0, 0, 0, 0, 0, 0, 0, 0.4, 0.6], "none"),
        ([0, 0, 0, 0, 0, 0, 0, 0.51, 0.49], "defect"),
        ([0.49, 0.02, 0, 0, 0, 0, 0, 0, 0.49], "review"),
        ([0, 0, 0, 0, 0, 0, 0, 0.5, 0.5], "defect"),
    ],
)
def test_below_a_half_a_person_looks(probabilities: list[float], decision: str) -> None:
    assert REVIEW_BELOW == 0.5
    assert verdict(probabilities) == decision
    assert verdict(probabilities, review_below=0.0) != "review"
    assert verdict(probabilities, review_below=0.99) == "review"


@pytest.mark.parametrize(
    "bad",
    [{"temperature": -1.0}, {"temperature": float("inf")}, {"bias": (float("nan"), *[0.0] * 8)}, {"bias": (0.0,) * 10}],
)
def test_numbers_that_no_fit_gives_are_refused(bad: dict) -> None:
    with pytest.raises(ModelError, match="decision"):
        Decision(**bad)
    assert Decision(temperature=1e-6).temperature == 1e-6


@pytest.mark.parametrize("keys", [{"bias"}, {"bias", "temperature", "more"}, set()])
def test_a_decision_of_other_keys_is_refused(keys: set) -> None:
    data = Decision().to_json() | {"more": 1}
    with pytest.raises(ModelError, match="expected bias and temperature"):
        Decision.from_json({key: data[key] for key in keys})


def test_a_decision_is_plain_json() -> None:
    assert Decision().to_json() == {"bias": [0.0] * 9, "temperature": 1.0}
    assert Decision.from_json({"bias": [1] * 9, "temperature": 2}) == Decision((1.0,) * 9, 2.0)
