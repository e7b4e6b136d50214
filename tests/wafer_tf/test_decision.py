import numpy as np
import pytest

from wafer_tf.decision import Decision
from wafer_tf.decision.fitting import fit_decision, macro_f1


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
