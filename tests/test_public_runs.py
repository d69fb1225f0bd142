"""Public tables: the utility law against the repetition-blind law on runs that were left out."""

import numpy as np
import pytest

from benchmarks import public_runs
from qqtjax.errors import QQTWarning

pytestmark = [pytest.mark.filterwarnings(f"ignore::{QQTWarning.__module__}.{QQTWarning.__name__}")]


@pytest.mark.parametrize("architecture", ["ViT-B-32", "ViT-B-16", "ViT-L-14"])
def test_a_clip_run_left_out_is_predicted_better_than_by_the_blind_law(architecture, data_folder):
    runs = public_runs.openclip(architecture, data_folder)
    assert len(runs) == 6
    misses = public_runs.left_out(runs, runs.run, starts=32)
    assert np.mean(np.abs(misses["utility"])) < np.mean(np.abs(misses["power"]))


@pytest.mark.slow
def test_a_validation_curve_left_out_is_predicted_with_half_the_error_of_the_blind_law(data_folder):
    runs = public_runs.validation_curves(data_folder)
    misses = public_runs.left_out(runs, runs.run, thin=16, starts=16)
    means = {name: np.mean(np.abs(miss)) for name, miss in misses.items()}
    assert means["utility"] <= 0.5 * means["power"]
