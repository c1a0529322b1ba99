"""What the zoo's scikit-learn estimators share: tables with missing values, and two classes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data


class TableEstimator(BaseEstimator):
    """Takes rows (n, features) of float32 or float64, NaN where missing."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _validate(self, X, *y, **checks):
        """Checked X, or X and y, as scikit-learn's ``validate_data`` gives them."""
        return validate_data(self, X, *y, dtype=[np.float32, np.float64], ensure_all_finite="allow-nan", **checks)

    def _validate_weighted(self, X, y, sample_weight, **checks):
        """Checked X, y and weights (n,), ``None`` as given."""
        X, y = self._validate(X, y, **checks)
        return X, y, self._validate_weight(X, sample_weight)

    def _validate_weight(self, X, sample_weight):
        return None if sample_weight is None else _check_sample_weight(sample_weight, X, ensure_non_negative=True)

    def _validate_later(self, X):
        """Checked X to answer, once fitted."""
        check_is_fitted(self)
        return self._validate(X, reset=False)


class TwoClassEstimator(ClassifierMixin):
    """Answers with the probability of the second class, which a subclass gives in `_answer` or `_probability`."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def predict_proba(self, X) -> np.ndarray:
        """(n, 2) probabilities, in the order of ``classes_``."""
        probability = self._probability(X)
        return np.column_stack([1 - probability, probability])

    def predict(self, X) -> np.ndarray:
        """(n,) classes."""
        likely = self._probability(X) > 0.5
        return self.classes_[likely.astype(int)]

    def _probability(self, X) -> np.ndarray:
        return self._answer(X)

    def _take_classes(self, y) -> None:
        """Set ``classes_``, the two that y has."""
        check_classification_targets(y)
        if type_of_target(y) != "binary":
            raise ValueError(f"Only binary classification is supported. The type of the target is {type_of_target(y)}.")
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(f"{type(self).__name__} needs two classes; the data has one class, {self.classes_[0]!r}")

    def _codes(self, y) -> np.ndarray:
        """(n,) 0.0 and 1.0 for the classes, NaN where missing."""
        known, encoder = pd.notna(y), LabelEncoder()
        encoder.classes_ = self.classes_
        codes = np.full(len(known), np.nan)
        codes[known] = encoder.transform(np.asarray(y)[known])
        return codes


def seed_of(random_state) -> int:
    """A seed of what scikit-learn takes for one."""
    return random_state if isinstance(random_state, int) else int(check_random_state(random_state).randint(2**31))
